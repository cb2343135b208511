"""Which label was predicted as which class: exact counts, each example once."""

from __future__ import annotations

import collections

import numpy as np
import pyarrow as pa

from transforms.statistics.groups.rows import NO_CLASS

CONFUSION_SCHEMA = pa.schema(
    [
        pa.field("label", pa.int32()),
        pa.field("predicted", pa.int32()),
        pa.field("n", pa.int64(), nullable=False),
    ]
)
"""Of `statistics/confusion.parquet`."""


class Confusion:
    """Counts of examples by (label, predicted), of the pairs that are met."""

    def __init__(self) -> None:
        self._counts: collections.Counter[tuple[int, int]] = collections.Counter()

    def add(self, summary: pa.Table) -> None:
        """Adds the examples of a block, each once however many maps it has.

        Args:
          summary: All of the block's rows in order, with `record`, `label` and `predicted`.
        """
        records = summary["record"].to_numpy()
        first = pa.array(np.flatnonzero(np.diff(records, prepend=-1)))
        of_examples = summary.select(["label", "predicted"]).take(first)
        pairs = np.stack([column.fill_null(NO_CLASS).to_numpy() for column in of_examples.columns])
        found, counts = np.unique(pairs, axis=1, return_counts=True)
        for label, predicted, n in zip(*found.tolist(), counts.tolist(), strict=True):
            self._counts[label, predicted] += n

    def merge(self, other: Confusion) -> None:
        """Adds the counts of another."""
        self._counts.update(other._counts)

    def table(self) -> pa.Table:
        """`statistics/confusion.parquet`, by label and prediction; what is not known comes last."""
        pairs = sorted(self._counts, key=lambda pair: [(one == NO_CLASS, one) for one in pair])
        columns = [
            [None if pair[side] == NO_CLASS else pair[side] for pair in pairs] for side in (0, 1)
        ]
        return pa.Table.from_arrays(
            [
                pa.array(columns[0], pa.int32()),
                pa.array(columns[1], pa.int32()),
                pa.array([self._counts[pair] for pair in pairs], pa.int64()),
            ],
            schema=CONFUSION_SCHEMA,
        )
