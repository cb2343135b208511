"""The table of classes: a row per class, and what opens below it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from markupsafe import Markup

from pipeline.audit.groups import Groups
from pipeline.audit.statistics import statistic
from pipeline.plain_text import plain
from pipeline.report import wording
from pipeline.report.drawing import charts
from pipeline.report.drawing.maps import Maps
from transforms.statistics.columns import UNBOUNDED, UNIFORM_SHARES
from transforms.store.map_format import tensor_values

OF_IMAGES = ("corner_energy", "border_energy", "center_energy")
OF_TENSORS = ("entropy", "gini")
WITHOUT_AXIS = frozenset({"score", "shortcut", *UNBOUNDED})
"""Statistics that may be any number."""

CONFIDENCE = 0.95
_MOST_SHOWN = 3
_LAZY = 200  # classes above which pictures wait until they are scrolled to

Floats = npt.NDArray[np.floating]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A statistic of a class.

    Attributes:
      text: With its unit.
      value: To sort by; None where undefined.
      interval: In words; empty where there is none.
      dot: Where it is on its axis.
    """

    text: str
    value: float | None
    interval: str
    dot: charts.Dot


@dataclasses.dataclass(frozen=True)
class StatisticRow:
    """A statistic of a class with its quantiles, as the opened row has it."""

    name: str
    mean: str
    low: str
    middle: str
    high: str


@dataclasses.dataclass(frozen=True)
class ClassView:
    """A class as the page shows it.

    Attributes:
      number: The class.
      name: Its name.
      n: How many maps.
      accuracy: In words.
      accuracy_value: 0..1, to sort by; None without labels.
      picture: The mean map; None where no map of the class has saliency.
      cells: One per statistic of the table.
      histogram: Of the first statistic; empty where the atlas has none.
      statistics: All, for the opened row.
    """

    number: int
    name: str
    n: int
    accuracy: str
    accuracy_value: float | None
    picture: Markup | None
    cells: tuple[Cell, ...]
    histogram: Markup
    statistics: tuple[StatisticRow, ...]


