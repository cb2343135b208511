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

    def replace(self, temporary: str, path: str, data: bytes | memoryview) -> None:
        """Writes a whole file under a temporary name, then renames it into place.

        The only way anything becomes final: whoever looks sees the old file or the new one, never
        a part. Folders are made.
        """

    def match(self, pattern: str) -> list[FileEntry]:
        """Files a glob matches (`*` within a folder, `**` across), sorted; none is no error."""

    def move(self, path: str, destination: str) -> None:
        """Gives a file another name; absent is no error, and folders are made."""

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


def escape(path: str) -> str:
    """A path as a pattern that matches it alone.

    >>> escape("a[1]*.tfrecord")
    'a[[]1][*].tfrecord'
    """
    return re.sub(r"[*?[]", r"[\g<0>]", path)


class LocalStorage:
    """The machine's own file system."""

    def open(self, path: str) -> BinaryIO:
        """Opens for reading."""
        return open(path, "rb")

    def replace(self, temporary: str, path: str, data: bytes | memoryview) -> None:
        """Writes a whole file under a temporary name, then renames it into place."""
        for name in (temporary, path):
            os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(temporary, "wb") as stream:
            stream.write(data)
        os.replace(temporary, path)

    def match(self, pattern: str) -> list[FileEntry]:
        """Files a glob matches, sorted."""
        paths = glob.glob(pattern, recursive=True)
        return sorted(
            FileEntry(path, os.path.getsize(path)) for path in paths if os.path.isfile(path)
        )

    def move(self, path: str, destination: str) -> None:
        """Gives a file another name."""
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, destination)

    def delete(self, path: str) -> None:
        """Deletes a file or a folder."""
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.remove(path)

    def absolute(self, path: str) -> str:
        """The absolute path."""
        return os.path.abspath(path)
