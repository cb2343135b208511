"""Where files are: the few operations that libraries need, and their local implementation.

Libraries never import Beam, yet inputs, models and atlases may be anywhere that Beam's
FileSystems reach. So libraries take a `Storage`; `filesystems.BeamStorage` is the one of a run,
`LocalStorage` that of `in_memory` and of most tests.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import posixpath
import shutil
from typing import BinaryIO, Protocol


@dataclasses.dataclass(frozen=True, order=True)
class FileEntry:
    """A file that exists: its absolute path or URI, and its size in bytes."""

    path: str
    size: int


class Storage(Protocol):
    """A file system, local or remote, by absolute paths or URIs."""

    def open(self, path: str) -> BinaryIO:
        """Opens for reading, never decompressing; seekable. Raises FileNotFoundError."""

    def create(self, path: str) -> BinaryIO:
        """Opens for writing, making the folder; the file counts once it is closed."""

    def rename(self, source: str, destination: str) -> None:
        """Moves a file, replacing the destination: the only way anything becomes final."""

    def match(self, pattern: str) -> list[FileEntry]:
        """Files a glob matches (`*` within a folder, `**` across), sorted; none is no error."""

    def delete(self, path: str) -> None:
        """Deletes a file, or a folder with all it holds; absent is no error."""

    def absolute(self, path: str) -> str:
        """The absolute path or URI."""


def join(base: str, *parts: str) -> str:
    """Joins path parts with `/`, for local paths and URIs alike.

    >>> join("gs://bucket/atlas/", "maps", "a.parquet")
    'gs://bucket/atlas/maps/a.parquet'
    """
    return posixpath.join(base, *parts)


class LocalStorage:
    """The machine's own file system."""

    def open(self, path: str) -> BinaryIO:
        """Opens for reading."""
        return open(path, "rb")

    def create(self, path: str) -> BinaryIO:
        """Opens for writing, making the folder."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(path, "wb")

    def rename(self, source: str, destination: str) -> None:
        """Moves a file atomically, replacing the destination."""
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        os.replace(source, destination)

    def match(self, pattern: str) -> list[FileEntry]:
        """Files a glob matches, sorted."""
        paths = glob.glob(pattern, recursive=True)
        return sorted(
            FileEntry(path, os.path.getsize(path)) for path in paths if os.path.isfile(path)
        )

    def delete(self, path: str) -> None:
        """Deletes a file or a folder."""
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.remove(path)

    def absolute(self, path: str) -> str:
        """The absolute path."""
        return os.path.abspath(path)


def replace_file(storage: Storage, temporary: str, path: str, data: bytes | memoryview) -> None:
    """Writes a whole file under a temporary name, then renames it into place.

    Whoever looks sees the old file or the new one, never a part.
    """
    with storage.create(temporary) as stream:
        stream.write(data)
    storage.rename(temporary, path)
