"""Beam's FileSystems as the `Storage` that libraries take: local, GCS, S3, HDFS, any other.

What may pass (a connection reset, a server error, a time-out) is tried again, with growing pauses
of random length; what will not (no such file, no permission, a full disk) is not.
"""

from __future__ import annotations

import errno
import importlib.util
import io
import logging
import os
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.value_provider import RuntimeValueProvider
from apache_beam.utils import retry

from transforms.buckets import check_s3_bucket, complaint, unusable
from transforms.errors import ConfigurationError
from transforms.listing import is_hidden, with_no_folders
from transforms.storage import FOLDER_MARK, FileEntry, LocalStorage, escape, join

Result = TypeVar("Result")

_BUFFER_BYTES = 1 << 20
_RETRIES = 5
_FIRST_PAUSE_SECONDS = 1.0  # then 2, 4, 8, 16: half a minute in all, each cut by up to a half
_MARK = b"\n"  # Beam cannot write an object without a byte to S3.
_ANSWERED: set[str] = set()  # buckets of S3, each asked for once per process
_LOCAL = LocalStorage()
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
    """Files anywhere that Beam reaches. Stateless, so it pickles.

    Local ones are `LocalStorage`'s: Beam neither waits for disks nor tells links from files. On
    gs:// a file is replaced only in the generation in which it was looked at, on other stores
    whenever the temporary name's folder was there a moment before.
    """

    def __init__(self) -> None:
        # S3 works by the environment alone, but Beam refuses it where nobody has given options.
        if not (FileSystems._pipeline_options or RuntimeValueProvider.runtime_options):
            FileSystems.set_options(PipelineOptions([]))

    def open(self, path: str) -> BinaryIO:
        """Opens for reading; where reading fails, reading goes on from there."""
        raw = _retried(path, _open, path)
        return cast(BinaryIO, io.BufferedReader(_ReopeningFile(path, raw), _BUFFER_BYTES))

    def make_folder(self, path: str) -> None:
        """Makes a folder; where there are none, the mark by which it is one."""
        if _is_local(path):
            return _retried(path, _LOCAL.make_folder, path)
        return _retried(path, _create, join(path, FOLDER_MARK), _MARK)

    def replace(self, temporary: str, path: str, data: bytes | memoryview) -> None:
        """Writes a whole file under a temporary name, then renames it into place."""
        if _is_local(path):
            function: Callable[[str, str, bytes | memoryview], None] = _LOCAL.replace
        else:
            function = _replace_on_gcs if path.startswith("gs://") else _replace
        _retried(path, function, temporary, path, data)

    def match(self, pattern: str) -> list[FileEntry]:
        """Files a glob matches, sorted."""
        if _is_local(pattern):
            return _retried(pattern, _LOCAL.match, pattern)
        return sorted(_match(pattern))

    def match_inputs(self, pattern: str) -> list[FileEntry]:
        """Files a user's glob matches, sorted."""
        if _is_local(pattern):
            return _retried(pattern, _LOCAL.match_inputs, pattern)
        found = {entry for each in with_no_folders(pattern) for entry in _match(each)}
        return sorted(
            entry
            for entry in found
            # A name that ends in / is a bucket's way to say that there is a folder.
            if not entry.path.endswith("/") and not is_hidden(pattern, entry.path)
        )

    def delete(self, path: str) -> None:
        """Deletes a file or a folder."""
        if _is_local(path):
            return _retried(path, _LOCAL.delete, path)
        # First of all the mark: by it whoever writes there sees that it is over.
        _retried(path, _delete_file, join(path, FOLDER_MARK))
        return _retried(path, _delete, path)

    def discard(self, path: str, folder: str) -> None:
        """Deletes a file or a folder, as long as another folder is there."""
        if _is_local(path):
            return _retried(path, _LOCAL.discard, path, folder)
        _retried(path, _check_folder, folder)
        return self.delete(path)

    def delete_empty(self, path: str) -> None:
        """Deletes a folder if nothing is in it; elsewhere than on disks it is none then."""
        if _is_local(path):
            _LOCAL.delete_empty(path)

    def absolute(self, path: str) -> str:
        """The absolute path or URI.

        Raises:
          ConfigurationError: Nothing here reads that kind of URI; or, on S3, there are no
            credentials or no such bucket.
          OSError: S3 does not answer.
        """
        if _is_local(path):
            return os.path.abspath(path)
        _check_scheme(path)
        return path