def shown_statistics(table: pa.Table, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The statistics that the table shows, at most three: those of gates, then the usual ones.

    Args:
      table: Of the classes.
      wanted: Statistics that gates are about, without `_mean`.
    """
    regions = [
        name.removesuffix("_mean")
        for name in table.column_names
        if name.endswith("_energy_mean") and name.removesuffix("_mean") not in OF_IMAGES
    ]
    candidates = dict.fromkeys([*wanted, *regions, *OF_IMAGES, *OF_TENSORS])
    defined = [
        name
        for name in candidates
        if f"{name}_mean" in table.column_names
        and table[f"{name}_mean"].null_count < max(1, table.num_rows)
    ]
    energies = [name for name in defined if name not in OF_TENSORS or name in wanted]
    return tuple((energies or defined)[:_MOST_SHOWN])


def class_names(table: pa.Table) -> dict[int, str]:
    """What each class is called: its name, or its number where it has none."""
    pairs = zip(table["class"].to_pylist(), table["class_name"].to_pylist(), strict=True)
    return {number: named(number, name) for number, name in pairs}


def named(number: int, name: str | None) -> str:
    """A class's name on the page.

    >>> named(3, "tissue"), named(3, None), named(3, "  ")
    ('tissue', 'class 3', 'class 3 (its name is empty)')
    """
    if name is None:
        return f"class {number}"
    return plain(name) if name.strip() else f"class {number} (its name is empty)"


def mean_maps(table: pa.Table) -> dict[int, npt.NDArray[np.float64]]:
    """Mean maps by class, of unit mass; without the classes that have none."""
    maps = tensor_values(table["mean_map"]).astype(np.float64)
    return {
        number: each
        for number, each in zip(table["class"].to_pylist(), maps, strict=True)
        if np.isfinite(each).all() and each.sum() > 0
    }


def class_views(
    table: pa.Table,
    maps: Mapping[int, Floats],
    shown: Sequence[str],
    names: Mapping[int, str],
    drawn: Maps,
) -> list[ClassView]:
    """The classes in the order of the table.

    Args:
      table: Of the classes.
      maps: Their mean maps.
      shown: Statistics of the table.
      names: Of the classes.
      drawn: How mean maps are drawn.
    """
    small = table.drop_columns(["mean_map", "std_map"])
    rows = small.to_pylist()
    window = _window(rows, f"{shown[0]}_histogram") if shown else (0.0, 1.0)
    lazy = table.num_rows > _LAZY
    pictures = {number: drawn.small(each, lazy=lazy) for number, each in maps.items()}
    intervals = {name: intervals_of_means(table, name) for name in shown}
    return [
        _view(
            row,
            pictures.get(row["class"]),
            {name: ends[place] for name, ends in intervals.items()},
            names,
            window,
        )
        for place, row in enumerate(rows)
    ]


def _window(rows: Sequence[Mapping[str, Any]], histogram: str) -> tuple[float, float]:
    """Where the bins of all classes begin and end that hold anything, so that pictures compare."""
    counts = [row[histogram] for row in rows if row.get(histogram)]
    if not any(map(any, counts)):
        return 0.0, 1.0
    occupied = np.flatnonzero(np.any(np.array(counts), axis=0))
    bins = len(counts[0])
    return float(occupied[0]) / bins, float(occupied[-1] + 1) / bins


def intervals_of_means(table: pa.Table, name: str) -> list[tuple[float, float] | None]:
    """Intervals of the means of all groups; None where the atlas has not what they are made of."""
    of = statistic(f"{name}_mean")
    if not {*of.columns} <= {*table.column_names}:
        return [None] * table.num_rows
    around = of.figures(Groups(table, None)).intervals(CONFIDENCE)
    return [
        (low, high) if math.isfinite(low) and math.isfinite(high) else None
        for low, high in zip(around.low.tolist(), around.high.tolist(), strict=True)
    ]


def _view(
    row: Mapping[str, Any],
    picture: Markup | None,
    intervals: Mapping[str, tuple[float, float] | None],
    names: Mapping[int, str],
    window: tuple[float, float],
) -> ClassView:
    number, n, correct = row["class"], row["n"], row["n_correct"]
    accuracy = None if correct is None or not n else correct / n
    return ClassView(
        number=number,
        name=names[number],
        n=n,
        accuracy=wording.percent(accuracy, n),
        accuracy_value=accuracy,
        picture=picture,
        cells=tuple(cell(row[f"{name}_mean"], name, ends) for name, ends in intervals.items()),
        histogram=_histogram(row, next(iter(intervals), ""), window),
        statistics=tuple(
            _statistic_row(row, name)
            for name in (column.removesuffix("_mean") for column in row if column != "score_mean")
            if row.get(f"{name}_mean") is not None
        ),
    )


def cell(mean: float | None, name: str, ends: tuple[float, float] | None) -> Cell:
    """A statistic of a class or of a part of one.

    Args:
      mean: None where it is undefined.
      name: The statistic.
      ends: Of the mean's interval; None without one.
    """
    low, high = ends or (None, None)
    interval = "" if low is None else f"{wording.figure(name, low)} to {wording.figure(name, high)}"
    return Cell(wording.figure(name, mean), mean, interval, statistic_dot(name, mean, low, high))


def statistic_dot(
    name: str, mean: float | None, low: float | None, high: float | None
) -> charts.Dot:
    """A statistic on the axis of the maps where it is in times uniform, else on 0..1, if it is."""
    if name in WITHOUT_AXIS:
        return charts.NO_DOT
    ends = (mean, low, high)
    if name in UNIFORM_SHARES:
        return charts.dot(*(wording.times_uniform(name, each) for each in ends), logarithmic=True)
    return charts.dot(*ends, logarithmic=False)


def _histogram(row: Mapping[str, Any], name: str, window: tuple[float, float]) -> Markup:
    counts = row.get(f"{name}_histogram")
    return charts.sparkline(counts, *window) if counts else Markup("")


def _statistic_row(row: Mapping[str, Any], name: str) -> StatisticRow:
    def text(column: str) -> str:
        return wording.figure(column, row.get(column))

    return StatisticRow(
        name=wording.statistic_name(name),
        mean=text(f"{name}_mean"),
        low=text(f"{name}_q05"),
        middle=text(f"{name}_q50"),
        high=text(f"{name}_q95"),
    )
