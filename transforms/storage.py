"""Where files are: the few operations that libraries need, and their local implementation.

Libraries never import Beam, yet inputs, models and atlases may be anywhere that Beam's
FileSystems reach. So libraries take a `Storage`; `filesystems.BeamStorage` is the one of a run,
`LocalStorage` that of `in_memory` and of most tests.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import posixpath
import re
from typing import BinaryIO, Protocol

from transforms.disk import Disk, SystemDisk
from transforms.listing import list_files

FOLDER_MARK = ".folder"
"""A file in every folder that `make_folder` has made: a bucket has no folders but by it."""

_MAKING_ATTEMPTS = 8  # whoever removes empty folders may come between making one and the next


@dataclasses.dataclass(frozen=True, order=True)
class FileEntry:
    """A file that exists.

    Attributes:
      path: Absolute path or URI.
      size: Bytes.
      version: Another one whenever the content is: of a local file when it was last written, in
        nanoseconds; elsewhere when, in seconds. None where the storage does not tell.
    """

    path: str
    size: int
    version: str | None = None


class Storage(Protocol):
    """A file system, local or remote, by absolute paths or URIs."""

    def open(self, path: str) -> BinaryIO:
        """Opens for reading, never decompressing; seekable. Raises FileNotFoundError."""

    def make_folder(self, path: str) -> None:
        """Makes a folder for temporary files, and those above it; there already is no error."""

    def replace(self, temporary: str, path: str, data: bytes | memoryview) -> None:
        """Writes a whole file under a temporary name, then renames it into place.

        The only way anything becomes final: whoever looks sees the old file or the new one, never
        a part, after a power cut, too. The file's folder is made; that of the temporary name has to
        be there (`make_folder`), so deleting it stops whoever writes by it.

        Raises:
          FileNotFoundError: The temporary name's folder is not there, or not any more.
          OSError: The file cannot be written.
        """

    def match(self, pattern: str) -> list[FileEntry]:
        """Files a glob matches (`*` within a folder, `**` across), sorted; none is no error."""

    def match_inputs(self, pattern: str) -> list[FileEntry]:
        """Files a user's glob matches, sorted; `**` across folders, none of them included.

        Names that begin with a dot are matched only where the pattern has the dot.

        Raises:
          ConfigurationError: It matches something that is no regular file, or a folder on the way
            cannot be read.
        """

    def delete(self, path: str) -> None:
        """Deletes a file, or a folder with all it holds; absent is no error.

        Whoever writes by a folder (`replace`) fails from the first moment on.
        """

    def discard(self, path: str, folder: str) -> None:
        """Deletes a file, or a folder with all it holds, as long as another folder is there.

        Whoever may no longer write by that folder (`replace`) may no longer delete by it, either.
        Absent is no error.

        Raises:
          FileNotFoundError: The folder is gone.
        """

    def delete_empty(self, path: str) -> None:
        """Deletes a folder if nothing is in it."""

    def absolute(self, path: str) -> str:
        """The absolute path or URI."""


def join(base: str, *parts: str) -> str:
    """Joins path parts with `/`, for local paths and URIs alike.

    >>> join("gs://bucket/atlas/", "maps", "a.parquet")
    'gs://bucket/atlas/maps/a.parquet'
    """
    return posixpath.join(base, *parts)


def escape(path: str) -> str:
    """A path as a pattern that matches it alone.

    >>> escape("a[1]*.tfrecord")
    'a[[]1][*].tfrecord'
    """
    return re.sub(r"[*?[]", r"[\g<0>]", path)


def to_text(path: str) -> str:
    r"""A path as Unicode, another one for each path: bytes that are not UTF-8 are written `\xNN`.

    Tables and JSON hold Unicode, but a local file's name is any bytes. `from_text` reads it back.

    >>> to_text("plain é"), to_text("not UTF-8: \udcff"), to_text("C:\\x41")
    ('plain é', 'not UTF-8: \\xff', 'C:\\\\x41')
    """
    # The backslash is escaped too, or a name that spells an escape would be taken for one.
    data = path.replace("\\", "\\\\").encode(errors="surrogateescape")
    return data.decode(errors="backslashreplace")


def from_text(text: str) -> str:
    r"""The path of which `to_text` made this.

    >>> from_text(to_text("not UTF-8: \udcff")) == "not UTF-8: \udcff"
    True
    """

    def unescaped(found: re.Match[bytes]) -> bytes:
        return bytes([int(found[1], 16)]) if found[1] else b"\\"

    data = re.sub(rb"\\(?:x([0-9a-f]{2})|\\)", unescaped, text.encode())
    return data.decode(errors="surrogateescape")


class LocalStorage:
    """The machine's own file system.

    Args:
      disk: By what it is changed.
    """

    def __init__(self, disk: Disk | None = None) -> None:
        self._disk = disk or SystemDisk()

    def open(self, path: str) -> BinaryIO:
        """Opens for reading."""
        return open(path, "rb")

    def make_folder(self, path: str) -> None:
        """Makes a folder, those above it, and its mark."""
        self._make_folders(path)
        self._write(join(path, FOLDER_MARK), b"")

    def replace(self, temporary: str, path: str, data: bytes | memoryview) -> None:
        """Writes a whole file under a temporary name, then renames it into place."""
        folder = os.path.dirname(path)
        try:
            self._write(temporary, data)
            self._make_folders(folder)
            self._disk.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):  # It is in nobody's way, and it may not be there.
                self._disk.remove(temporary)
            raise
        self._disk.sync_folder(folder)

    def match(self, pattern: str) -> list[FileEntry]:
        """Files a glob matches, sorted."""
        found = []
        for path in glob.glob(pattern, recursive=True):
            with contextlib.suppress(OSError):  # Gone since it was listed, or a link to nothing.
                found += [_entry(path, os.stat(path))] if os.path.isfile(path) else []
        return sorted(found)

    def match_inputs(self, pattern: str) -> list[FileEntry]:
        """Files a user's glob matches, sorted."""
        return [_entry(path, status) for path, status in list_files(pattern)]

    def delete(self, path: str) -> None:
        """Deletes a file or a folder."""
        if not self._disk.is_folder(path):
            with contextlib.suppress(FileNotFoundError):
                self._disk.remove(path)
            return
        # By another name first: files cannot appear in it while it is being emptied.
        leaving = join(os.path.dirname(path), f".deleting-{os.path.basename(path)}")
        self._remove_tree(leaving)
        with contextlib.suppress(FileNotFoundError):
            self._disk.rename(path, leaving)
            self._remove_tree(leaving)

    def discard(self, path: str, folder: str) -> None:
        """Moves it into the folder, and deletes it there."""
        leaving = join(folder, f".deleting-{os.path.basename(path)}")
        self._remove_tree(leaving)
        try:
            self._disk.rename(path, leaving)
        except (FileNotFoundError, NotADirectoryError):
            if not self._disk.is_folder(folder):
                raise
            return
        # What is deleted next must not be gone before this is.
        self._disk.sync_folder(os.path.dirname(path))
        self._remove_tree(leaving)

    def delete_empty(self, path: str) -> None:
        """Deletes a folder if nothing is in it."""
        with contextlib.suppress(OSError):  # Something is in it, or it is not there.
            self._disk.remove_folder(path)

    def absolute(self, path: str) -> str:
        """The absolute path."""
        return os.path.abspath(path)

    def _write(self, path: str, data: bytes | memoryview) -> None:
        left = memoryview(data).cast("B")
        file = self._disk.create(path)
        try:
            while left:
                left = left[self._disk.write(file, left) :]
            self._disk.sync(file)
        finally:
            self._disk.close(file)

    def _make_folders(self, path: str) -> None:
        """Makes a folder and those above it, each one's name synced."""
        for last in reversed(range(_MAKING_ATTEMPTS)):
            try:
                return self._make_missing(path)
            except FileNotFoundError:
                if not last:
                    raise
        return None

    def _make_missing(self, path: str) -> None:
        if self._disk.is_folder(path):
            return
        above = os.path.dirname(path)
        if above != path:
            self._make_missing(above)
        with contextlib.suppress(FileExistsError):  # What is there in its place is found later on.
            self._disk.make_folder(path)
        self._disk.sync_folder(above)

    def _remove_tree(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # Somebody else is deleting it, too.
            if not self._disk.is_folder(path):
                return self._disk.remove(path)
            # The mark last: by it, what an interrupted deletion has left can be found.
            for name in sorted(self._disk.names(path), key=lambda name: name == FOLDER_MARK):
                self._remove_tree(join(path, name))
            self._disk.remove_folder(path)
        return None


def _entry(path: str, status: os.stat_result) -> FileEntry:
    return FileEntry(path, status.st_size, str(status.st_mtime_ns))
