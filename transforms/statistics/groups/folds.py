"""Mean maps of parts of a class, so that divergences have intervals.

A class's examples are dealt to 16 folds by a hash of their ids: whichever run or machine meets an
example, and in whatever order, it is in the same fold. Even folds are half a, odd ones half b:
what was found in one half is confirmed in the other, of other examples.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.statistics.groups.accumulator import mean_map, narrowest
from transforms.statistics.groups.classes import tensor_array
from transforms.statistics.groups.moments import IntArray
from transforms.statistics.groups.rows import StoredRows
from transforms.statistics.peak_windows import WINDOW_CELLS, autocorrelations

FOLDS = 16
"""How many parts a class has."""


_Key = tuple[int, int]  # a class and a fold


class _WindowSums(NamedTuple):
    """Of peak windows and of their autocorrelations.

    Attributes:
      n: How many windows.
      total: Their sum, in units of 2**-14.
      squares: The sum of their squared norms, in units of 2**-28.
      shape_total: The sum of their autocorrelations, in units of 2**-14.
      shape_squares: The sum of those' squared norms, in units of 2**-28.
    """

    n: int
    total: IntArray
    squares: int
    shape_total: IntArray
    shape_squares: int

    @classmethod
    def of(cls, windows: npt.NDArray[np.int64], shapes: npt.NDArray[np.int64]) -> _WindowSums:
        """Of windows (N, 11, 11) and their autocorrelations."""
        return cls(
            len(windows),
            windows.sum(axis=0),
            int(np.vdot(windows, windows)),
            shapes.sum(axis=0),
            int(np.vdot(shapes, shapes)),
        )

    def plus(self, other: _WindowSums) -> _WindowSums:
        """The sums of both."""
        return _WindowSums(
            self.n + other.n,
            self.total + other.total,
            self.squares + other.squares,
            self.shape_total + other.shape_total,
            self.shape_squares + other.shape_squares,
        )


_NO_CELLS: IntArray = np.zeros((WINDOW_CELLS, WINDOW_CELLS), np.int64)
_NO_WINDOWS = _WindowSums(0, _NO_CELLS, 0, _NO_CELLS, 0)


def folds_of(example_ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Folds of examples: CRC-32C of an id's UTF-8 bytes, modulo 16.

    >>> folds_of(["cat-1", "cat-2", "cat-3"])
    array([2, 6, 5])
    """
    crcs = (google_crc32c.value(name.encode(errors="surrogatepass")) for name in example_ids)
    return np.fromiter(crcs, np.int64, len(example_ids)) % FOLDS


class FoldSums:
    """Exact sums of sketches and peak windows by (class, fold).

    Over the maps that have statistics, and those that have a window. About 8 bytes per cell and
    fold that is met: 135 KB per class with the usual grid. Bounds: 2**28 rows of a fold, whose
    windows' autocorrelations have squared norms of up to 2**35 each.

    Args:
      cells: How many cells a sketch has.
    """

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._sums: dict[_Key, tuple[int, IntArray]] = {}
        self._windows: dict[_Key, _WindowSums] = {}

    def add(
        self,
        rows: StoredRows,
        folds: npt.NDArray[np.int64],
        windows: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Adds rows.

        Args:
          rows: Stored rows.
          folds: Each row's fold.
          windows: Their peak windows, (N, 11, 11), all 0 where there is none; None where the atlas
            has none.
        """
        for key, members in _by_fold(rows, folds, rows.defined):
            self._add(key, len(members), rows.sketches[members].sum(axis=0))
        if windows is None:
            return
        has_window: npt.NDArray[np.bool_] = np.asarray(windows.any(axis=(1, 2)))
        shapes = autocorrelations(windows)
        for key, members in _by_fold(rows, folds, has_window):
            self._add_windows(key, _WindowSums.of(windows[members], shapes[members]))

    def merge(self, other: FoldSums) -> None:
        """Adds the sums of another."""
        for key, (n, total) in other._sums.items():
            self._add(key, n, total)
        for key, sums in other._windows.items():
            self._add_windows(key, sums)

    def part(self, number: int, parts: int) -> FoldSums:
        """The sums of classes that are `number` modulo `parts`."""
        part = FoldSums(self._cells)
        part._sums = {key: one for key, one in self._sums.items() if key[0] % parts == number}
        part._windows = {key: one for key, one in self._windows.items() if key[0] % parts == number}
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
        windows = [self._windows.get(key, _NO_WINDOWS) for key, _ in ordered]
        named = [class_names[each] if each < len(class_names) else None for each in classes]
        arrays = [
            pa.array(classes, pa.int32()),
            pa.array(named, pa.string()),
            pa.array([key[1] for key, _ in ordered], pa.int32()),
            pa.array([n for _, (n, _) in ordered], pa.int64()),
            tensor_array(maps, schema.field("mean_map").type),
            pa.array([sums.n for sums in windows], pa.int64()),
            tensor_array([sums.total for sums in windows], schema.field("window_sum").type),
            pa.array([sums.squares for sums in windows], pa.int64()),
            tensor_array(
                [sums.shape_total for sums in windows],
                schema.field("autocorrelation_sum").type,
            ),
            pa.array([sums.shape_squares for sums in windows], pa.int64()),
        ]
        return pa.Table.from_arrays(arrays, schema=schema)

    def _add(self, key: tuple[int, int], n: int, total: IntArray) -> None:
        known = self._sums.get(key)
        self._sums[key] = (n, total) if known is None else (known[0] + n, known[1] + total)

    def _add_windows(self, key: _Key, sums: _WindowSums) -> None:
        self._windows[key] = self._windows.get(key, _NO_WINDOWS).plus(sums)

    def __reduce__(self) -> tuple[Any, ...]:
        packed = {key: (n, narrowest(total)) for key, (n, total) in sorted(self._sums.items())}
        return _unpack, (self._cells, packed, dict(sorted(self._windows.items())))


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
            pa.field("windows", pa.int64(), nullable=False),
            pa.field("window_sum", pa.fixed_shape_tensor(pa.int64(), (WINDOW_CELLS,) * 2)),
            pa.field("window_squares", pa.int64(), nullable=False),
            pa.field("autocorrelation_sum", pa.fixed_shape_tensor(pa.int64(), (WINDOW_CELLS,) * 2)),
            pa.field("autocorrelation_squares", pa.int64(), nullable=False),
        ]
    )


def _by_fold(
    rows: StoredRows, folds: npt.NDArray[np.int64], wanted: npt.NDArray[np.bool_]
) -> Iterator[tuple[_Key, npt.NDArray[np.intp]]]:
    """The wanted rows of each class and fold, as numbers."""
    chosen = np.flatnonzero(wanted)
    codes = rows.targets[chosen].astype(np.int64) * FOLDS + folds[chosen]
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    starts = np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1)).tolist()
    for start, end in itertools.pairwise([*starts, len(codes)]):
        yield divmod(int(codes[start]), FOLDS), chosen[order[start:end]]


def _unpack(
    cells: int,
    packed: dict[_Key, tuple[int, npt.NDArray[Any]]],
    windows: dict[_Key, _WindowSums],
) -> FoldSums:
    """What pickled sums are restored by."""
    sums = FoldSums(cells)
    sums._windows = windows
    sums._sums = {key: (n, total.astype(np.int64)) for key, (n, total) in packed.items()}
    return sums
