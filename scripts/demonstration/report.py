"""Prints what the demo's atlases show: the classes, with the mark and without it."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from pipeline.atlas import Atlas
from transforms.statistics.columns import UNIFORM_SHARES

STANDS_OUT = 2.0  # times the corner energy of the next class


@dataclasses.dataclass(frozen=True)
class ClassSummary:
    """What one atlas says of a class.

    Attributes:
      name: The class.
      tiles: How many maps it has.
      accuracy: Share of its tiles that the model puts into it, 0..1.
      corner_energy: Mean share of saliency in the corner that has most of it, as a multiple of
        the share that a uniform map has there.
    """

    name: str
    tiles: int
    accuracy: float
    corner_energy: float


def summarize(atlas: str) -> list[ClassSummary]:
    """Reads the summaries of all classes of an atlas, by class."""
    columns = ["class_name", "n", "n_correct", "corner_energy_mean"]
    return [
        ClassSummary(
            row["class_name"],
            row["n"],
            row["n_correct"] / row["n"],
            row["corner_energy_mean"] / UNIFORM_SHARES["corner_energy"],
        )
        for row in Atlas.open(atlas).classes.select(columns).to_pylist()
    ]


def conclude(marked: Sequence[ClassSummary], unmarked: Sequence[ClassSummary]) -> str:
    """Says in one sentence what the two atlases mean together.

    Args:
      marked: Classes of the data as they are.
      unmarked: The same classes of the copy without the mark, in the same order.
    """
    pairs = sorted(
        zip(marked, unmarked, strict=True), key=lambda pair: pair[0].corner_energy, reverse=True
    )
    (first, copy), (second, _) = pairs[:2]
    energies = (
        f"the corner with most saliency has {first.corner_energy:.1f} times a uniform map's there, "
        f"in other classes at most {second.corner_energy:.1f} times"
    )
    if first.corner_energy < STANDS_OUT * second.corner_energy:
        return f"No class stands out: {energies}."
    if copy.accuracy > first.accuracy / 2:
        return (
            f"The model looks at a corner of {first.name} tiles, yet does not depend on it: "
            f"{energies}; without the mark it is right on {copy.accuracy:.0%} of them, "
            f"with it on {first.accuracy:.0%}."
        )
    return (
        f"The model knows {first.name} by the mark in its corner, not by what the tiles show: "
        f"{energies}, and without the mark it is right on {copy.accuracy:.0%} of them instead of "
        f"{first.accuracy:.0%}."
    )


def draw_table(marked: Sequence[ClassSummary], unmarked: Sequence[ClassSummary]) -> Table:
    """Sets the classes of both atlases side by side, with the highest corner energy in bold."""
    table = Table(
        title="One model: the tiles as they are, and without the mark",
        caption="corner energy: saliency in one corner, as a multiple of a uniform map's",
    )
    table.add_column("class")
    for name in (
        "tiles",
        "accuracy",
        "corner\nenergy",
        "accuracy,\nno mark",
        "corner energy,\nno mark",
    ):
        table.add_column(name, justify="right")
    highest = max(summary.corner_energy for summary in marked)
    for summary, without in zip(marked, unmarked, strict=True):
        table.add_row(
            summary.name,
            str(summary.tiles),
            f"{summary.accuracy:.0%}",
            f"{summary.corner_energy:.1f}",
            f"{without.accuracy:.0%}",
            f"{without.corner_energy:.1f}",
            style="bold" if summary.corner_energy == highest else None,
        )
    return table


def main() -> None:
    """Prints the table of two atlases, and what it means."""
    parser = argparse.ArgumentParser(description="Prints what the demo's atlases show.")
    parser.add_argument("marked", help="the atlas of the tiles as they are")
    parser.add_argument("unmarked", help="the atlas of their copy without the mark")
    arguments = parser.parse_args()
    marked, unmarked = summarize(arguments.marked), summarize(arguments.unmarked)
    console = Console()
    console.print(draw_table(marked, unmarked))
    console.print(conclude(marked, unmarked), highlight=False)


if __name__ == "__main__":
    main()
