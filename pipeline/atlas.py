"""Reads what a run wrote: maps, tables, statistics. No Beam, no TensorFlow.

atlas = Atlas.open("atlases/train")
atlas.map("train-0-b7ad0922ed814a2b:17")              # (H, W) float32
atlas.table(["example_id", "corner_energy"], where=pc.field("target") == 3)
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.atlas_files import FILENAME, AtlasFiles, folder_of
from pipeline.explained import ExplainedExample, ExplainedMap, MeanMap, find_mean_map, read_maps
from pipeline.notebook import atlas_html, atlas_text
from transforms.elements import Shard
from transforms.errors import ConfigurationError
from transforms.formats.sample import DrawnSample
from transforms.store.block_file import METADATA_KEY
from transforms.store.layout import (
    CLASSES,
    CONFUSION,
    FAILURES,
    FOLDS,
    MANIFEST,
    SLICES,
)
from transforms.store.manifest import Manifest, decode_manifest
from transforms.store.map_format import PICTURES, THUMBNAIL


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

    def __init__(self, files: AtlasFiles, manifest: Manifest) -> None:
        self.path = files.root
        self._manifest = manifest
        self._files = files

    @classmethod
    def open(cls, path: str) -> Atlas:
        """Opens an atlas, complete or not.

        Args:
          path: Its folder, a local path or a URI.

        Raises:
          ConfigurationError: There is no atlas, or one of another format.
          RunError: Its manifest is damaged.
        """
        files = AtlasFiles(path)
        try:
            text = files.read(MANIFEST)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ConfigurationError(
                f"{path} is no atlas: it has no {MANIFEST}; give the output.path of a run"
            ) from error
        return cls(files, decode_manifest(text, path))

    def __repr__(self) -> str:
        return atlas_text(self.path, self._manifest)

    def _repr_html_(self) -> str:
        return atlas_html(self.path, self._manifest)

    @property
    def manifest(self) -> dict[str, Any]:
        """What ran, on what, with what result: the content of `manifest.json`."""
        return self._manifest.as_json()

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The input files, as they were listed."""
        return self._manifest.input_files

    @property
    def sample(self) -> DrawnSample | None:
        """The sample that is explained; None where all examples are."""
        return self._manifest.sample

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of a table: the features, in the order of a map's values; none of other inputs."""
        return self._manifest.stored.features

    @property
    def classes(self) -> pa.Table:
        """The statistics, one row a class (`statistics/classes.parquet`)."""
        return self.statistics(CLASSES)

    @property
    def slices(self) -> pa.Table:
        """The statistics, one row a class and value of a slice (`statistics/slices.parquet`)."""
        return self.statistics(SLICES)

    @property
    def folds(self) -> pa.Table:
        """Mean maps, one row a class and fold of its examples (`statistics/folds.parquet`)."""
        return self.statistics(FOLDS)

    @property
    def confusion(self) -> pa.Table:
        """How many examples of a label were predicted as what (`statistics/confusion.parquet`)."""
        return self.statistics(CONFUSION)

    @property
    def failures(self) -> pa.Table:
        """One row a failed record or example (`failures.parquet`)."""
        return self._files.table(FAILURES)

    def statistics(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Columns of one of the tables beside the maps.

        Args:
          name: The table's path in the atlas, such as `statistics/classes.parquet`.
          columns: Their names; None takes all.

        Raises:
          ConfigurationError: The atlas has no such table, or no such column.
        """
        try:
            known = self._files.schema(name).names
            for each in columns or ():
                if each not in known:
                    raise ConfigurationError(
                        f"{self.path}/{name} has no column {each!r}: if an older version made it, "
                        "saliency-atlas summarize adds what is new"
                    )
            return self._files.table(name, columns)
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"the atlas {self.path} has no {name}: saliency-atlas summarize makes it"
            ) from error

    def map(self, example_id: str, target: int | None = None) -> npt.NDArray[np.float32]:
        """One example's map.

        Args:
          example_id: The example, by its id or its place `SHARD:record`. Of an id that several
            examples have it is the first.
          target: Which of its maps, by the class explained; None takes the first.

        Returns:
          (H, W) float32, or the shape that the atlas stores, in the method's own units and with its
          sign.

        Raises:
          KeyError: The atlas has no such map.
        """
        files, where = self._named(example_id)
        if target is not None:
            where = where & (pc.field("target") == target)
        for found in self._maps(files, where):
            return found.values
        raise KeyError(example_id if target is None else (example_id, target))

    def thumbnail(self, example_id: str) -> bytes | None:
        """One example's input as the model was shown it, made small: a JPEG.

        Args:
          example_id: The example, as in `map`.

        Returns:
          The JPEG; None where the atlas has none, or no such example.
        """
        files, where = self._named(example_id)
        if not files or THUMBNAIL not in self._dataset.schema.names:
            return None
        found = self._files.dataset(files).head(1, columns=[THUMBNAIL], filter=where)
        thumbnail: bytes | None = found[THUMBNAIL][0].as_py() if found.num_rows else None
        return thumbnail

    def rows(self, example_id: str) -> pa.Table:
        """All but maps and thumbnails of an example, or of all that have this id.

        Args:
          example_id: An id or a place, as in `map`.

        Returns:
          The columns of the maps table, after `place`, the example's `SHARD:record`.
        """
        files, where = self._named(example_id)
        if not files:
            return pa.table({})
        dataset = self._files.dataset(files)
        columns = [name for name in dataset.schema.names if name not in PICTURES]
        rows = dataset.to_table([FILENAME, *columns], filter=where)
        pairs = zip(rows[FILENAME].to_pylist(), rows["record"].to_pylist(), strict=True)
        places = pa.array([f"{folder_of(path)}:{record}" for path, record in pairs], pa.string())
        return rows.drop_columns([FILENAME]).add_column(0, "place", places)

    def _named(self, example_id: str) -> tuple[list[str], pc.Expression]:
        """Blocks and rows that an example's name means: an id, else a place."""
        by_id = pc.field("example_id") == example_id
        folder, _, record = example_id.rpartition(":")
        files = [path for path in self._blocks if folder_of(path) == folder]
        if not files or not record.isdecimal() or self._dataset.count_rows(filter=by_id):
            return self._blocks, by_id
        return files, pc.field("record") == int(record)

    def maps(self, where: pc.Expression | None = None) -> Iterator[ExplainedMap]:
        """Maps in order of shard and record, a few in memory at a time.

        Args:
          where: Which rows, as an Arrow expression over the columns of the maps table.
        """
        return self._maps(self._blocks, where)

    def _maps(self, files: list[str], where: pc.Expression | None) -> Iterator[ExplainedMap]:
        return read_maps(self._files.dataset(files), where) if files else iter(())

    def examples(
        self,
        where: pc.Expression | None = None,
        order_by: str | None = None,
        limit: int = 20,
        *,
        ascending: bool = False,
    ) -> list[ExplainedExample]:
        """Rows with their maps: those with the highest values of a column, the highest first.

        Args:
          where: Which rows, as an Arrow expression.
          order_by: The column, whose nulls are left out; None takes the order of shard and record.
          limit: How many at most.
          ascending: Whether the lowest values come first.

        Raises:
          ConfigurationError: The column does not exist.
        """
        order = [(FILENAME, "ascending"), ("record", "ascending"), ("target", "ascending")]
        keys = [FILENAME, "record", "target"]
        if order_by is not None:
            self._check_columns([order_by])
            order.insert(0, (order_by, "ascending" if ascending else "descending"))
            keys += [order_by] if order_by not in keys else []
            known = pc.field(order_by).is_valid()
            where = known if where is None else where & known
        best: pa.Table | None = None
        for batch in self.batches(keys, where):
            rows = pa.Table.from_batches([batch])
            best = rows if best is None else pa.concat_tables([best, rows])
            best = best.sort_by(order).slice(0, limit)
        found = [] if best is None else best.select(keys[:3]).to_pylist()
        of_block = self._files.dataset
        return [ExplainedExample.read(of_block([row.pop(FILENAME)]), **row) for row in found]

    def mean_map(
        self,
        target: int | str,
        slice: Mapping[str, str | None] | None = None,  # noqa: A002 - the statistics' own word
    ) -> MeanMap:
        """The mean of a class's unit-mass maps, on the sketch's grid.

        Args:
          target: The class explained, by its number or its name.
          slice: `{NAME: VALUE}`, of its examples with this value of a slice; None for all.

        Returns:
          (rows, columns) float32 that sums to 1; NaN where the class has no defined map.

        Raises:
          KeyError: The atlas has no such class, slice or value.
        """
        columns = ["class", "class_name", "mean_map"]
        if slice is None:
            table = self.statistics(CLASSES, columns)
        else:
            ((name, value),) = slice.items()
            table = self.statistics(SLICES, ["slice", "value", *columns])
            is_value = pc.field("value").is_null() if value is None else pc.field("value") == value
            table = table.filter((pc.field("slice") == name) & is_value)
        try:
            return find_mean_map(table, target)
        except KeyError:
            raise KeyError(target if slice is None else (target, dict(slice))) from None

    def table(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Columns of the maps table, in order of shard and record.

        Args:
          columns: Their names; None takes all but maps and thumbnails.
          where: Which rows, as an Arrow expression.

        Raises:
          ConfigurationError: A column does not exist.
        """
        if not self._blocks:
            return pa.table({})
        known = self._dataset.schema.names
        chosen = list(columns or (name for name in known if name not in PICTURES))
        self._check_columns(chosen)
        return self._dataset.to_table(columns=chosen, filter=where)

    def _check_columns(self, names: Sequence[str]) -> None:
        known = self._dataset.schema.names
        for name in names:
            if name not in known:
                raise ConfigurationError(
                    f"the atlas has no column {name!r}: it has {', '.join(known)}"
                )

    def batches(
        self, columns: Sequence[str], where: pc.Expression | None = None, folder: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Columns of the maps table, some thousand rows at a time, in order of shard and record.

        Args:
          columns: Their names, each there.
          where: Which rows, as an Arrow expression.
          folder: Of which input file, by its folder (`Shard.folder`); None for all.
        """
        files = [path for path in self._blocks if folder is None or folder_of(path) == folder]
        if files:
            scanner = self._files.dataset(files).scanner(columns=list(columns), filter=where)
            yield from (batch for batch in scanner.to_batches() if batch.num_rows)

    def read_file(self, name: str) -> bytes | None:
        """A whole file of the atlas's folder, such as `audit/audit.json`; None where it is not."""
        try:
            return self._files.read(name)
        except FileNotFoundError:
            return None

    @property
    def block_paths(self) -> tuple[str, ...]:
        """The files of the maps, in order of shard and record."""
        return tuple(f"{self.path}/{name}" for name in self._blocks)

    def open_block(self, path: str) -> pq.ParquetFile:
        """One of `block_paths`, to read it in pieces."""
        return self._files.parquet(path.removeprefix(f"{self.path}/"))

    def block_metadata(self) -> Iterator[dict[str, Any]]:
        """What each block's file says of itself, by path."""
        for name in self._blocks:
            yield json.loads(self._files.schema(name).metadata[METADATA_KEY])

    @functools.cached_property
    def _blocks(self) -> list[str]:
        """Blocks of the input files that the manifest knows; whatever else lies there is none."""
        return self._files.blocks({shard.folder for shard in self._manifest.input_files})

    @functools.cached_property
    def _dataset(self) -> ds.Dataset:
        return self._files.dataset(self._blocks)
