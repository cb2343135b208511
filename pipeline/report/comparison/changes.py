"""A class in both atlases: its mean maps beside each other, and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from markupsafe import Markup

from pipeline import pictures
from pipeline.plain_text import plain
from pipeline.report.classes.views import Floats, named
from pipeline.report.drawing.maps import Maps

Facts = tuple[tuple[str, str], ...]
"""Figures with what they are."""


@dataclasses.dataclass(frozen=True)
class ClassChange:
    """A class in both atlases.

    Attributes:
      name: Its name.
      before: Its mean map in the baseline, drawn; None where it has none.
      now: The same in the atlas.
      difference: Where there is more or less than before; None where the two cannot be met, and
        of maps that are drawn as lines or bars.
      facts: Figures with what they are.
    """

    name: str
    before: Markup | None
    now: Markup | None
    difference: Markup | None
    facts: Facts


@dataclasses.dataclass(frozen=True)
class MeanMaps:
    """The mean maps of two atlases by class.

    Attributes:
      before: Of the baseline.
      now: Of the atlas.
      drawn: How they are drawn.
    """

    before: Mapping[int, Floats]
    now: Mapping[int, Floats]
    drawn: Maps

    def change(self, number: int, class_name: str | None, facts: Facts) -> ClassChange:
        """How a class changed.

        Args:
          number: Of the class.
          class_name: Its name; None where it has none.
          facts: What is known of it.
        """
        before, now = self.before.get(number), self.now.get(number)
        name = named(number, class_name)
        title = f"Mean map of {plain(name)}"
        drawn = [
            None if each is None else self.drawn.medium(each, f"{title}, {when}")
            for when, each in (("before", before), ("now", now))
        ]
        difference = None
        if self.drawn.has_colours and before is not None and now is not None:
            difference = _difference(before, now, f"{title}, difference")
        return ClassChange(name, drawn[0], drawn[1], difference, facts)


def _difference(before: Floats, now: Floats, words: str) -> Markup | None:
    """Where there is more or less than before; None where the two have other sizes."""
    if before.shape != now.shape:
        return None
    ratio = pictures.log_ratio(*(pictures.in_times_uniform(each) for each in (now, before)))
    return Markup('<img src="{}" width="112" height="112" alt="{}">').format(
        pictures.data_uri(pictures.difference_png(ratio)), words
    )
