"""Files in the user's cache folder: whole, bounded, the longest unused forgotten."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Bytes: TypeAlias = bytes | memoryview

_LEFT_BEHIND_SECONDS = 3600.0
"""A file that has been written for so long is one of a process that was killed."""

_DIGEST_BYTES = 32

_LOGGER = logging.getLogger(__name__)


class KeptFiles:
    """A folder of files that can be made anew. Several processes may use it at once.

    A folder that another user may have written to is not used: whatever is found in it would count
    as this program's own work.

    Args:
      folder: Where they are; made when the first is kept, for this user alone.
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
        """What is kept under a name, which counts as used by that; None where that is nothing.

        Nothing, too, is what cannot be read, and what is damaged or another name's: a warning says
        so, and whoever makes it anew replaces it.
        """
        try:
            self._check_owner()
            with open(self.path(name), "rb") as file:
                digest, content = file.read(_DIGEST_BYTES), file.read()
        except OSError:
            return None
        if digest != _digest(name, [content]):
            _LOGGER.warning("%s is damaged, and is made anew", self.path(name))
            return None
        with contextlib.suppress(OSError):  # Of another user, or on a disk that is only read.
            os.utime(self.path(name))
        return content

    def keep(self, name: str, parts: Sequence[Bytes]) -> None:
        """Writes a file under a name, then forgets the longest unused that are too many.

        Who reads it meanwhile reads what was there before, whole.

        Raises:
          OSError: It cannot be written, and nothing is left of it; or the folder is another user's.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_owner()
        written = self.folder / f".{uuid.uuid4().hex}"
        try:
            with open(written, "xb") as file:
                for part in (_digest(name, parts), *parts):
                    file.write(part)
            os.replace(written, self.path(name))
        finally:
            written.unlink(missing_ok=True)
        self._forget()

    def _check_owner(self) -> None:
        """Refuses a folder that is neither this user's nor root's, or that everybody may write to.

        Raises:
          PermissionError: Naming it, and the remedy.
          OSError: It is not there.
        """
        status = self.folder.stat()
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & stat.S_IWOTH:
            raise PermissionError(
                f"other users may write to {self.folder}: remove it, or let SALIENCY_ATLAS_CACHE "
                "name a folder of your own"
            )

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


def _digest(name: str, parts: Sequence[Bytes]) -> bytes:
    """What a file begins with: SHA-256 of its name and of what is kept in it."""
    digest = hashlib.sha256(f"{name}\n".encode())
    for part in parts:
        digest.update(part)
    return digest.digest()
