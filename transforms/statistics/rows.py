"""A stored block's rows, prepared for the sums of each class.

What can be done for all rows of a block at once is done here, so that adding to one class's
`ClassAccumulator` takes a handful of array operations, however few of the rows are that class's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.statistics import histograms, moments
from transforms.statistics.columns import BOX_STATISTICS, statistic_names
from transforms.statistics.moments import IntArray

ROWS_AT_ONCE = 4096
"""Bounds the memory, and the sums: 2**12 squares of sketch cells, 2**48 each, are below 2**62."""

_NULL = -1
"""Stands for a missing class; real ones count from 0."""


@dataclasses.dataclass(frozen=True)
class ClassRows:
    """What some rows of one class add to its sums, as integers.

    With K statistics and a sketch of C cells:

    Attributes:
      n: How many rows.
      n_labelled: How many of them have a label and a prediction.
      n_correct: How many of those have the label that is predicted.
      score_sum: Sum of scores, in units of 2**-149.
      score_squares: Sum of squares of scores, in units of 2**-298.
      slots: (n * K,) histogram slots, `statistic * SLOTS + slot`.
      wide_terms: (4 K + C,) fixed-point sums, sums of their squares' terms, sums of squares of
        sketch cells.
      sketch_sums: (C,) sums of sketch cells.
    """

    n: int
    n_labelled: int
    n_correct: int
    score_sum: int
    score_squares: int
    slots: IntArray
    wide_terms: IntArray
    sketch_sums: IntArray


def rows_by_class(summary: pa.Table) -> Iterator[tuple[int, ClassRows]]:
    """Splits stored rows by the class explained.

    Args:
      summary: Columns `target`, `label`, `predicted`, `score`, `sketch` and all statistics, as in
        an atlas's maps files. Null and NaN statistics are undefined; labels and predictions may be
        null.

    Yields:
      (class, its rows), ascending by class; again for every `ROWS_AT_ONCE` rows of a longer table.

    Raises:
      ValueError: Where a statistic is not in 0..1 or a score is not finite.
    """
    for start in range(0, summary.num_rows, ROWS_AT_ONCE):
        yield from _split(summary.slice(start, ROWS_AT_ONCE))


def _split(summary: pa.Table) -> Iterator[tuple[int, ClassRows]]:
    targets = _integers(summary, "target")
    order = np.argsort(targets, kind="stable")
    targets = targets[order]
    starts = np.flatnonzero(np.diff(targets, prepend=targets[0] - 1))
    ends = np.append(starts[1:], len(targets))

    labels = _integers(summary, "label")[order]
    predicted = _integers(summary, "predicted")[order]
    known = (labels != _NULL) & (predicted != _NULL)
    labelled = np.add.reduceat(known, starts)
    correct = np.add.reduceat(known & (labels == predicted), starts)
    scores = moments.dyadic(_floats(summary, "score")[order])

    values = _statistics(summary)[order]
    fixed = moments.fixed_point(values)
    slots = histograms.slot_numbers(values) + np.arange(values.shape[1]) * histograms.SLOTS
    scalar_terms = np.concatenate([fixed, moments.square_terms(fixed)], axis=1)
    scalar_sums = np.add.reduceat(scalar_terms, starts)
    sketches = _tensor(summary, "sketch")[order].astype(np.int64)

    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        class_scores, class_sketches = scores[start:end], sketches[start:end]
        sketch_squares = np.einsum("nc,nc->c", class_sketches, class_sketches)
        yield (
            int(targets[start]),
            ClassRows(
                n=end - start,
                n_labelled=int(labelled[number]),
                n_correct=int(correct[number]),
                score_sum=sum(class_scores),
                score_squares=sum(score * score for score in class_scores),
                slots=slots[start:end].reshape(-1),
                wide_terms=np.concatenate([scalar_sums[number], sketch_squares]),
                sketch_sums=class_sketches.sum(axis=0),
            ),
        )


def _statistics(summary: pa.Table) -> npt.NDArray[np.float32]:
    """All statistics, (N, K), NaN where undefined."""
    names = statistic_names(with_boxes=BOX_STATISTICS[0] in summary.column_names)
    values = np.stack([_floats(summary, name) for name in names], axis=1)
    wrong = (values < 0) | (values > 1)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(f"{names[column]} must be in 0..1, not {values[row, column]}")
    return values


def _floats(summary: pa.Table, name: str) -> npt.NDArray[np.float32]:
    column = summary.column(name).cast(pa.float32())
    floats: npt.NDArray[np.float32] = column.to_numpy(zero_copy_only=False)
    return floats


def _integers(summary: pa.Table, name: str) -> npt.NDArray[np.int32]:
    integers: npt.NDArray[np.int32] = summary.column(name).fill_null(_NULL).to_numpy()
    return integers


def _tensor(summary: pa.Table, name: str) -> npt.NDArray[Any]:
    """A fixed-shape tensor column without nulls, (N, cells)."""
    column = summary.column(name).combine_chunks()
    values: npt.NDArray[Any] = column.storage.flatten().to_numpy()
    return values.reshape(len(column), -1)
