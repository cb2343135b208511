"""A file whose own errors can be told from those of what reads it."""

from __future__ import annotations

from typing import BinaryIO


class WatchedFile:
    """A file that remembers its own error, as Arrow's own errors may have the same type."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: Exception | None = None

    def check(self) -> None:
        """Raises the file's error, if it had one."""
        if self._error is not None:
            raise self._error

    def read(self, size: int = -1) -> bytes:
        """Reads up to `size` bytes."""
        try:
            return self._file.read(size)
        except Exception as error:
            self._error = error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves to a position."""
        try:
            return self._file.seek(offset, whence)
        except Exception as error:
            self._error = error
            raise

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def readable(self) -> bool:
        """Always."""
        return True

    @property
    def closed(self) -> bool:
        """Whether whoever opened the file has closed it."""
        return self._file.closed
