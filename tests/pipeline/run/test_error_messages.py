from __future__ import annotations

from pipeline.run.error_messages import is_foreseen, last_sentence
from transforms.errors import RunError


def test_what_was_foreseen_is_found_below_what_runners_add() -> None:
    wrapped = RuntimeError("Bundle failed")
    wrapped.__cause__ = RunError("block 3 cannot be committed")
    text = "Traceback (most recent call last):\n  File x\ntransforms.errors.RunError: disk full"
    assert is_foreseen(wrapped)
    assert is_foreseen(RuntimeError(text))
    assert not is_foreseen(TypeError("a bug"))
    assert last_sentence(RuntimeError(text + " [while running 'WriteBlocks/CommitBlock']")) == (
        "disk full"
    )
    assert last_sentence(RunError("it broke [while running 'A b']")) == "it broke"
    assert last_sentence(KeyError()) == "KeyError"


def test_a_worker_that_was_killed_is_said_to_be_gone() -> None:
    error = RuntimeError("Traceback ...\nRuntimeError: Channel closed prematurely.")
    assert is_foreseen(error)
    assert last_sentence(error).startswith("a worker process ended without a word, as one does")
    # What a worker said before it ended comes first.
    assert last_sentence(RuntimeError("transforms.errors.RunError: Socket closed")) == (
        "Socket closed"
    )
