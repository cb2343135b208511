"""A Beam file system over the local one, `faulty://`, whose operations fail as they are told to."""

from __future__ import annotations

import collections
import io
import os
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.localfilesystem import LocalFileSystem

SCHEME = "faulty"
OPERATIONS = ("open", "read", "create", "write", "rename", "list", "exists")


class Plan:
    """Which calls fail, and how.

    Attributes:
      every: Of an operation's calls each so many-th fails; 0 for none.
      operations: Those that fail.
      error: What they raise.
      late: Whether the operation is done all the same, and only its answer is lost.
      after: Calls that work before the first failure.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset()

    def reset(
        self,
        operations: tuple[str, ...] = (),
        every: int = 0,
        error: OSError | None = None,
        late: bool = False,
        after: int = 0,
    ) -> None:
        self.operations, self.every, self.late, self.after = operations, every, late, after
        self.error = error or ConnectionResetError("the connection was reset")
        self.calls: collections.Counter[str] = collections.Counter()
        self.failed = 0

    def fails(self, operation: str) -> bool:
        """Counts a call."""
        with self.lock:
            self.calls[operation] += 1
            count = self.calls[operation] - self.after
            fails = bool(
                operation in self.operations
                and self.every
                and count > 0
                and count % self.every == 0
            )
            self.failed += fails
            return fails

    def before(self, operation: str) -> bool:
        """Raises a failure that comes before the operation; tells of one that is to come after."""
        if not self.fails(operation):
            return False
        if not self.late:
            raise self.error
        return True


PLAN = Plan()


def local(path: str) -> str:
    return path.removeprefix(f"{SCHEME}://")


class _FaultyFile(io.RawIOBase):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return self._file.readable()

    def writable(self) -> bool:
        return self._file.writable()

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        late = PLAN.before("read")
        data = self._file.read(size)
        if late:
            raise PLAN.error
        return data

    def write(self, data: Any) -> int:
        late = PLAN.before("write")
        written = self._file.write(data)
        if late:
            raise PLAN.error
        return written

    def close(self) -> None:
        self._file.close()
        super().close()


class FaultyFileSystem(LocalFileSystem):
    """Local files under another scheme."""

    @classmethod
    def scheme(cls) -> str:
        return SCHEME

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join((basepath, *paths))

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def has_dirs(self) -> bool:
        return True

    def exists(self, path: str) -> bool:
        PLAN.before("exists")
        return bool(super().exists(local(path)))

    def open(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        PLAN.before("open")
        return _FaultyFile(super().open(local(path), mime_type, compression_type))  # type: ignore[return-value]

    def create(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        PLAN.before("create")
        return _FaultyFile(super().create(local(path), mime_type, compression_type))  # type: ignore[return-value]

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        pair = (source_file_names[0], destination_file_names[0])
        try:
            late = PLAN.before("rename")
            os.makedirs(os.path.dirname(local(pair[1])), exist_ok=True)
            os.replace(local(pair[0]), local(pair[1]))
            if late:
                raise PLAN.error
        except OSError as error:
            raise BeamIOError("Rename operation failed", {pair: error}) from error

    def delete(self, paths: list[str]) -> None:
        super().delete([local(path) for path in paths])

    def metadata(self, path: str) -> Any:
        found = super().metadata(local(path))
        found.path = path
        return found

    def _url_dirname(self, url_or_path: str) -> str:
        return url_or_path.rpartition("/")[0]

    def _list(self, dir_or_prefix: str) -> Iterator[Any]:
        PLAN.before("list")
        for found in super()._list(local(dir_or_prefix)):
            found.path = f"{SCHEME}://{found.path}"
            yield found
