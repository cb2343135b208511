"""Statistics of classes: a monoid that sums rows exactly, and the table that it ends in.

    rows_by_class(summary) -> ClassRows -> ClassAccumulator -> finish() -> classes_table

Rows belong to the class explained (`target`). All state is integers, so a class's statistics are
the same bytes whatever the order of rows, blocks and merges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.statistics.columns import SKETCH_UNIT_BITS, statistic_names
from transforms.statistics.histograms import BINS, SLOTS, quantiles
from transforms.statistics.moments import (
    FIXED_BITS,
    SCORE_BITS,
    SQUARE_TERMS,
    IntArray,
    WideSums,
    mean,
    squares,
    standard_deviation,
)
from transforms.statistics.rows import ClassRows

PERCENTS = (5, 25, 50, 75, 95)
"""Which quantiles the table has."""

ClassRow = Mapping[str, Any]
"""One class's statistics by column, less `class` and `class_name`; None where undefined.

The maps of a class without a single defined map are NaN throughout.
"""

_POINTING_HIT = "pointing_hit"
_PEAK = "peak_x"  # every map that has statistics has a peak


class ClassAccumulator:
    """Exact sums over the rows of one class.

    It holds about 20 bytes per sketch cell and 2 KB per statistic in memory; pickled, only what is
    occupied, in the fewest bytes an array needs, and equal sums as equal bytes.

    Bounds: 2**38 rows (2**24 units per sketch cell in int64 sums); all else is wider.
    """

    def __init__(self, sketch_shape: Sequence[int], with_boxes: bool) -> None:
        """Sums of no rows.

        Args:
          sketch_shape: Shape of the rows' sketches.
          with_boxes: Whether rows have box statistics.
        """
        self._sketch_shape = tuple(sketch_shape)
        self._names = statistic_names(with_boxes)
        self._n = self._n_labelled = self._n_correct = 0
        self._score_sum = self._score_squares = 0
        cells = math.prod(sketch_shape)
        self._counts: IntArray = np.zeros(len(self._names) * SLOTS, np.int64)
        self._wide = WideSums.zero((1 + SQUARE_TERMS) * len(self._names) + cells)
        self._sketch_sums: IntArray = np.zeros(cells, np.int64)

    @property
    def with_boxes(self) -> bool:
        """Whether rows have box statistics."""
        return _POINTING_HIT in self._names

    def add(self, rows: ClassRows) -> None:
        """Adds rows of the class.

        Raises:
          ValueError: Where they have other statistics or sketches of another size.
        """
        if rows.wide_terms.shape != self._wide.low.shape:
            raise ValueError(
                f"rows have {len(rows.sketch_sums)} sketch cells and {len(rows.slots) // rows.n} "
                f"statistics, the sums {len(self._sketch_sums)} and {len(self._names)}"
            )
        self._n += rows.n
        self._n_labelled += rows.n_labelled
        self._n_correct += rows.n_correct
        self._score_sum += rows.score_sum
        self._score_squares += rows.score_squares
        np.add.at(self._counts, rows.slots, 1)
        self._wide.add(rows.wide_terms)
        self._sketch_sums += rows.sketch_sums

    def merge(self, other: ClassAccumulator) -> None:
        """Adds the sums of another accumulator of the same class.

        Raises:
          ValueError: Where it has other statistics or sketches of another shape.
        """
        if (other._sketch_shape, other._names) != (self._sketch_shape, self._names):
            raise ValueError(
                f"sums over sketches of shape {other._sketch_shape} and boxes={other.with_boxes} "
                f"cannot be merged into {self._sketch_shape} and boxes={self.with_boxes}"
            )
        self._n += other._n
        self._n_labelled += other._n_labelled
        self._n_correct += other._n_correct
        self._score_sum += other._score_sum
        self._score_squares += other._score_squares
        self._counts += other._counts
        self._wide.merge(other._wide)
        self._sketch_sums += other._sketch_sums

    def finish(self) -> ClassRow:
        """The class's statistics; standard deviations are those of the population."""
        slots = self._counts.reshape(len(self._names), SLOTS)
        undefined = dict(zip(self._names, slots[:, BINS].tolist(), strict=True))
        row: dict[str, Any] = {
            "n": self._n,
            "n_correct": self._n_correct if self._n_labelled else None,
            "undefined_maps": undefined[_PEAK],
        }
        width = len(self._names)
        wide = self._wide.integers()
        sums, scalars_end = wide[:width], (1 + SQUARE_TERMS) * width
        square_sums = squares(wide[width:scalars_end])
        for number, name in enumerate(self._names):
            count, total = self._n - undefined[name], sums[number]
            row[f"{name}_mean"] = mean(count, total, FIXED_BITS)
            if name != _POINTING_HIT:
                row[f"{name}_std"] = standard_deviation(
                    count, total, square_sums[number], FIXED_BITS
                )
                found = quantiles(slots[number, :BINS], PERCENTS)
                row |= zip(_quantile_columns(name), found, strict=True)
        row["score_mean"] = mean(self._n, self._score_sum, SCORE_BITS)
        row["score_std"] = standard_deviation(
            self._n, self._score_sum, self._score_squares, SCORE_BITS
        )
        maps = self._n - undefined[_PEAK]
        cells = list(zip(self._sketch_sums.tolist(), wide[scalars_end:], strict=True))
        bits = SKETCH_UNIT_BITS
        row["mean_map"] = self._map([mean(maps, total, bits) for total, _ in cells])
        row["std_map"] = self._map([standard_deviation(maps, *cell, bits) for cell in cells])
        return row

    def _map(self, cells: list[float | None]) -> npt.NDArray[np.float32]:
        # NaN, not null: Parquet readers refuse null tensors (lists of fixed size).
        return np.array(cells, np.float64).astype(np.float32).reshape(self._sketch_shape)

    def __reduce__(self) -> tuple[Any, ...]:
        occupied = np.flatnonzero(self._counts)
        arrays = (
            occupied,
            self._counts[occupied],
            self._wide.low,
            self._wide.high,
            self._sketch_sums,
        )
        counts = (self._n, self._n_labelled, self._n_correct)
        integers = (*counts, self._score_sum, self._score_squares)
        packed = tuple(_narrowest(array) for array in arrays)
        return _unpack, (self._sketch_shape, self.with_boxes, integers, packed)

    def _fill(self, integers: tuple[int, ...], packed: tuple[npt.NDArray[Any], ...]) -> None:
        self._n, self._n_labelled, self._n_correct, self._score_sum, self._score_squares = integers
        occupied, counts, low, high, sketch_sums = packed
        self._counts[occupied] = counts
        self._wide = WideSums(low.astype(np.int64), high.astype(np.int64))
        self._sketch_sums = sketch_sums.astype(np.int64)


