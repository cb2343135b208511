"""Beam's FileSystems as the `Storage` that libraries take: local, GCS, S3, HDFS, any other."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.storage import FileEntry

_BUFFER_BYTES = 1 << 20


class BeamStorage:
    """Files anywhere that Beam reaches. Stateless, so it pickles."""

    def open(self, path: str) -> BinaryIO:
        """Opens for reading."""
        if not self._is_file(path):
            raise FileNotFoundError(path)
        raw = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
        return cast(
            BinaryIO, raw if hasattr(raw, "peek") else io.BufferedReader(raw, _BUFFER_BYTES)
        )

    def create(self, path: str) -> BinaryIO:
        """Opens for writing, making the folder."""
        self._make_folder(path)
        return cast(
            BinaryIO,
            FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED),
        )

    def rename(self, source: str, destination: str) -> None:
        """Moves a file, replacing the destination."""
        self._make_folder(destination)
        try:
            FileSystems.rename([source], [destination])
        except BeamIOError as error:
            raise OSError(f"cannot rename {source} to {destination}: {error}") from error

    def match(self, pattern: str) -> list[FileEntry]:
        """Files a glob matches, sorted."""
        try:
            (result,) = FileSystems.match([pattern])
        except BeamIOError as error:
            raise OSError(f"cannot list {pattern}: {error}") from error
        return sorted(FileEntry(entry.path, entry.size_in_bytes) for entry in result.metadata_list)

    def delete(self, path: str) -> None:
        """Deletes a file or a folder."""
        if not FileSystems.exists(path):
            return
        try:
            FileSystems.delete([path])
        except BeamIOError as error:
            raise OSError(f"cannot delete {path}: {error}") from error

    def absolute(self, path: str) -> str:
        """The absolute path or URI."""
        return path if "://" in path else os.path.abspath(path)

    def _is_file(self, path: str) -> bool:
        # Beam's local file system opens folders with a message of its own; ask first.
        return bool(FileSystems.exists(path))

    def _make_folder(self, path: str) -> None:
        if "://" not in path:
            os.makedirs(os.path.dirname(path), exist_ok=True)
