"""Half a of an atlas's examples, the even folds: candidates are found in it, and tried on half b.

Sums of a half are of all maps of a class explained. Where the target is not the label, those of
wrong predictions are among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.statistics.groups.folds import folds_of

_HALVES = 2


class Evidence(Protocol):
    """What indicators are computed from; `Atlas` has it."""

    @property
    def folds(self) -> pa.Table:
        """`statistics/folds.parquet`."""

    @property
    def classes(self) -> pa.Table:
        """`statistics/classes.parquet`."""

    def batches(
        self, columns: Sequence[str], where: pc.Expression | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Columns of the maps table, each there, some rows at a time."""


def half_of_folds(folds: pa.Table, count: str) -> pa.Table:
    """The rows of `statistics/folds.parquet` of even folds that are made of any map.

    Args:
      folds: The table.
      count: The column that says of how many: `n` or `windows`.
    """
    one = pa.scalar(1, folds.schema.field("fold").type)
    even = pc.equal(pc.bit_wise_and(folds["fold"], one), 0)
    return folds.filter(pc.and_(even, pc.greater(folds[count], 0)))


def half_of_rows(
    evidence: Evidence, column: str
) -> Iterator[tuple[npt.NDArray[np.int64], pa.Array]]:
    """Yields the classes explained and a column of the maps of half a, where it is not null."""
    columns = ["example_id", "target", column]
    for batch in evidence.batches(columns, pc.field(column).is_valid()):
        even = np.flatnonzero(folds_of(batch["example_id"].to_pylist()) % _HALVES == 0)
        rows = batch.take(pa.array(even))
        yield rows["target"].to_numpy().astype(np.int64), rows[column]
