"""The groups that an atlas has statistics of, by column: its classes, or parts of them."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.atlas import Atlas
from pipeline.audit.estimation.intervals import Floats
from transforms.statistics.columns import BOX_ENERGY, MASK_ENERGY, POINTING_HIT, UNBOUNDED

HISTOGRAM = "_histogram"
_EDGES = b"edges"
_OF_EVERY_ROW = {"score", *UNBOUNDED}


class Histograms:
    """The histograms in a table of groups, read a statistic at a time: each takes 2 KB per group.

    Args:
      atlas: The atlas.
      name: The table.
      schema: Of the table, with all of its histograms.
    """

    def __init__(self, atlas: Atlas, name: str, schema: pa.Schema) -> None:
        self._atlas = atlas
        self._name = name
        self._schema = schema
        self._defined: dict[str, npt.NDArray[np.int64]] = {}

    def __contains__(self, statistic: str) -> bool:
        return statistic + HISTOGRAM in self._schema.names

    def edges(self, statistic: str) -> Floats:
        """(bins + 1,) edges of the bins."""
        return _edges(self._schema, statistic)

    def counts(self, statistic: str) -> npt.NDArray[np.int64]:
        """(rows, bins) counts of a statistic's values, of all rows of the table.

        Raises:
          ConfigurationError: The table has no histogram of it.
        """
        column = statistic + HISTOGRAM
        return _counts(self._atlas.statistics(self._name, [column])[column], self.edges(statistic))

    def defined(self, statistic: str) -> npt.NDArray[np.int64]:
        """(rows,) how many values there are."""
        if statistic not in self._defined:
            self._defined[statistic] = self.counts(statistic).sum(axis=1)
        return self._defined[statistic]


@dataclasses.dataclass(frozen=True)
class Groups:
    """Rows of the table of classes or of slices, each a group.

    Attributes:
      table: With columns of classes.parquet, and with `value` if they are parts of classes.
      slice: Of which slice they are the values; None for whole classes.
      stored: The histograms that are not in `table`.
      rows: (G,) the groups' rows in the stored table, -1 for a group that it has not.
    """

    table: pa.Table
    slice: str | None
    stored: Histograms | None = None
    rows: npt.NDArray[np.int64] | None = None

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
        """Whether all the columns are in the table."""
        return set(columns) <= set(self.table.column_names)

    def column(self, name: str) -> Floats:
        """A column of numbers, NaN for null."""
        numbers: Floats = (
            self.table[name].cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
        )
        return numbers

    def counts(self, name: str) -> npt.NDArray[np.int64]:
        """(G, bins) counts of a statistic's values; none of a group that is not there."""
        if self.stored is None:
            return _counts(self.table[name + HISTOGRAM], self.edges(name))
        return _taken(self.stored.counts(name), self._stored_rows)

    def edges(self, name: str) -> Floats:
        """(bins + 1,) edges of the bins of `counts`."""
        if self.stored is None:
            return _edges(self.table.schema, name)
        return self.stored.edges(name)

    def defined(self, name: str) -> Floats:
        """(G,) how many values of a statistic there are."""
        if name in _OF_EVERY_ROW:
            return self.column("n")
        if name == POINTING_HIT:  # a share has no histogram, but is defined where one of these is
            name = MASK_ENERGY if self._has_histogram(MASK_ENERGY) else BOX_ENERGY
        if self.stored is None:
            return np.asarray(self.counts(name).sum(axis=1), np.float64)
        return _taken(self.stored.defined(name), self._stored_rows).astype(np.float64)

    def taken(self, places: npt.NDArray[np.int64]) -> Groups:
        """Some of the groups, in this order; -1 stands for one that is not there."""
        indices = pa.array(places, mask=places < 0)
        rows = None if self.rows is None else _taken(self.rows, places, absent=-1)
        return Groups(self.table.take(indices), self.slice, self.stored, rows)

    def of_slice(self, name: str) -> Groups:
        """Those of a slice, of a table of all slices; none where there is no such slice."""
        inside = pc.equal(self.table["slice"], name).to_numpy()
        return dataclasses.replace(self.taken(np.flatnonzero(inside)), slice=name)

    def same_as(self, others: Groups) -> Groups:
        """The groups that are called as others, in their order."""
        return self.taken(self.places_of(others))

    def places_of(self, others: Groups) -> npt.NDArray[np.int64]:
        """(G,) where the groups are that are called as others; -1 where there is none.

        Of classes that share a name, as two of ImageNet's cranes do, that of the same number.
        """
        exact = {each: place for place, each in enumerate(self._numbered_keys)}
        named: dict[tuple[str, str | None], int] = {}
        for place, key in enumerate(self.keys):
            named[key] = -1 if key in named else place
        return np.array(
            [
                exact.get(each, named.get(key, -1))
                for each, key in zip(others._numbered_keys, others.keys, strict=True)
            ],
            np.int64,
        )

    @property
    def _numbered_keys(self) -> list[tuple[int, tuple[str, str | None]]]:
        return list(zip(self.numbers, self.keys, strict=True))

    def _has_histogram(self, name: str) -> bool:
        if self.stored is not None:
            return name in self.stored
        return self.has(name + HISTOGRAM)

    @property
    def _stored_rows(self) -> npt.NDArray[np.int64]:
        return np.arange(len(self)) if self.rows is None else self.rows


def _counts(column: pa.ChunkedArray, edges: Floats) -> npt.NDArray[np.int64]:
    column = column.combine_chunks()
    found: npt.NDArray[np.int64] = column.flatten().to_numpy().reshape(-1, len(edges) - 1)
    if not column.null_count:
        return found
    known = column.is_valid().to_numpy(zero_copy_only=False)
    return _taken(found, np.where(known, np.cumsum(known) - 1, -1))


def _edges(schema: pa.Schema, name: str) -> Floats:
    rule = json.loads(schema.field(name + HISTOGRAM).metadata[_EDGES])
    first, last = rule["range"]
    return np.linspace(float(first), float(last), int(rule["count"]))


def _taken(
    values: npt.NDArray[np.int64], places: npt.NDArray[np.int64], absent: int = 0
) -> npt.NDArray[np.int64]:
    """Values by their places; `absent` where a place is -1."""
    known = places >= 0
    found = np.full((len(places), *values.shape[1:]), absent, values.dtype)
    found[known] = values[places[known]]
    return found
