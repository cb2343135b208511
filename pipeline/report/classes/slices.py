"""The classes by slice: a table of what each value comes to, and the classes' rows of each value.

The rows are compressed, for the script to put in place of those of all examples. What is embedded
is bounded, so that a page stays one that can be passed on: the rarest values are left out, and
mean maps where there would be too many of them.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from pipeline.atlas import Atlas
from pipeline.audit.groups import Groups
from pipeline.report import wording
from pipeline.report.classes.views import Cell, cell, intervals_of_means
from pipeline.report.drawing.maps import Maps
from transforms.errors import ConfigurationError
from transforms.statistics.columns import OUTCOME
from transforms.store.layout import SLICES
from transforms.store.map_format import tensor_values

MOST_ROWS = 25_000
"""Of classes and values, about 40 bytes each once they are compressed."""

MOST_VALUES = 200
"""Of all slices together: more cannot be chosen from."""

MOST_CLASS_ROWS = 1_000
"""Rows that are on the page as text, too, for where no script runs: about 200 bytes each."""

MOST_MAPS = 2_000
"""Mean maps of slices, about 500 bytes each."""

_KEYS = ("slice", "value", "class", "n", "n_correct", "undefined_maps")
_OF_MEANS = ("_mean", "_std", "_skewness", "_histogram")
_DIGITS = 6
_OUTCOMES = ("correct", "wrong")

Floats = npt.NDArray[np.floating]
Key = tuple[str, str | None]
"""A slice's name and value."""


@dataclasses.dataclass(frozen=True)
class ClassRow:
    """A class's examples that have one value of a slice, in words.

    Attributes:
      number: The class.
      n: How many maps.
      accuracy: Of their predictions.
      texts: The mean of each of the table's statistics.
    """

    number: int
    n: str
    accuracy: str
    texts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class SliceValue:
    """All classes' examples that have one value of a slice.

    Attributes:
      number: Its place on the page.
      slice: The slice's name.
      value: In words.
      n: How many maps.
      classes: Of how many classes.
      accuracy: In words.
      texts: The mean of each of the table's statistics, in words.
      rows: One per class, JSON: the class, its number of maps in words and digits, its accuracy
        likewise, the mean map as HTML, and per statistic text, value, interval and places on the
        axis.
      class_rows: The same as text; empty where they are too many.
    """

    number: int
    slice: str
    value: str
    n: int
    classes: int
    accuracy: str
    texts: tuple[str, ...]
    rows: str
    class_rows: tuple[ClassRow, ...] = ()


@dataclasses.dataclass(frozen=True)
class SlicesView:
    """The slices as the page shows them.

    Attributes:
      values: By slice and value; empty where there are none.
      left_out: How many rare values are not on the page.
      has_maps: Whether the rows have mean maps.
      has_class_rows: Whether the rows are there as text, too.
    """

    values: tuple[SliceValue, ...] = ()
    left_out: int = 0
    has_maps: bool = False
    has_class_rows: bool = True

    def by_slice(self) -> Iterator[tuple[str, list[SliceValue]]]:
        """Each slice's name with its values."""
        for name, group in itertools.groupby(self.values, lambda each: each.slice):
            yield name, list(group)


@dataclasses.dataclass(frozen=True)
class Part:
    """The examples of a class with one outcome.

    Attributes:
      n: How many maps.
      mean_map: Of unit mass, on the sketch's grid.
    """

    n: int
    mean_map: Floats


