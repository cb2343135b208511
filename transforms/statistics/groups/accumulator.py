"""The exact sums of a group's rows: a class's, or those of a class that have a slice's value.

    StoredRows.grouped -> GroupRows -> GroupAccumulator -> finish()

Rows belong to the class explained (`target`). All state is integers, so a group's statistics are
the same bytes whatever the order of rows, blocks and merges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.statistics.columns import SHARES, SKETCH_UNIT_BITS, UNBOUNDED
from transforms.statistics.groups.histograms import BINS, SLOTS, quantiles
from transforms.statistics.groups.moments import (
    CUBE_TERMS,
    FIXED_BITS,
    LIMB_BITS,
    SCORE_BITS,
    SQUARE_TERMS,
    IntArray,
    WideSums,
    cubes,
    mean,
    skewness,
    squares,
    standard_deviation,
)
from transforms.statistics.groups.rows import GroupRows

PERCENTS = (5, 25, 50, 75, 95)
"""Which quantiles the tables have."""

GroupRow = Mapping[str, Any]
"""One group's statistics by column; None where undefined.

The maps of a group without a single defined map are NaN throughout.
"""

_PEAK = "peak_x"  # every map that has statistics has a peak
_TERMS = 1 + SQUARE_TERMS + CUBE_TERMS  # of one statistic, in the wide sums


class GroupAccumulator:
    """Exact sums over the rows of one group.

    It holds 24 bytes per sketch cell, and per statistic 2 bytes per row until the 2 KB of a
    histogram are less: about 20 KB for a few rows and 50 KB for many, with the usual grid. Pickled,
    only what is occupied, in the fewest bytes an array needs, and equal sums as equal bytes.

    Bounds: 2**38 rows (2**24 units per sketch cell in int64 sums); all else is wider: terms of
    squares and cubes are at most 2**48 per row, in sums of up to 2**95.
    """

    def __init__(self, sketch_shape: Sequence[int], names: Sequence[str]) -> None:
        """Sums of no rows.

        Args:
          sketch_shape: Shape of the rows' sketches.
          names: The statistics that rows have; those that are `UNBOUNDED` last.
        """
        self._sketch_shape = tuple(sketch_shape)
        self._names = tuple(names)
        self._n = self._n_labelled = self._n_correct = 0
        self._score_sums = (0, 0, 0)
        cells = math.prod(sketch_shape)
        self._bounded = tuple(name for name in self._names if name not in UNBOUNDED)
        self._histograms = _Histograms(len(self._bounded) * SLOTS)
        self._wide = WideSums.zero(_TERMS * len(self._names) + cells)
        self._sketch_sums: IntArray = np.zeros(cells, np.int64)

    def add(self, rows: GroupRows) -> None:
        """Adds rows of the group.

        Raises:
          ValueError: Where they have other statistics or sketches of another size.
        """
        if rows.wide_terms.shape != self._wide.low.shape:
            raise ValueError(
                f"rows have {len(rows.sketch_sums)} sketch cells and {len(rows.slots) // rows.n} "
                f"statistics, the sums {len(self._sketch_sums)} and {len(self._bounded)}"
            )
        self._count(rows.n, rows.n_labelled, rows.n_correct, rows.score_sums)
        self._histograms.add(rows.slots)
        self._wide.add(rows.wide_terms)
        self._sketch_sums += rows.sketch_sums

    def merge(self, other: GroupAccumulator) -> None:
        """Adds the sums of another accumulator of the same group.

        Raises:
          ValueError: Where it has other statistics or sketches of another shape.
        """
        if (other._sketch_shape, other._names) != (self._sketch_shape, self._names):
            raise ValueError(
                f"sums over sketches of shape {other._sketch_shape} and {len(other._names)} "
                f"statistics cannot be merged into {self._sketch_shape} and {len(self._names)}"
            )
        self._count(other._n, other._n_labelled, other._n_correct, other._score_sums)
        self._histograms.merge(other._histograms)
        self._wide.merge(other._wide)
        self._sketch_sums += other._sketch_sums

    def _count(self, n: int, labelled: int, correct: int, scores: tuple[int, int, int]) -> None:
        self._n += n
        self._n_labelled += labelled
        self._n_correct += correct
        ours = self._score_sums
        self._score_sums = (ours[0] + scores[0], ours[1] + scores[1], ours[2] + scores[2])

    def finish(self) -> GroupRow:
        """The group's statistics; deviations and skewness are those of the population."""
        slots = self._histograms.counts().reshape(len(self._bounded), SLOTS)
        undefined = dict(zip(self._bounded, slots[:, BINS].tolist(), strict=True))
        row: dict[str, Any] = {
            "n": self._n,
            "n_correct": self._n_correct if self._n_labelled else None,
            "undefined_maps": undefined[_PEAK],
        }
        width = len(self._names)
        wide = self._wide[: _TERMS * width].integers()
        squares_end = (1 + SQUARE_TERMS) * width
        sums, square_sums = wide[:width], squares(wide[width:squares_end])
        cube_sums = cubes(wide[squares_end:])
        for number, name in enumerate(self._names):
            bits = 0 if name in UNBOUNDED else FIXED_BITS
            moments = (self._n - undefined.get(name, 0), sums[number], square_sums[number])
            row[f"{name}_mean"] = mean(*moments[:2], bits)
            if name not in SHARES:
                row[f"{name}_std"] = standard_deviation(*moments, bits)
                row[f"{name}_skewness"] = skewness(*moments, cube_sums[number])
            if name not in SHARES | UNBOUNDED:
                bins = slots[number, :BINS]
                row |= zip(quantile_columns(name), quantiles(bins, PERCENTS), strict=True)
                row[f"{name}_histogram"] = bins
        first, second, third = self._score_sums
        row["score_mean"] = mean(self._n, first, SCORE_BITS)
        row["score_std"] = standard_deviation(self._n, first, second, SCORE_BITS)
        row["score_skewness"] = skewness(self._n, first, second, third)
        maps = self._n - undefined[_PEAK]
        row["mean_map"] = mean_map(maps, self._sketch_sums, self._sketch_shape)
        squares_of_cells = self._wide[_TERMS * width :]
        row["std_map"] = _std_map(maps, self._sketch_sums, squares_of_cells, self._sketch_shape)
        return row

    def __reduce__(self) -> tuple[Any, ...]:
        counts = self._histograms.counts()
        occupied = np.flatnonzero(counts)
        arrays = (
            occupied,
            counts[occupied],
            self._wide.low,
            self._wide.high,
            self._sketch_sums,
        )
        integers = (self._n, self._n_labelled, self._n_correct, *self._score_sums)
        packed = tuple(narrowest(array) for array in arrays)
        return _unpack, (self._sketch_shape, self._names, integers, packed)

    def _fill(self, integers: tuple[int, ...], packed: tuple[npt.NDArray[Any], ...]) -> None:
        self._n, self._n_labelled, self._n_correct, first, second, third = integers
        self._score_sums = (first, second, third)
        occupied, counts, low, high, sketch_sums = packed
        self._histograms.fill(occupied, counts)
        self._wide = WideSums(low.astype(np.int64), high.astype(np.int64))
        self._sketch_sums = sketch_sums.astype(np.int64)


