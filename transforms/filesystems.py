"""Beam's FileSystems as the `Storage` that libraries take: local, GCS, S3, HDFS, any other.

What may pass (a connection reset, a server error, a time-out) is tried again, with growing pauses
of random length; what will not (no such file, no permission, a full disk) is not.
"""

from __future__ import annotations

import errno
import io
import logging
import os
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.utils import retry

from transforms.storage import FileEntry, escape, join

Result = TypeVar("Result")

_BUFFER_BYTES = 1 << 20
_RETRIES = 5
_FIRST_PAUSE_SECONDS = 1.0  # then 2, 4, 8, 16: half a minute in all, each cut by up to a half
_LOGGER = logging.getLogger(__name__)

_LASTING = frozenset(
    {
        errno.EACCES,
        errno.EBADF,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EFBIG,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
        errno.EROFS,
        errno.EXDEV,
    }
)


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help.

    >>> is_transient(TimeoutError("no answer")), is_transient(OSError(errno.ENOSPC, "full"))
    (True, False)
    """
    if isinstance(error, BeamIOError):
        details = (error.exception_details or {}).values()
        return all(is_transient(each) for each in details if isinstance(each, BaseException))
    if isinstance(error, OSError):
        cause = _numbered(error)
        return cause is None or cause.errno not in _LASTING
    if _is_of_client(error):
        transient: bool = retry.retry_on_server_errors_timeout_or_quota_issues_filter(error)
        return transient
    return False


class BeamStorage:
    """Files anywhere that Beam reaches. Stateless, so it pickles."""

    def open(self, path: str) -> BinaryIO:
        """Opens for reading; where reading fails, reading goes on from there."""
        raw = _retried(path, _open, path)
        return cast(BinaryIO, io.BufferedReader(_ReopeningFile(path, raw), _BUFFER_BYTES))

    def replace(self, temporary: str, path: str, data: bytes | memoryview) -> None:
        """Writes a whole file under a temporary name, then renames it into place."""
        _retried(path, _replace, temporary, path, data)

    def match(self, pattern: str) -> list[FileEntry]:
        """Files a glob matches, sorted."""
        (result,) = _retried(pattern, FileSystems.match, [pattern])
        return sorted(FileEntry(entry.path, entry.size_in_bytes) for entry in result.metadata_list)

    def move(self, path: str, destination: str) -> None:
        """Gives a file another name."""
        _retried(path, _move, path, destination)

    def delete(self, path: str) -> None:
        """Deletes a file or a folder."""
        _retried(path, _delete, path)

    def absolute(self, path: str) -> str:
        """The absolute path or URI."""
        return path if "://" in path else os.path.abspath(path)


def _retried(path: str, function: Callable[..., Result], *arguments: Any) -> Result:
    """Calls until it works, or fails for good with an OSError that names the path."""
    try:
        result: Result = retry.with_exponential_backoff(
            num_retries=_RETRIES,
            initial_delay_secs=_FIRST_PAUSE_SECONDS,
            retry_filter=is_transient,
            logger=_log_retry,
        )(function)(*arguments)
    except OSError as error:
        cause = _numbered(error)
        if cause is None:
            raise OSError(f"{path}: {error}") from error
        if cause.filename is not None and cause is error:
            raise
        raise OSError(cause.errno, cause.strerror, path) from error
    except Exception as error:
        if _is_of_client(error):
            raise OSError(f"{path}: {error}") from error
        raise
    return result


def _log_retry(_: str, pause: float, name: str, error: str, *__: object) -> None:
    """In one line what Beam would say in twenty."""
    _LOGGER.warning(
        "storage: %s failed (%s), trying again in %.1f s", name.strip("_"), error.strip(), pause
    )


def _numbered(error: object) -> OSError | None:
    """The error with a number in or below one; Beam wraps those of the local file system."""
    if isinstance(error, BeamIOError):
        details = (error.exception_details or {}).values()
        return next((cause for detail in details if (cause := _numbered(detail))), None)
    if not isinstance(error, OSError):
        return None
    if error.errno is not None:
        return error
    return _numbered(error.args[0]) if error.args else None


def _is_of_client(error: BaseException) -> bool:
    """Whether a cloud's client raised it: those carry the code of a response."""
    return hasattr(error, "status_code") or hasattr(error, "code")


def _open(path: str) -> BinaryIO:
    try:
        opened = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    except Exception as error:  # Each file system has errors of its own for what is not there.
        if FileSystems.exists(path):
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
    return cast(BinaryIO, opened)


def _replace(temporary: str, path: str, data: bytes | memoryview) -> None:
    """The unit of retry: all of it, as a rename that failed may have taken the source along."""
    for name in (temporary, path):
        if "://" not in name:
            os.makedirs(os.path.dirname(name), exist_ok=True)
    try:
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(data)
        FileSystems.rename([temporary], [path])
    except Exception:  # Each file system has errors of its own; what cannot be explained is raised.
        if _holds(path, data):  # The rename succeeded, and only its answer was lost.
            return
        raise


def _holds(path: str, data: bytes | memoryview) -> bool:
    try:
        with _open(path) as file:
            return bool(file.read(len(data) + 1) == data)
    except OSError:
        return False


def _move(path: str, destination: str) -> None:
    if "://" not in destination:
        os.makedirs(os.path.dirname(destination), exist_ok=True)
    if FileSystems.exists(path):
        FileSystems.rename([path], [destination])


def _delete(path: str) -> None:
    if FileSystems.exists(path):
        try:
            FileSystems.delete([path])
        except BeamIOError:
            if FileSystems.exists(path):
                raise
    elif "://" in path:  # A bucket has no folders, only names that begin with one.
        (below,) = FileSystems.match([join(escape(path), "**")])
        FileSystems.delete([entry.path for entry in below.metadata_list])


class _ReopeningFile(io.RawIOBase):
    """A file that is opened anew, at the same place, where reading it fails.

    So whoever reads sees the same bytes, whatever happened on the way.
    """

    def __init__(self, path: str, file: BinaryIO) -> None:
        super().__init__()
        self._path = path
        self._file: BinaryIO | None = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = _retried(self._path, self._seek, offset, whence)
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = _retried(self._path, self._read, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if self._file is not None and not self.closed:
            self._file.close()
        super().close()

    def _seek(self, offset: int, whence: int) -> int:
        try:
            return self._at_position().seek(offset, whence)
        except Exception:  # Whatever went wrong, the file is of no use any more.
            self._drop()
            raise

    def _read(self, size: int) -> bytes:
        try:
            return self._at_position().read(size)
        except Exception:  # Whatever went wrong, the file is of no use any more.
            self._drop()
            raise

    def _at_position(self) -> BinaryIO:
        if self._file is None:
            self._file = _open(self._path)
            self._file.seek(self._position)
        return self._file

    def _drop(self) -> None:
        """Lets go of a file that failed; what closing it says does not matter any more."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except Exception as error:
                _LOGGER.debug("closing %s after an error: %s", self._path, error)
