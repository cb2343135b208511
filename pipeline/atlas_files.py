"""The files of an atlas as Arrow reads them, each by its path within the atlas's folder."""

from __future__ import annotations

import urllib.parse
from collections.abc import Container, Sequence

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from transforms.buckets import complaint
from transforms.errors import ConfigurationError
from transforms.store.layout import MAPS_FOLDER, block_number


class AtlasFiles:
    """An atlas's folder on any file system that Arrow knows (local, gs://, s3://, hdfs://).

    Args:
      path: The folder, a local path or a URI.

    Attributes:
      root: The folder, as it was given, without a slash at its end.

    Raises:
      ConfigurationError: Arrow does not know the URI's scheme.
    """

    def __init__(self, path: str) -> None:
        filesystem, root = located(path)
        self.root = path.rstrip("/")
        # Arrow takes names of files for UTF-8. A local folder's name may be any bytes, which it
        # takes as such here and nowhere else; the names of an atlas's own files are UTF-8.
        folder = root.encode(errors="surrogateescape")
        self._filesystem = pafs.SubTreeFileSystem(folder, filesystem)

    def read(self, name: str) -> bytes:
        """A whole file.

        Raises:
          FileNotFoundError: It is not there.
        """
        with self._filesystem.open_input_stream(name) as stream:
            data: bytes = stream.read()
        return data

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A Parquet file's columns; None takes all. Raises FileNotFoundError."""
        return pq.read_table(name, columns=columns, filesystem=self._filesystem)

    def schema(self, name: str) -> pa.Schema:
        """A Parquet file's schema with its metadata. Raises FileNotFoundError."""
        return pq.read_schema(name, filesystem=self._filesystem)

    def parquet(self, name: str) -> pq.ParquetFile:
        """A Parquet file, to read it in pieces. Raises FileNotFoundError."""
        return pq.ParquetFile(name, filesystem=self._filesystem)

    def dataset(self, names: Sequence[str]) -> ds.Dataset:
        """Parquet files as one table, in their order; `FILENAME` is Arrow's column of names."""
        return ds.dataset(list(names), format="parquet", filesystem=self._filesystem)

    def blocks(self, folders: Container[str]) -> list[str]:
        """Files of maps, in order of shard and record.

        Args:
          folders: Those of the input files (`Shard.folder`); whatever else lies there is no block.
        """
        selector = pafs.FileSelector(MAPS_FOLDER, allow_not_found=True, recursive=True)
        return sorted(
            entry.path
            for entry in self._filesystem.get_file_info(selector)
            if entry.path[len(MAPS_FOLDER) + 1 :].rpartition("/")[0] in folders
            and block_number(entry.base_name) is not None
        )


FILENAME = "__filename"
"""Arrow's own column of a dataset: the file that a row is in."""


def folder_of(block: str) -> str:
    """The folder below `maps/` that a block is in.

    >>> folder_of("maps/train-0-b7ad0922ed814a2b/block-00000.parquet")
    'train-0-b7ad0922ed814a2b'
    """
    return block.split("/")[-2]


def located(path: str) -> tuple[pafs.FileSystem, str]:
    """The file system that a path is on, and its name there.

    Of a URI what follows the bucket is its name as it is, spaces and % included, as for Beam, which
    writes atlases. Arrow would take %20 for a space. What follows a ? are Arrow's own options.

    Raises:
      ConfigurationError: Arrow does not know the URI's scheme, or cannot make sense of it.
      OSError: The storage does not answer.
    """
    if "://" not in path:
        return pafs.LocalFileSystem(), path
    scheme, _, rest = path.partition("://")
    bucket, slash, name = rest.partition("/")
    name, mark, options = name.partition("?")
    uri = f"{scheme}://{bucket}{slash}{urllib.parse.quote(name)}{mark}{options}"
    try:
        filesystem, root = pafs.FileSystem.from_uri(uri)
    except pa.ArrowInvalid as error:  # a scheme that it does not know
        raise ConfigurationError(
            f"{path} cannot be opened ({error}): give a local path, or one of gs://, s3:// and "
            "hdfs://"
        ) from error
    except OSError as error:
        raise OSError(complaint(path, error)) from error
    return filesystem, root
