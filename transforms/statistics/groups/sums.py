"""All the exact sums of an atlas: by class, slice, fold, and label and prediction."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.statistics.columns import OUTCOME
from transforms.statistics.groups.accumulator import GroupAccumulator
from transforms.statistics.groups.classes import classes_table
from transforms.statistics.groups.confusion import Confusion
from transforms.statistics.groups.folds import FoldSums, folds_of
from transforms.statistics.groups.rows import ROWS_AT_ONCE, StoredRows
from transforms.statistics.groups.slices import (
    OUTCOMES,
    Groups,
    LeftOutSlice,
    SliceSums,
    Value,
    left_out_slices,
    slices_table,
)
from transforms.statistics.peak_windows import PEAK_WINDOW, read_windows


@dataclasses.dataclass(frozen=True)
class StatisticsTables:
    """What the sums come to.

    Attributes:
      classes: One row a class.
      slices: One row a class and value of a slice.
      folds: One row a class and fold.
      confusion: One row a label and prediction.
      left_out: Slices that are not in the table, as they have too many values.
    """

    classes: pa.Table
    slices: pa.Table
    folds: pa.Table
    confusion: pa.Table
    left_out: tuple[LeftOutSlice, ...]


class AtlasSums:
    """A monoid over blocks, exact and the same in any order.

    A class's sums are those of its outcomes, added up: each row is added once for both.

    Args:
      sketch_shape: Shape of the rows' sketches.
      names: The statistics that rows have.
      slices: Columns of strings by which statistics are split.
    """

    def __init__(
        self, sketch_shape: Sequence[int], names: Sequence[str], slices: Sequence[str] = ()
    ) -> None:
        self._sketch_shape = tuple(sketch_shape)
        self._names = tuple(names)
        self._slices = {name: SliceSums(sketch_shape, names) for name in slices}
        self._slices[OUTCOME] = SliceSums(sketch_shape, names, forgets=False)
        self._folds = FoldSums(math.prod(sketch_shape))
        self._confusion = Confusion()

    def add(self, summary: pa.Table) -> None:
        """Adds a block.

        Args:
          summary: All of its rows in order, less the maps.

        Raises:
          ValueError: Where a statistic is not in 0..1 or a score is not finite.
        """
        self._confusion.add(summary)
        folds = folds_of(summary["example_id"].to_pylist())
        encoded = {name: _encoded(summary[name]) for name in self._slices if name != OUTCOME}
        windows = None
        if PEAK_WINDOW in summary.column_names:
            windows = read_windows(summary[PEAK_WINDOW])
        for start in range(0, summary.num_rows, ROWS_AT_ONCE):
            rows = StoredRows(summary.slice(start, ROWS_AT_ONCE), self._names)
            found = None if windows is None else windows[start : start + ROWS_AT_ONCE]
            self._folds.add(rows, folds[start : start + ROWS_AT_ONCE], found)
            self._slices[OUTCOME].add(rows, rows.outcomes, OUTCOMES)
            for name, (codes, values) in encoded.items():
                self._slices[name].add(rows, codes[start : start + ROWS_AT_ONCE], values)

    def merge(self, other: AtlasSums) -> None:
        """Adds the sums of another, of the same atlas."""
        self._confusion.merge(other._confusion)
        self._folds.merge(other._folds)
        for name, sums in other._slices.items():
            self._slices[name].merge(sums)

    def parts(self, count: int) -> Iterator[tuple[int, AtlasSums]]:
        """Takes the sums apart by class modulo `count`; merged, the parts are the whole.

        Yields:
          (number, part), less the parts without anything in them.
        """
        for number in range(count):
            part = AtlasSums(self._sketch_shape, self._names)
            part._slices = {name: sums.part(number, count) for name, sums in self._slices.items()}
            part._folds = self._folds.part(number, count)
            if number == 0:
                part._confusion = self._confusion
            if number == 0 or part._slices[OUTCOME].groups:
                yield number, part

    def tables(self, class_names: Sequence[str] = ()) -> StatisticsTables:
        """The statistics, once all blocks have been added.

        Args:
          class_names: Names of classes in index order; a class beyond them has no name.
        """
        shape, names = self._sketch_shape, self._names
        left_out = left_out_slices(self._slices)
        absent = {each.name for each in left_out}
        kept: dict[str, Groups] = {
            name: sums.groups for name, sums in self._slices.items() if name not in absent
        }
        classes = [(number, sums.finish()) for number, sums in self._classes().items()]
        return StatisticsTables(
            classes=classes_table(classes, shape, names, class_names),
            slices=slices_table(kept, shape, names, class_names),
            folds=self._folds.table(shape, class_names),
            confusion=self._confusion.table(),
            left_out=left_out,
        )

    def _classes(self) -> dict[int, GroupAccumulator]:
        classes: dict[int, GroupAccumulator] = {}
        for (number, _), sums in self._slices[OUTCOME].groups.items():
            if number not in classes:
                classes[number] = GroupAccumulator(self._sketch_shape, self._names)
            classes[number].merge(sums)
        return classes


def _encoded(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[Value]]:
    """Values of rows as places in a list of the different ones."""
    encoded = pa.chunked_array(column.chunks, column.type).combine_chunks()
    encoded = encoded.dictionary_encode(null_encoding="encode")
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()
