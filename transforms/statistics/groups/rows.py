"""Stored rows, prepared for the sums of groups: a class, a class and the value of a slice.

What can be done for all rows of a block at once is done here, so that adding to one group's
`GroupAccumulator` takes a handful of array operations, however few of the rows are that group's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.statistics.columns import UNBOUNDED
from transforms.statistics.groups import histograms, moments
from transforms.statistics.groups.moments import IntArray

ROWS_AT_ONCE = 4096
"""Bounds the memory, and the sums: 2**12 terms of 2**48 each, of squares of sketch cells and of
cubes, are below 2**62."""

NO_CLASS = -1
"""Stands for a missing class; real ones count from 0."""

_PEAK = "peak_x"  # every map that has statistics has a peak


@dataclasses.dataclass(frozen=True)
class GroupRows:
    """What some rows of one group add to its sums, as integers.

    With K statistics in 0..1, U unbounded ones and a sketch of C cells:

    Attributes:
      n: How many rows.
      n_labelled: How many of them have a label and a prediction.
      n_correct: How many of those have the label that is predicted.
      score_sums: Sums of scores, of their squares and of their cubes, in units of 2**-149, 2**-298
        and 2**-447.
      slots: (n * K,) uint16 histogram slots, `statistic * SLOTS + slot`.
      wide_terms: (8 (K + U) + C,) sums of fixed-point values and of unbounded ones, of their
        squares' terms and of their cubes' terms; sums of squares of sketch cells.
      sketch_sums: (C,) sums of sketch cells.
    """

    n: int
    n_labelled: int
    n_correct: int
    score_sums: tuple[int, int, int]
    slots: npt.NDArray[np.uint16]
    wide_terms: IntArray
    sketch_sums: IntArray


class StoredRows:
    """Up to `ROWS_AT_ONCE` rows of the maps table, as integers.

    Args:
      summary: Columns `target`, `label`, `predicted`, `score`, `sketch` and all statistics. Null
        and NaN statistics are undefined; labels and predictions may be null.
      names: The statistics; those that are `UNBOUNDED` last.

    Attributes:
      targets: (N,) the classes explained.
      labels: (N,) `NO_CLASS` where there is none.
      predicted: (N,) likewise.
      defined: (N,) whether the map has statistics.
      sketches: (N, C) int64.

    Raises:
      ValueError: Where a statistic is not in 0..1 or a score is not finite.
    """

    def __init__(self, summary: pa.Table, names: Sequence[str]) -> None:
        self.targets = _integers(summary, "target")
        self.labels = _integers(summary, "label")
        self.predicted = _integers(summary, "predicted")
        self.sketches: IntArray = _tensor(summary, "sketch").astype(np.int64)
        known = (self.labels != NO_CLASS) & (self.predicted != NO_CLASS)
        self._known = known
        self._correct = known & (self.labels == self.predicted)
        self._scores = moments.dyadic(_floats(summary, "score"))
        bounded = [name for name in names if name not in UNBOUNDED]
        values = _statistics(summary, bounded)
        self.defined = ~np.isnan(values[:, bounded.index(_PEAK)])
        sizes = [_size(summary, name) for name in names[len(bounded) :]]
        fixed = np.column_stack([moments.fixed_point(values), *sizes])
        slots = histograms.slot_numbers(values) + np.arange(len(bounded)) * histograms.SLOTS
        self._slots = slots.astype(np.uint16)
        self._terms = np.concatenate(
            [fixed, moments.square_terms(fixed), moments.cube_terms(fixed)], axis=1
        )

    @property
    def outcomes(self) -> npt.NDArray[np.int64]:
        """(N,) 0 where the prediction is wrong, 1 where it is right, 2 where that is not known."""
        return np.where(self._known, self._correct, 2)

    def grouped(self, codes: npt.NDArray[np.integer[Any]]) -> Iterator[tuple[int, GroupRows]]:
        """Splits the rows by a number that each of them has.

        Args:
          codes: (N,) the number.

        Yields:
          (number, its rows), ascending.
        """
        order = np.argsort(codes, kind="stable")
        ordered = codes[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
        if not len(starts):
            return
        ends = [*starts[1:].tolist(), len(ordered)]
        labelled = np.add.reduceat(self._known[order], starts, dtype=np.int64).tolist()
        correct = np.add.reduceat(self._correct[order], starts, dtype=np.int64).tolist()
        terms = np.add.reduceat(self._terms[order], starts)
        slots = self._slots[order]
        rows_in_order = order.tolist()
        for number, (start, end) in enumerate(zip(starts.tolist(), ends, strict=True)):
            scores = [self._scores[row] for row in rows_in_order[start:end]]
            squares = [score * score for score in scores]
            sketches = self.sketches[order[start:end]]
            sketch_squares = np.einsum("nc,nc->c", sketches, sketches)
            cubes = sum(map(int.__mul__, scores, squares))
            yield (
                int(ordered[start]),
                GroupRows(
                    n=end - start,
                    n_labelled=labelled[number],
                    n_correct=correct[number],
                    score_sums=(sum(scores), sum(squares), cubes),
                    slots=slots[start:end].reshape(-1),
                    wide_terms=np.concatenate([terms[number], sketch_squares]),
                    sketch_sums=sketches.sum(axis=0),
                ),
            )


def stored_rows(summary: pa.Table, names: Sequence[str]) -> Iterator[StoredRows]:
    """Prepares all rows of a table, `ROWS_AT_ONCE` at a time.

    Args:
      summary: As `StoredRows` takes it.
      names: The statistics.
    """
    for start in range(0, summary.num_rows, ROWS_AT_ONCE):
        yield StoredRows(summary.slice(start, ROWS_AT_ONCE), names)


def rows_by_class(summary: pa.Table, names: Sequence[str]) -> Iterator[tuple[int, GroupRows]]:
    """Splits stored rows by the class explained.

    Args:
      summary: As `StoredRows` takes it.
      names: The statistics.

    Yields:
      (class, its rows), ascending by class; again for every `ROWS_AT_ONCE` rows of a longer table.

    Raises:
      ValueError: Where a statistic is not in 0..1 or a score is not finite.
    """
    for rows in stored_rows(summary, names):
        yield from rows.grouped(rows.targets)


def _statistics(summary: pa.Table, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """All statistics, (N, K), NaN where undefined."""
    values = np.stack([_floats(summary, name) for name in names], axis=1)
    wrong = (values < 0) | (values > 1)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(f"{names[column]} must be in 0..1, not {values[row, column]}")
    return values


def _size(summary: pa.Table, name: str) -> IntArray:
    """An unbounded statistic, which every row has."""
    sizes: IntArray = summary.column(name).to_numpy().astype(np.int64)
    if (sizes < 0).any():
        raise ValueError(f"{name} must be at least 0, not {sizes.min()}")
    return sizes


def _floats(summary: pa.Table, name: str) -> npt.NDArray[np.float32]:
    column = summary.column(name).cast(pa.float32())
    floats: npt.NDArray[np.float32] = column.to_numpy(zero_copy_only=False)
    return floats


def _integers(summary: pa.Table, name: str) -> npt.NDArray[np.int32]:
    integers: npt.NDArray[np.int32] = summary.column(name).fill_null(NO_CLASS).to_numpy()
    return integers


def _tensor(summary: pa.Table, name: str) -> npt.NDArray[Any]:
    """A fixed-shape tensor column without nulls, (N, cells)."""
    column = summary.column(name).combine_chunks()
    values: npt.NDArray[Any] = column.storage.flatten().to_numpy()
    return values.reshape(len(column), -1)
