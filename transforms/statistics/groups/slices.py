"""Statistics of a class's examples that have a value of a slice: a camera, a year, an outcome.

What a slice's values are is only known once all blocks have been met, and an accumulator takes
tens of KB. So there are limits, `MOST_VALUES` and `MOST_GROUPS`, and which slices are left out
over them is decided on the values of all blocks together: the same ones in any order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.statistics.groups.accumulator import GroupAccumulator
from transforms.statistics.groups.classes import classes_schema, group_arrays
from transforms.statistics.groups.rows import StoredRows

OUTCOMES = ("wrong", "correct", None)
"""Its values, by `StoredRows.outcomes`."""

MOST_VALUES = 1_000
"""Values of one slice; one with more is left out."""

MOST_GROUPS = 50_000
"""Rows of the table of slices, 1 to 2 GB of sums in memory; over it, slices are left out."""

_ROWS_AT_ONCE = 1_024  # of the table, while it is made: 26 KB each

Value = str | None
Groups = Mapping[tuple[int, Value], GroupAccumulator]
"""Sums by class and value."""


@dataclasses.dataclass(frozen=True)
class LeftOutSlice:
    """A slice that the statistics leave out.

    Attributes:
      name: The slice.
      why: A clause, with the numbers that are too high.
    """

    name: str
    why: str


class SliceSums:
    """Exact sums of one slice by class and value; a monoid that has forgotten what is too much.

    It holds every value up to `MOST_VALUES`, and no sums once there are more values than that, or
    more than `MOST_GROUPS` groups. What it holds depends on all the rows added, not on their order.

    Args:
      sketch_shape: Shape of the rows' sketches.
      names: The statistics.
      forgets: Whether sums are given up where there are too many of them.

    Attributes:
      values: The values that were met; of too many, none.
      groups: The sums; none of what is too much.
    """

    def __init__(
        self,
        sketch_shape: Sequence[int],
        names: Sequence[str],
        *,
        forgets: bool = True,
    ) -> None:
        self._sketch_shape = tuple(sketch_shape)
        self._names = tuple(names)
        self._forgets = forgets
        self._has_too_many_values = self._has_too_many_groups = False
        self.values: set[Value] = set()
        self.groups: dict[tuple[int, Value], GroupAccumulator] = {}

    @property
    def has_too_many_values(self) -> bool:
        """Whether there are more than `MOST_VALUES`."""
        return self._has_too_many_values

    @property
    def group_count(self) -> int:
        """How many groups there are; of more than are held, one more than `MOST_GROUPS`."""
        return MOST_GROUPS + 1 if self._has_too_many_groups else len(self.groups)

    def add(
        self, rows: StoredRows, codes: npt.NDArray[np.integer], values: Sequence[Value]
    ) -> None:
        """Adds rows.

        Args:
          rows: Stored rows.
          codes: (N,) the places of their values.
          values: The values.
        """
        if not self._meet(values[code] for code in np.unique(codes).tolist()):
            return
        keys = rows.targets.astype(np.int64) * len(values) + codes
        for key, found in rows.grouped(keys):
            number, code = divmod(key, len(values))
            self._group((number, values[code])).add(found)
        self._forget()

    def merge(self, other: SliceSums) -> None:
        """Adds the sums of another accumulator of the same slice."""
        self._has_too_many_values |= other._has_too_many_values
        self._has_too_many_groups |= other._has_too_many_groups
        if self._meet(other.values):
            for key, sums in other.groups.items():
                self._group(key).merge(sums)
        self._forget()

    def part(self, number: int, parts: int) -> SliceSums:
        """The sums of classes that are `number` modulo `parts`; merged, the parts are all of it."""
        part = SliceSums(self._sketch_shape, self._names, forgets=self._forgets)
        part._has_too_many_values = self._has_too_many_values
        part._has_too_many_groups = self._has_too_many_groups
        part.groups = {key: one for key, one in self.groups.items() if key[0] % parts == number}
        part.values = set(self.values)
        return part

    def _meet(self, values: Iterable[Value]) -> bool:
        """Takes note of values; whether sums are to be kept."""
        if not self._has_too_many_values:
            self.values.update(values)
        self._forget()
        return not (self._has_too_many_values or self._has_too_many_groups)

    def _group(self, key: tuple[int, Value]) -> GroupAccumulator:
        if key not in self.groups:
            self.groups[key] = GroupAccumulator(self._sketch_shape, self._names)
        return self.groups[key]

    def _forget(self) -> None:
        self._has_too_many_values |= len(self.values) > MOST_VALUES
        self._has_too_many_groups |= self._forgets and len(self.groups) > MOST_GROUPS
        if self._has_too_many_values:
            self.values.clear()
        if self._has_too_many_values or self._has_too_many_groups:
            self.groups.clear()


def left_out_slices(slices: Mapping[str, SliceSums]) -> tuple[LeftOutSlice, ...]:
    """Which slices are over the limits, by name.

    Those with more than `MOST_VALUES` values; then, while the others have more than `MOST_GROUPS`
    groups together, the one with most values (of equal ones the last by name).

    Args:
      slices: The sums of all rows, by slice.
    """
    found = []
    kept = {}
    for name, sums in slices.items():
        if sums.has_too_many_values:
            found.append(LeftOutSlice(name, f"it has more than {MOST_VALUES:,} values"))
        else:
            kept[name] = sums
    while sum(sums.group_count for sums in kept.values()) > MOST_GROUPS:
        name = max(kept, key=lambda each: (len(kept[each].values), each))
        values = f"{len(kept[name].values):,} values"
        why = f"with its {values} there are more than {MOST_GROUPS:,} groups in all"
        found.append(LeftOutSlice(name, why))
        del kept[name]
    return tuple(sorted(found, key=lambda each: each.name))


def slices_schema(sketch_shape: Sequence[int], names: Sequence[str]) -> pa.Schema:
    """Schema of `statistics/slices.parquet`: `slice`, `value`, and the columns of classes.

    Args:
      sketch_shape: Shape of mean_map and std_map.
      names: The statistics.
    """
    schema = classes_schema(sketch_shape, names)
    schema = schema.insert(0, pa.field("value", pa.string()))
    return schema.insert(0, pa.field("slice", pa.string(), nullable=False))


def slices_table(
    slices: Mapping[str, Groups],
    sketch_shape: Sequence[int],
    names: Sequence[str],
    class_names: Sequence[str] = (),
) -> pa.Table:
    """The table of slices, by slice, class and value; null is the last value.

    Args:
      slices: Sums by class and value, of each slice by its name.
      sketch_shape: Shape of mean_map and std_map.
      names: The statistics.
      class_names: Names of classes in index order; a class beyond them has no name.
    """
    schema = classes_schema(sketch_shape, names)
    whole = slices_schema(sketch_shape, names)
    pieces = [whole.empty_table()]
    for piece in _pieces(slices):
        rows = [(number, sums.finish()) for _, number, _, sums in piece]
        arrays = [
            pa.array([name for name, *_ in piece], pa.string()),
            pa.array([value for _, _, value, _ in piece], pa.string()),
            *group_arrays(rows, schema, class_names),
        ]
        pieces.append(pa.Table.from_arrays(arrays, schema=whole))
    return pa.concat_tables(pieces)


def _pieces(
    slices: Mapping[str, Groups],
) -> Iterator[list[tuple[str, int, Value, GroupAccumulator]]]:
    """All groups in order, some at a time: finished, they take as much memory as before."""
    ordered = [
        (name, number, value, sums)
        for name in sorted(slices)
        for (number, value), sums in sorted(
            slices[name].items(), key=lambda group: (group[0][0], *_last(group[0][1]))
        )
    ]
    for start in range(0, len(ordered), _ROWS_AT_ONCE):
        yield ordered[start : start + _ROWS_AT_ONCE]


def _last(value: Value) -> tuple[bool, str]:
    """Sorts null after all strings."""
    return value is None, value or ""
