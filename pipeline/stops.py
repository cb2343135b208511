"""What stopped a run, out of the errors that runners wrap it in."""

from __future__ import annotations

import re

from transforms.errors import RunError

_NAME = f"{RunError.__module__}.{RunError.__qualname__}"
_WHILE_RUNNING = re.compile(r"\s*\[while running '[^']*'\]$")  # Beam names the stage


def is_foreseen(error: BaseException | None) -> bool:
    """Whether the message says it all, so that nobody needs a traceback."""
    if error is None:
        return False
    # A worker in another process sends its traceback as text.
    in_text = f"{_NAME}: " in str(error)
    return isinstance(error, RunError) or in_text or is_foreseen(error.__cause__)


def last_sentence(error: BaseException) -> str:
    r"""The sentence in a runner's error, without what the runner adds to it.

    >>> last_sentence(RuntimeError("Traceback ...\ntransforms.errors.RunError: it broke"))
    'it broke'
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return _WHILE_RUNNING.sub("", lines[-1].strip()).removeprefix(f"{_NAME}: ")