class Slices:
    """The table of slices of an atlas; nothing where it has none.

    Args:
      atlas: The atlas.
      shown: Statistics of the table of classes.
      columns: Of the table of classes, which the table of slices has too.
      drawn: How mean maps are drawn.
    """

    def __init__(
        self, atlas: Atlas, shown: Sequence[str], columns: Sequence[str], drawn: Maps
    ) -> None:
        self._drawn = drawn
        self._shown = tuple(shown)
        wanted = [name + suffix for name in shown for suffix in _OF_MEANS]
        try:
            self._table = atlas.statistics(
                SLICES, [*_KEYS, "mean_map", *(name for name in wanted if name in columns)]
            )
        except ConfigurationError:  # an older version's atlas, or one that is not finished
            self._table = pa.table({name: [] for name in _KEYS})

    def view(self) -> SlicesView:
        """The slices as the page shows them."""
        table = self._table
        if not table.num_rows:
            return SlicesView()
        every = self._places()
        places = _bounded(every, table["n"].to_numpy())
        count = sum(map(len, places.values()))
        has_maps, has_class_rows = count <= MOST_MAPS, count <= MOST_CLASS_ROWS
        maps = tensor_values(table["mean_map"]) if has_maps else None
        intervals = {name: intervals_of_means(table, name) for name in self._shown}
        means = [f"{name}_mean" for name in self._shown]
        rows = table.select([*_KEYS, *means]).to_pylist()

        def packed(place: int) -> list[Any]:
            cells = [
                cell(rows[place][mean], name, intervals[name][place])
                for name, mean in zip(self._shown, means, strict=True)
            ]
            return _row(rows[place], cells, self._picture(None if maps is None else maps[place]))

        groups = Groups(table, None)
        defined = {name: groups.defined(name) for name in self._shown}

        def value(number: int, key: Key, at: Sequence[int]) -> SliceValue:
            pooled = {
                name: _pooled_mean([rows[each][mean] for each in at], defined[name][at].tolist())
                for name, mean in zip(self._shown, means, strict=True)
            }
            made = _value(number, key, [rows[each] for each in at], pooled, map(packed, at))
            class_rows = (
                tuple(_class_row(rows[each], self._shown, means) for each in at)
                if has_class_rows
                else ()
            )
            return dataclasses.replace(made, class_rows=class_rows)

        values = tuple(value(number, key, at) for number, (key, at) in enumerate(places.items()))
        return SlicesView(values, len(every) - len(places), has_maps, has_class_rows)

    def _picture(self, mean_map: Floats | None) -> Markup | None:
        if mean_map is None or not np.isfinite(mean_map).all() or not mean_map.sum() > 0:
            return None
        return self._drawn.small(mean_map)

    def outcomes(self) -> dict[int, dict[str, Part]]:
        """The right and the wrong examples of each class that has both, by outcome."""
        table = self._table
        if not table.num_rows:
            return {}
        is_known = pc.field("value").isin(_OUTCOMES)
        table = table.filter((pc.field("slice") == OUTCOME) & is_known)
        found: dict[int, dict[str, Part]] = {}
        columns = (table[name].to_pylist() for name in ("class", "value", "n"))
        maps = tensor_values(table["mean_map"]) if table.num_rows else ()
        for number, value, n, mean_map in zip(*columns, maps, strict=True):
            if np.isfinite(mean_map).all() and mean_map.sum() > 0:
                found.setdefault(number, {})[value] = Part(n, mean_map)
        return {number: parts for number, parts in found.items() if len(parts) == len(_OUTCOMES)}

    def _places(self) -> dict[Key, list[int]]:
        """Rows of the table by slice and value, in its order; the values of a slice sorted."""
        names, values = (self._table[name].to_pylist() for name in ("slice", "value"))
        found: dict[Key, list[int]] = {}
        for place, key in enumerate(zip(names, values, strict=True)):
            found.setdefault(key, []).append(place)
        if not any(name == OUTCOME and value is not None for name, value in found):
            found.pop((OUTCOME, None), None)  # without labels or predictions it says nothing
        return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def _order(key: Key) -> tuple[bool, str, bool, str]:
    """Slices by name, outcomes last; values likewise, null last."""
    name, value = key
    return name == OUTCOME, name, value is None, value or ""


def _named(value: str | None) -> str:
    if value is None:
        return "none"
    return value if value.strip() else "its value is empty"


def _bounded(places: Mapping[Key, list[int]], n: npt.NDArray[np.int64]) -> dict[Key, list[int]]:
    """As many values as a page may hold, the commonest; in the same order."""
    sizes = {key: int(n[at].sum()) for key, at in places.items()}
    kept: set[Key] = set()
    rows = 0
    for key in sorted(places, key=lambda each: (-sizes[each], _order(each))):
        rows += len(places[key])
        if rows > MOST_ROWS or len(kept) == MOST_VALUES:
            break
        kept.add(key)
    return {key: at for key, at in places.items() if key in kept}


def _value(
    number: int,
    key: Key,
    rows: Sequence[Mapping[str, Any]],
    means: Mapping[str, float | None],
    packed: Iterator[list[Any]],
) -> SliceValue:
    n = sum(row["n"] for row in rows)
    counts = [row["n_correct"] for row in rows]
    accuracy = None if None in counts or not n else sum(counts) / n
    return SliceValue(
        number=number,
        slice=key[0],
        value=_named(key[1]),
        n=n,
        classes=len(rows),
        accuracy=wording.percent(accuracy, n),
        texts=tuple(wording.figure(name, mean) for name, mean in means.items()),
        rows=json.dumps(list(packed), ensure_ascii=False, separators=(",", ":")),
    )


def _pooled_mean(means: Sequence[float | None], n: Sequence[float]) -> float | None:
    """The mean over all values of some groups.

    Args:
      means: Of each group; None where it has no value.
      n: How many values each has.
    """
    known = [(weight, mean) for weight, mean in zip(n, means, strict=True) if mean is not None]
    total = sum(weight for weight, _ in known)
    return sum(weight * mean for weight, mean in known) / total if total else None


def _class_row(row: Mapping[str, Any], names: Sequence[str], means: Sequence[str]) -> ClassRow:
    texts = (wording.figure(name, row[mean]) for name, mean in zip(names, means, strict=True))
    return ClassRow(row["class"], f"{row['n']:,}", _accuracy(row)[0], tuple(texts))


def _accuracy(row: Mapping[str, Any]) -> tuple[str, float | None]:
    """In words, and as a share."""
    n, correct = row["n"], row["n_correct"]
    share = None if correct is None or not n else correct / n
    return wording.percent(share, n), share


def _row(row: Mapping[str, Any], cells: Sequence[Cell], picture: Markup | None) -> list[Any]:
    shown = [
        [
            each.text,
            None if each.value is None else float(f"{each.value:.{_DIGITS}g}"),
            each.interval,
            each.dot.value,
            each.dot.low,
            each.dot.high,
        ]
        for each in cells
    ]
    (text, accuracy), n = _accuracy(row), row["n"]
    share = None if accuracy is None else round(accuracy, _DIGITS)
    return [row["class"], f"{n:,}", n, text, share, picture, shown]
