"""Mean maps of parts of a class, so that divergences have intervals.

A class's examples are dealt to 16 folds by a hash of their ids: whichever run or machine meets an
example, and in whatever order, it is in the same fold. Even folds are half a, odd ones half b:
what was found in one half is confirmed in the other, of other examples.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.statistics.classes import tensor_array
from transforms.statistics.groups import mean_map, narrowest
from transforms.statistics.moments import IntArray
from transforms.statistics.rows import StoredRows

FOLDS = 16
"""How many parts a class has."""


def folds_of(example_ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Folds of examples: CRC-32C of an id's UTF-8 bytes, modulo 16.

    >>> folds_of(["cat-1", "cat-2", "cat-3"])
    array([ 9, 13,  5])
    """
    crcs = (google_crc32c.value(name.encode(errors="surrogatepass")) for name in example_ids)
    return np.fromiter(crcs, np.int64, len(example_ids)) % FOLDS


class FoldSums:
    """Exact sums of sketches by (class, fold), over the maps that have statistics.

    About 8 bytes per sketch cell and fold that is met: 100 KB per class with the usual grid. Bounds
    as of `groups.GroupAccumulator`.

    Args:
      cells: How many cells a sketch has.
    """

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._sums: dict[tuple[int, int], tuple[int, IntArray]] = {}

    def add(self, rows: StoredRows, folds: npt.NDArray[np.int64]) -> None:
        """Adds rows.

        Args:
          rows: Stored rows.
          folds: Each row's fold.
        """
        defined = np.flatnonzero(rows.defined)
        codes = rows.targets[defined].astype(np.int64) * FOLDS + folds[defined]
        order = np.argsort(codes, kind="stable")
        codes = codes[order]
        starts = np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1)).tolist()
        for start, end in itertools.pairwise([*starts, len(codes)]):
            sums = rows.sketches[defined[order[start:end]]].sum(axis=0)
            self._add(divmod(int(codes[start]), FOLDS), end - start, sums)

    def merge(self, other: FoldSums) -> None:
        """Adds the sums of another."""
        for key, (n, total) in other._sums.items():
            self._add(key, n, total)

    def part(self, number: int, parts: int) -> FoldSums:
        """The sums of classes that are `number` modulo `parts`."""
        part = FoldSums(self._cells)
        part._sums = {key: sums for key, sums in self._sums.items() if key[0] % parts == number}
        return part

    def table(self, sketch_shape: Sequence[int], class_names: Sequence[str] = ()) -> pa.Table:
        """`statistics/folds.parquet`, by class and fold; a fold without maps has no row.

        Args:
          sketch_shape: Shape of mean_map.
          class_names: Names of classes in index order; a class beyond them has no name.
        """
        schema = folds_schema(sketch_shape)
        ordered = sorted(self._sums.items())
        classes = [key[0] for key, _ in ordered]
        maps = [mean_map(n, total, sketch_shape) for _, (n, total) in ordered]
        named = [class_names[each] if each < len(class_names) else None for each in classes]
        arrays = [
            pa.array(classes, pa.int32()),
            pa.array(named, pa.string()),
            pa.array([key[1] for key, _ in ordered], pa.int32()),
            pa.array([n for _, (n, _) in ordered], pa.int64()),
            tensor_array(maps, schema.field("mean_map").type),
        ]
        return pa.Table.from_arrays(arrays, schema=schema)

    def _add(self, key: tuple[int, int], n: int, total: IntArray) -> None:
        known = self._sums.get(key)
        self._sums[key] = (n, total) if known is None else (known[0] + n, known[1] + total)

    def __reduce__(self) -> tuple[Any, ...]:
        packed = {key: (n, narrowest(total)) for key, (n, total) in sorted(self._sums.items())}
        return _unpack, (self._cells, packed)


def folds_schema(sketch_shape: Sequence[int]) -> pa.Schema:
    """Schema of `statistics/folds.parquet`.

    Args:
      sketch_shape: Shape of mean_map.
    """
    return pa.schema(
        [
            pa.field("class", pa.int32(), nullable=False),
            pa.field("class_name", pa.string()),
            pa.field("fold", pa.int32(), nullable=False),
            pa.field("n", pa.int64(), nullable=False),
            pa.field("mean_map", pa.fixed_shape_tensor(pa.float32(), tuple(sketch_shape))),
        ]
    )


def _unpack(cells: int, packed: dict[tuple[int, int], tuple[int, npt.NDArray[Any]]]) -> FoldSums:
    """What pickled sums are restored by."""
    sums = FoldSums(cells)
    sums._sums = {key: (n, total.astype(np.int64)) for key, (n, total) in packed.items()}
    return sums