def _is_local(path: str) -> bool:
    return "://" not in path


def _check_scheme(path: str) -> None:
    scheme, _, rest = path.partition("://")
    if scheme == "s3" and importlib.util.find_spec("boto3") is None:
        raise ConfigurationError(
            f"{path}: s3:// needs the package boto3, which is not installed here: "
            "pip install 'apache-beam[aws]'"
        )
    try:
        found: Any = FileSystems.get_filesystem(path)
    except (ValueError, BeamIOError) as error:  # an unknown scheme, a missing package or option
        raise ConfigurationError(unusable(path, error)) from error
    if scheme == "s3" and (bucket := rest.partition("/")[0]) not in _ANSWERED:
        from apache_beam.io.aws.s3io import S3IO

        check_s3_bucket(path, S3IO(options=found._options).client.client)
        _ANSWERED.add(bucket)


def _match(pattern: str) -> list[FileEntry]:
    (result,) = _retried(pattern, FileSystems.match, [pattern])
    return [
        FileEntry(
            entry.path,
            entry.size_in_bytes,
            f"{entry.last_updated_in_seconds:.6f}" if entry.last_updated_in_seconds else None,
        )
        for entry in result.metadata_list
    ]


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
            raise OSError(complaint(path, error)) from error
        if cause.filename is not None and cause is error:
            raise
        raise OSError(cause.errno, cause.strerror, path) from error
    except Exception as error:
        if _is_of_client(error):
            raise OSError(complaint(path, error)) from error
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
    try:
        _create(temporary, data)
        _check_folder(temporary.rpartition("/")[0])
        FileSystems.rename([temporary], [path])
    except Exception:  # Each file system has errors of its own; what cannot be explained is raised.
        if _holds(path, data):  # The rename succeeded, and only its answer was lost.
            return
        raise


def _replace_on_gcs(temporary: str, path: str, data: bytes | memoryview) -> None:
    """Uploads in one piece, unless the object has changed since it was looked at.

    Whoever takes an atlas over deletes the mark of the temporary folder first. So what it writes
    comes after the mark was seen here, and so after the look at the generation: it is kept.
    """
    from google.api_core.exceptions import PreconditionFailed

    blob = _gcs_blob(path)
    found = blob.bucket.get_blob(blob.name)
    generation = 0 if found is None else found.generation
    _check_folder(temporary.rpartition("/")[0])
    try:
        blob.upload_from_string(
            bytes(data), "application/octet-stream", if_generation_match=generation
        )
    except PreconditionFailed as error:
        if not _holds(path, data):  # else the upload succeeded, and only its answer was lost
            raise OSError(f"it was replaced meanwhile ({error.message})") from error


def _gcs_blob(path: str) -> Any:
    """An object, by the client that Beam has set up."""
    client = FileSystems.get_filesystem(path)._gcsIO().client  # Beam offers no other way
    bucket, _, name = path.removeprefix("gs://").partition("/")
    return client.bucket(bucket).blob(name)


def _create(path: str, data: bytes | memoryview) -> None:
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(data)


def _check_folder(folder: str) -> None:
    """Raises FileNotFoundError where a folder that was made has been deleted."""
    if not FileSystems.exists(join(folder, FOLDER_MARK)):
        raise FileNotFoundError(errno.ENOENT, "the folder of temporary files is gone", folder)


def _holds(path: str, data: bytes | memoryview) -> bool:
    try:
        with _open(path) as file:
            return bool(file.read(len(data) + 1) == data)
    except OSError:
        return False


def _delete(path: str) -> None:
    if _delete_file(path):
        return
    # A bucket has no folders, only names that begin with one.
    (below,) = FileSystems.match([join(escape(path), "**")])
    FileSystems.delete([entry.path for entry in below.metadata_list])


def _delete_file(path: str) -> bool:
    """Deletes what is of this very name; returns whether there was anything.

    Whoever tries again after an answer was lost, or somebody else was faster, finds it gone.
    """
    if not FileSystems.exists(path):
        return False
    FileSystems.delete([path])
    return True


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
