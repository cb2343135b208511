"""Files in the user's cache folder: whole, bounded, the longest unused forgotten."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Bytes: TypeAlias = bytes | memoryview

_LEFT_BEHIND_SECONDS = 3600.0
"""A file that has been written for so long is one of a process that was killed."""


class KeptFiles:
    """A folder of files that can be made anew. Several processes may use it at once.

    Args:
      folder: Where they are; made when the first is kept.
      suffix: Of their names.
      most_files: More are not kept.
      most_bytes: Nor more than these, all of them together.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "answers"
    >>> files = KeptFiles(folder, ".txt", most_files=2, most_bytes=1000)
    >>> files.keep("first", [b"forty", b"-two"])
    >>> files.read("first"), files.read("second")
    (b'forty-two', None)
    """

    def __init__(self, folder: Path, suffix: str, *, most_files: int, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._suffix = suffix
        self._most_files = most_files

    def path(self, name: str) -> Path:
        """Where the file of a name is, if it is kept."""
        return self.folder / f"{name}{self._suffix}"

    def read(self, name: str) -> bytes | None:
        """The file of a name, which counts as used by that; None where it cannot be read."""
        try:
            content = self.path(name).read_bytes()
        except OSError:
            return None
        with contextlib.suppress(OSError):  # Of another user, or on a disk that is only read.
            os.utime(self.path(name))
        return content

    def keep(self, name: str, parts: Sequence[Bytes]) -> None:
        """Writes a file under a name, then forgets the longest unused that are too many.

        Who reads it meanwhile reads what was there before, whole.

        Raises:
          OSError: It cannot be written; nothing is left of it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        written = self.folder / f".{uuid.uuid4().hex}"
        try:
            with open(written, "xb") as file:
                for part in parts:
                    file.write(part)
            os.replace(written, self.path(name))
        finally:
            written.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        """Removes what is too much, and what processes that were killed have left behind."""
        found = []
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):  # Another process was faster, or it is not ours.
                status = path.stat()
                if path.name.startswith("."):
                    if time.time() - status.st_mtime > _LEFT_BEHIND_SECONDS:
                        path.unlink()
                elif path.name.endswith(self._suffix):
                    found.append((status.st_mtime, path, status.st_size))
        count, size = 0, 0
        for _, path, of_file in sorted(found, reverse=True):
            count, size = count + 1, size + of_file
            if count > self._most_files or size > self.most_bytes:
                with contextlib.suppress(OSError):
                    path.unlink()
