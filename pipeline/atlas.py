"""Reads what a run wrote: maps, tables, statistics. No Beam, no TensorFlow.

atlas = Atlas.open("atlases/train")
atlas.map("train-0.tfrecord:17")                      # (H, W) float32
atlas.table(["example_id", "corner_energy"], where=pc.field("target") == 3)
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from transforms.codec import decode
from transforms.errors import ConfigurationError
from transforms.store.block_file import METADATA_KEY
from transforms.store.map_format import tensor_values

_BATCH_ROWS = 64  # Maps decoded at a time: 64 of 224 x 224 in float32 are 13 MB.


@dataclasses.dataclass(frozen=True)
class ExplainedMap:
    """One map with its identity.

    Attributes:
      example_id: The example.
      target: The class explained.
      values: (H, W), (H, W, C), (T, W) or (W,) float32, the gradient's own units.

    >>> found = next(Atlas.open("atlases/train").maps())
    >>> found.example_id, found.values.shape
    ('0/0', (12, 12))
    """

    example_id: str
    target: int
    values: npt.NDArray[np.float32]


class Atlas:
    """An atlas on any file system that Arrow knows (local, gs://, s3://, hdfs://).

    Use `Atlas.open`.

    >>> import pyarrow.compute as pc
    >>> atlas = Atlas.open("atlases/train")
    >>> atlas.manifest["explained_examples"], atlas.classes.num_rows, atlas.failures.num_rows
    (37, 4, 3)
    >>> atlas.map("0/17").dtype, atlas.map("0/17").shape
    (dtype('float32'), (12, 12))
    >>> atlas.table(["example_id", "target"], where=pc.field("example_id") == "0/17").to_pylist()
    [{'example_id': '0/17', 'target': 2}]
    """

    def __init__(self, path: str, filesystem: pafs.FileSystem, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self._filesystem = filesystem

    @classmethod
    def open(cls, path: str) -> Atlas:
        """Opens an atlas, complete or not.

        Args:
          path: Its folder, a local path or a URI.

        Raises:
          ConfigurationError: There is no atlas.
        """
        if "://" in path:
            filesystem, root = pafs.FileSystem.from_uri(path)
        else:
            filesystem, root = pafs.LocalFileSystem(), path
        root = root.rstrip("/")
        try:
            with filesystem.open_input_stream(f"{root}/manifest.json") as stream:
                manifest = json.loads(stream.read())
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"{path} is no atlas: it has no manifest.json; give the output.path of a run"
            ) from error
        return cls(root, filesystem, manifest)

    @property
    def classes(self) -> pa.Table:
        """The statistics, one row a class (`statistics/classes.parquet`)."""
        return pq.read_table(f"{self.path}/statistics/classes.parquet", filesystem=self._filesystem)

    @property
    def failures(self) -> pa.Table:
        """One row a failed record or example (`failures.parquet`)."""
        return pq.read_table(f"{self.path}/failures.parquet", filesystem=self._filesystem)

    def map(self, example_id: str, target: int | None = None) -> npt.NDArray[np.float32]:
        """One example's map.

        Args:
          example_id: The example.
          target: Which of its maps, by the class explained; None takes the first.

        Returns:
          (H, W) float32, or the shape that the atlas stores, in the gradient's own units.

        Raises:
          KeyError: The atlas has no such map.
        """
        where = pc.field("example_id") == example_id
        if target is not None:
            where = where & (pc.field("target") == target)
        for found in self.maps(where):
            return found.values
        raise KeyError(example_id if target is None else (example_id, target))

    def maps(self, where: pc.Expression | None = None) -> Iterator[ExplainedMap]:
        """Maps in order of shard and record, a few in memory at a time.

        Args:
          where: Which rows, as an Arrow expression over the columns of the maps table.
        """
        if not self._files:
            return
        scanner = self._dataset.scanner(
            columns=["example_id", "target", "map", "map_scale"],
            filter=where,
            batch_size=_BATCH_ROWS,
            # Read-ahead would decode whole files of maps beside the one that is wanted.
            batch_readahead=1,
            fragment_readahead=1,
        )
        for batch in scanner.to_batches():
            if not batch.num_rows:
                continue
            codes = tensor_values(pa.chunked_array([batch.column("map")]))
            scales = batch.column("map_scale").to_numpy()
            ids = batch.column("example_id").to_pylist()
            targets = batch.column("target").to_pylist()
            for example_id, target, values in zip(ids, targets, decode(codes, scales), strict=True):
                yield ExplainedMap(example_id, target, values)

    def table(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Columns of the maps table, in order of shard and record.

        Args:
          columns: Their names; None takes all but the maps themselves.
          where: Which rows, as an Arrow expression.

        Raises:
          ConfigurationError: A column does not exist.
        """
        if not self._files:
            return pa.table({})
        known = self._dataset.schema.names
        chosen = [name for name in known if name != "map"] if columns is None else list(columns)
        for name in chosen:
            if name not in known:
                raise ConfigurationError(
                    f"the atlas has no column {name!r}: it has {', '.join(known)}"
                )
        return self._dataset.to_table(columns=chosen, filter=where)

    def block_metadata(self) -> Iterator[dict[str, Any]]:
        """What each block's file says of itself, by path."""
        for path in self._files:
            schema = pq.read_schema(path, filesystem=self._filesystem)
            yield json.loads(schema.metadata[METADATA_KEY])

    @functools.cached_property
    def _files(self) -> list[str]:
        selector = pafs.FileSelector(f"{self.path}/maps", allow_not_found=True, recursive=True)
        found = self._filesystem.get_file_info(selector)
        return sorted(
            entry.path
            for entry in found
            if entry.base_name.startswith("block-") and entry.extension == "parquet"
        )

    @functools.cached_property
    def _dataset(self) -> ds.Dataset:
        return ds.dataset(self._files, format="parquet", filesystem=self._filesystem)