def classes_schema(sketch_shape: Sequence[int], with_boxes: bool) -> pa.Schema:
    """Schema of `statistics/classes.parquet`."""
    columns: dict[str, pa.DataType] = {
        "class": pa.int32(),
        "class_name": pa.string(),
        "n": pa.int64(),
        "n_correct": pa.int64(),
        "undefined_maps": pa.int64(),
    }
    for name in statistic_names(with_boxes):
        columns[f"{name}_mean"] = pa.float64()
        if name != _POINTING_HIT:
            names = (f"{name}_std", *_quantile_columns(name))
            columns |= dict.fromkeys(names, pa.float64())
    columns |= dict.fromkeys(("score_mean", "score_std"), pa.float64())
    tensor = pa.fixed_shape_tensor(pa.float32(), tuple(sketch_shape))
    columns |= dict.fromkeys(("mean_map", "std_map"), tensor)
    required = ("class", "n", "undefined_maps")
    return pa.schema([pa.field(name, kind, name not in required) for name, kind in columns.items()])


def classes_table(
    rows: Iterable[tuple[int, ClassRow]],
    sketch_shape: Sequence[int],
    with_boxes: bool,
    class_names: Sequence[str] = (),
) -> pa.Table:
    """The table of all classes, ascending by class.

    Args:
      rows: (class, its `ClassAccumulator.finish()`), in any order.
      sketch_shape: Shape of mean_map and std_map.
      with_boxes: Whether there are box statistics.
      class_names: Names of classes in index order; a class beyond them has no name.
    """
    ordered = sorted(rows, key=lambda row: row[0])
    names = [class_names[number] if number < len(class_names) else None for number, _ in ordered]
    schema = classes_schema(sketch_shape, with_boxes)
    arrays = [
        pa.array([number for number, _ in ordered], pa.int32()),
        pa.array(names, pa.string()),
    ]
    for field in list(schema)[len(arrays) :]:
        values = [row[field.name] for _, row in ordered]
        if isinstance(field.type, pa.FixedShapeTensorType):
            arrays.append(_tensors(values, field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _tensors(
    maps: list[npt.NDArray[np.float32]], kind: pa.FixedShapeTensorType
) -> pa.ExtensionArray:
    values = np.array(maps, np.float32).reshape(-1)
    storage = pa.FixedSizeListArray.from_arrays(pa.array(values), type=kind.storage_type)
    return pa.ExtensionArray.from_storage(kind, storage)


def _quantile_columns(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_q{percent:02d}" for percent in PERCENTS)


def _unpack(
    sketch_shape: tuple[int, ...],
    with_boxes: bool,
    integers: tuple[int, ...],
    packed: tuple[npt.NDArray[Any], ...],
) -> ClassAccumulator:
    """What a pickled accumulator is restored by."""
    accumulator = ClassAccumulator(sketch_shape, with_boxes)
    accumulator._fill(integers, packed)
    return accumulator


def _narrowest(integers: IntArray) -> npt.NDArray[Any]:
    """The same integers, none negative, in the fewest bytes that hold the largest."""
    return integers.astype(np.min_scalar_type(int(integers.max(initial=0))))
