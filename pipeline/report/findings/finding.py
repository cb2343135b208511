"""What needs a look: failed gates of the audit; without one, the classes that stand out."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from pipeline import pictures
from pipeline.report import wording
from pipeline.report.classes.exemplars import Exemplar, Region
from pipeline.report.classes.views import OF_IMAGES, Floats, map_in_words, statistic_dot
from pipeline.report.drawing import charts

STANDS_OUT = 2.0
"""Times the median class: a description, no judgement."""

MOST_CARDS = 12
_AT_LEAST_CLASSES = 3


@dataclasses.dataclass(frozen=True)
class Bar:
    """A share of images in an experiment.

    Attributes:
      name: What was done to them.
      text: The share with its interval, in words.
      drawing: As a bar with its interval.
    """

    name: str
    text: str
    drawing: Markup


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What happened when images were changed, beside what happened when they were changed alike.

    Attributes:
      title: What was done.
      rule: To which images, and what is counted.
      bars: The change in question, then the one that it is compared with.
    """

    title: str
    rule: str
    bars: tuple[Bar, ...]


@dataclasses.dataclass(frozen=True)
class Finding:
    """A class that something is to be said of.

    Attributes:
      number: The class.
      statistic: What it is about, without `_mean`.
      state: `fail`, `undecided`, or `note` where nothing is judged.
      status: `new` or `known` since the previous audit; empty where there was none.
      statement: A sentence.
      facts: Names with what they are.
      map_uri: The class's mean map; None where it has none.
      map_words: What it shows.
      outline: Of the place in question, else of its strongest region, over the map.
      region_words: The same in words; empty where the saliency is all over the place.
      drawing: The figure with its interval.
      region: The place in question; None where it is not about one.
      ids: Examples that the audit names, the heaviest first.
      experiments: What changing images did.
      exemplars: Those that show it most.
      rule: How they were chosen.
    """

    number: int
    statistic: str
    state: str
    status: str
    statement: Markup
    facts: tuple[tuple[str, str], ...]
    map_uri: str | None
    map_words: str
    outline: Markup
    region_words: str
    drawing: Markup
    region: Region | None = None
    ids: tuple[str, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()
    rule: str = ""


@dataclasses.dataclass(frozen=True)
class StandsOut:
    """A class whose statistic is far above the others'.

    Attributes:
      number: The class.
      statistic: Without `_mean`.
      value: Its mean.
      others_low: The lowest of the other classes.
      others_high: The highest.
    """

    number: int
    statistic: str
    value: float
    others_low: float
    others_high: float


def standing_out(table: pa.Table) -> list[StandsOut]:
    """Classes with an energy of at least twice the median class's and every other's, most first.

    Args:
      table: Of the classes.
    """
    found = []
    numbers = table["class"].to_pylist()
    for name in OF_IMAGES:
        column = f"{name}_mean"
        if column not in table.column_names:
            continue
        values = {
            n: v for n, v in zip(numbers, table[column].to_pylist(), strict=True) if v is not None
        }
        if len(values) < _AT_LEAST_CLASSES:
            continue
        middle = statistics.median(values.values())
        for number, value in values.items():
            others = [each for other, each in values.items() if other != number]
            if value >= STANDS_OUT * middle and value >= STANDS_OUT * max(others):
                out = StandsOut(number, name, value, min(others), max(others))
                found.append((value / max(middle, 1e-12), out))
    found.sort(key=lambda pair: (-pair[0], pair[1].number))
    return [out for _, out in found[:MOST_CARDS]]


def described(out: StandsOut, names: Mapping[int, str], mean_map: Floats | None) -> Finding:
    """What stands out, as a card."""
    figure = wording.figure
    name = wording.statistic_name(out.statistic)
    statement = Markup(
        "<em><bdi>{}</bdi></em> differs from all other classes: its {} holds {} "
        "the saliency of an even map, theirs {} to {}."
    ).format(
        names[out.number],
        name,
        figure(out.statistic, out.value),
        figure(out.statistic, out.others_low),
        figure(out.statistic, out.others_high),
    )
    return card(
        number=out.number,
        statistic=out.statistic,
        state="note",
        status="",
        statement=statement,
        facts=(
            (names[out.number], figure(out.statistic, out.value)),
            (
                "the other classes",
                f"{figure(out.statistic, out.others_low)} to "
                f"{figure(out.statistic, out.others_high)}",
            ),
        ),
        drawing=charts.interval_dot(statistic_dot(out.statistic, out.value, None, None)),
        mean_map=mean_map,
    )


def card(
    *,
    number: int,
    statistic: str,
    state: str,
    status: str,
    statement: Markup,
    facts: Sequence[tuple[str, str]],
    drawing: Markup,
    mean_map: Floats | None,
    region: Region | None = None,
) -> Finding:
    """A card with the class's mean map, and in it the place in question or its strongest region."""
    uri, words, outline, region_words = (
        None,
        "no map of this class has any saliency",
        Markup(""),
        "",
    )
    if mean_map is not None:
        plane = pictures.in_times_uniform(mean_map)
        uri = pictures.data_uri(pictures.map_png(plane, pictures.FINE))
        words = map_in_words(plane)
        cells = strongest_region(plane) if region is None else _cells(region, plane.shape)
        outline = charts.outline(cells, (plane.shape[0], plane.shape[1]))
        region_words = _region_words(plane, cells)
    return Finding(
        number=number,
        statistic=statistic,
        state=state,
        status=status,
        statement=statement,
        facts=tuple(facts),
        map_uri=uri,
        map_words=words,
        outline=outline,
        region_words=region_words,
        drawing=drawing,
        region=region,
    )


def _cells(region: Region, shape: Sequence[int]) -> list[tuple[int, int]]:
    """The cells whose middles are in a place; at least the one in the middle of it."""
    inside = [
        [cell for cell in range(size) if low <= (cell + 0.5) / size < high]
        or [min(size - 1, int((low + high) / 2 * size))]
        for size, low, high in zip(shape, region[:2], region[2:], strict=True)
    ]
    return [(row, column) for row in inside[0] for column in inside[1]]


def strongest_region(plane: Floats) -> list[tuple[int, int]]:
    """Cells connected to the maximum that have at least half of it, by row and column."""
    rows, columns = plane.shape
    floor = float(plane.max()) / 2
    start = np.unravel_index(int(plane.argmax()), plane.shape)
    found = {(int(start[0]), int(start[1]))}
    waiting = list(found)
    while waiting:
        row, column = waiting.pop()
        for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= near[0] < rows and 0 <= near[1] < columns
            if inside and near not in found and plane[near] >= floor:
                found.add(near)
                waiting.append(near)
    return sorted(found)


def _region_words(plane: Floats, cells: Sequence[tuple[int, int]]) -> str:
    rows, columns = plane.shape
    down = [row for row, _ in cells]
    across = [column for _, column in cells]
    place = wording.region_in_words(
        (min(down) / rows, (max(down) + 1) / rows),
        (min(across) / columns, (max(across) + 1) / columns),
    )
    area = len(cells) / plane.size
    mass = float(sum(plane[cell] for cell in cells) / plane.sum())
    return f"{place}: {wording.percent(area)} of the area, {wording.percent(mass)} of the saliency"