class _Histograms:
    """Counts of slots, which are kept one by one until counting them takes less memory.

    Args:
      size: How many slots there are, below 2**16.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: list[npt.NDArray[np.uint16]] = []
        self._waits = 0
        self._counts: IntArray | None = None

    def add(self, slots: npt.NDArray[np.uint16]) -> None:
        """Counts slots."""
        self._waiting.append(slots.copy())  # of a view, all of the block would stay
        self._waits += len(slots)
        if self._waits >= self._size:
            self._counts = self.counts()
            self._waiting, self._waits = [], 0

    def merge(self, other: _Histograms) -> None:
        """Adds the counts of another."""
        if other._counts is not None:
            self._counts = other._counts + (0 if self._counts is None else self._counts)
        for slots in other._waiting:
            self.add(slots)

    def counts(self) -> IntArray:
        """(size,) how often each slot was met; not to be written to."""
        if not self._waiting:
            return np.zeros(self._size, np.int64) if self._counts is None else self._counts
        counts = np.bincount(np.concatenate(self._waiting), minlength=self._size)
        return counts if self._counts is None else counts + self._counts

    def fill(self, occupied: npt.NDArray[Any], counts: npt.NDArray[Any]) -> None:
        """Takes the counts of slots that were met."""
        if counts.sum(dtype=np.int64) < self._size:
            self.add(np.repeat(occupied, counts).astype(np.uint16))
        else:
            self._counts = np.zeros(self._size, np.int64)
            self._counts[occupied] = counts


def quantile_columns(name: str) -> tuple[str, ...]:
    """Names of a statistic's quantiles.

    >>> quantile_columns("gini")
    ('gini_q05', 'gini_q25', 'gini_q50', 'gini_q75', 'gini_q95')
    """
    return tuple(f"{name}_q{percent:02d}" for percent in PERCENTS)


def mean_map(maps: int, sums: IntArray, sketch_shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """The mean of unit-mass maps on the sketch's grid; NaN where there are none.

    NaN, not null: Parquet readers refuse null tensors (lists of fixed size).

    Args:
      maps: How many.
      sums: Of their sketches, cell by cell.
      sketch_shape: Shape of the result.
    """
    if not maps:
        return np.full(sketch_shape, np.nan, np.float32)
    means: npt.NDArray[np.float64] = sums / float(maps << SKETCH_UNIT_BITS)
    return means.astype(np.float32).reshape(sketch_shape)


def _std_map(
    maps: int, sums: IntArray, square_sums: WideSums, sketch_shape: Sequence[int]
) -> npt.NDArray[np.float32]:
    """The cells' standard deviations: the variance's numerator is exact, as in `moments`.

    In 64 bits where it fits, as it does for some ten thousand maps of natural images; else in
    Python's integers, which take ten times as long.
    """
    if not maps:
        return np.full(sketch_shape, np.nan, np.float32)
    squared: npt.NDArray[Any] = (square_sums.high << LIMB_BITS) + square_sums.low
    total: npt.NDArray[Any] = sums
    # A sum's square is at most so many times the sum of squares.
    if maps * (int(square_sums.high.max()) + 1) >= 1 << (63 - LIMB_BITS):
        squared, total = np.array(square_sums.integers(), object), sums.astype(object)
    numerators = (maps * squared - total * total).astype(np.float64)
    deviations = np.sqrt(numerators) / float(maps << SKETCH_UNIT_BITS)
    std_map: npt.NDArray[np.float32] = deviations.astype(np.float32).reshape(sketch_shape)
    return std_map


def narrowest(integers: IntArray) -> npt.NDArray[Any]:
    """The same integers, none negative, in the fewest bytes that hold the largest."""
    return integers.astype(np.min_scalar_type(int(integers.max(initial=0))))


def _unpack(
    sketch_shape: tuple[int, ...],
    names: tuple[str, ...],
    integers: tuple[int, ...],
    packed: tuple[npt.NDArray[Any], ...],
) -> GroupAccumulator:
    """What a pickled accumulator is restored by."""
    accumulator = GroupAccumulator(sketch_shape, names)
    accumulator._fill(integers, packed)
    return accumulator
