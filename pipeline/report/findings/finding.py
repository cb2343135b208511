"""What needs a look: failed gates of the audit; without one, the classes that stand out."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

import pyarrow as pa
from markupsafe import Markup

from pipeline.report import wording
from pipeline.report.classes.exemplars import Exemplar
from pipeline.report.classes.views import OF_IMAGES, statistic_dot
from pipeline.report.drawing import charts
from pipeline.report.drawing.regions import Region

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
      drawing: The figure with its interval.
      region: The place in question; None where it is not about one.
      ids: Examples that the audit names, the heaviest first.
      experiments: What changing images did.
      picture: The class's mean map; None where it has none.
      region_words: The place that is outlined in it; empty where none is.
      exemplars: Those that show it most.
      rule: How they were chosen.
    """

    number: int
    statistic: str
    state: str
    status: str
    statement: Markup
    facts: tuple[tuple[str, str], ...]
    drawing: Markup
    region: Region | None = None
    ids: tuple[str, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    picture: Markup | None = None
    region_words: str = ""
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


def described(out: StandsOut, names: Mapping[int, str]) -> Finding:
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
    region: Region | None = None,
) -> Finding:
    """A card, whose picture and examples come later."""
    return Finding(
        number=number,
        statistic=statistic,
        state=state,
        status=status,
        statement=statement,
        facts=tuple(facts),
        drawing=drawing,
        region=region,
    )
