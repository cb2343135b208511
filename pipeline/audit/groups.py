"""The groups that an atlas has statistics of, by column: its classes, or parts of them."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.audit.estimation.intervals import Floats

_HISTOGRAM = "_histogram"
_EDGES = b"edges"


@dataclasses.dataclass(frozen=True)
class Groups:
    """Rows of the table of classes or of slices, each a group.

    Attributes:
      table: With the columns of classes.parquet, and with `value` if they are parts of classes.
      slice: Of which slice they are the values; None for whole classes.
    """

    table: pa.Table
    slice: str | None

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def numbers(self) -> list[int]:
        """The class of each group."""
        found: list[int] = self.table["class"].to_pylist()
        return found

    @property
    def names(self) -> list[str | None]:
        """The name of each group's class."""
        found: list[str | None] = self.table["class_name"].to_pylist()
        return found

    @property
    def values(self) -> list[str | None]:
        """The slice's value of each group."""
        if self.slice is None:
            return [None] * len(self)
        found: list[str | None] = self.table["value"].to_pylist()
        return found

    @property
    def keys(self) -> list[tuple[str, str | None]]:
        """What a group is called in another atlas, too: its class's name, or number, and value."""
        named = zip(self.names, self.numbers, self.values, strict=True)
        return [(str(number) if name is None else name, value) for name, number, value in named]

    def has(self, *columns: str) -> bool:
        """Whether all the columns are there."""
        return set(columns) <= set(self.table.column_names)

    def column(self, name: str) -> Floats:
        """A column of numbers, NaN for null."""
        numbers: Floats = (
            self.table[name].cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
        )
        return numbers

    def counts(self, name: str) -> npt.NDArray[np.int64]:
        """(G, bins) counts of a statistic's values; none where the group is null."""
        column = self.table[name + _HISTOGRAM].combine_chunks()
        found = np.zeros((len(self), len(self.edges(name)) - 1), np.int64)
        known = column.is_valid().to_numpy(zero_copy_only=False)
        found[known] = column.flatten().to_numpy().reshape(-1, found.shape[1])
        return found

    def edges(self, name: str) -> Floats:
        """(bins + 1,) edges of the bins of `counts`."""
        rule = json.loads(self.table.schema.field(name + _HISTOGRAM).metadata[_EDGES])
        first, last = rule["range"]
        return np.linspace(float(first), float(last), int(rule["count"]))

    def defined(self, name: str) -> Floats:
        """(G,) how many values of a statistic there are."""
        if self.has(name + _HISTOGRAM):
            return np.asarray(self.counts(name).sum(axis=1), np.float64)
        if name in _COUNTED_BY:
            return self.defined(_COUNTED_BY[name])
        return self.column("n") - (self.column("undefined_maps") if name != _SCORE else 0)

    def taken(self, places: npt.NDArray[np.int64]) -> Groups:
        """Some of the groups, in this order."""
        return Groups(self.table.take(pa.array(places)), self.slice)


_SCORE = "score"  # every row has one
# A share has no histogram, but is defined where this is.
_COUNTED_BY = {"pointing_hit": "box_energy"}
