"""What stopped a run, out of the errors that storage and runners wrap it in."""

from __future__ import annotations

import errno
import os
import re

from transforms.errors import ConfigurationError, RunError

_NO_SUCH_PLACE = {
    errno.EACCES,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
}

_NAME = f"{RunError.__module__}.{RunError.__qualname__}"
# Beam's words for a worker process that is there no more.
_WORKER_IS_GONE = re.compile(r"Channel closed prematurely|[Ss]ocket closed|UNAVAILABLE")
_WHILE_RUNNING = re.compile(r"\s*\[while running '[^']*'\]$")  # Beam names the stage


def unwritable(atlas: str, error: OSError) -> ConfigurationError | RunError:
    """What an output path that cannot be written is: a wrong setting, or a state that may pass.

    A path that cannot be made is a setting to correct. A folder that is there but full or
    read-only, or a storage that does not answer, is the run's misfortune: the same command
    finishes once that has passed.
    """
    reason: BaseException | None = error
    while isinstance(reason, OSError) and reason.errno is None:
        reason = reason.__cause__
    code = reason.errno if isinstance(reason, OSError) else None
    if code in _NO_SUCH_PLACE and not os.path.isdir(atlas):
        return ConfigurationError(
            f"output.path: {atlas} cannot be written ({error}): give a folder that can"
        )
    return RunError(
        f"output.path: {atlas} cannot be written ({error}): make room or make it writable, "
        "then go on with --resume"
    )


def is_foreseen(error: BaseException | None) -> bool:
    """Whether the message says it all, so that nobody needs a traceback."""
    if error is None:
        return False
    # A worker in another process sends its traceback as text.
    in_text = f"{_NAME}: " in str(error)
    gone = _WORKER_IS_GONE.search(str(error)) is not None
    return isinstance(error, RunError) or in_text or gone or is_foreseen(error.__cause__)


def last_sentence(error: BaseException) -> str:
    r"""The sentence in a runner's error, without what the runner adds to it.

    >>> last_sentence(RuntimeError("Traceback ...\ntransforms.errors.RunError: it broke"))
    'it broke'
    """
    if f"{_NAME}: " not in str(error) and _WORKER_IS_GONE.search(str(error)):
        return (
            "a worker process ended without a word, as one does that the system kills for want of "
            "memory (its log may tell); fewer workers or a smaller output.block_size take less"
        )
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return _WHILE_RUNNING.sub("", lines[-1].strip()).removeprefix(f"{_NAME}: ")
