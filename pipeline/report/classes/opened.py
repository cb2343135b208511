"""What opens below a class: examples by rule, right beside wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from markupsafe import Markup

from pipeline import pictures
from pipeline.plain_text import plain
from pipeline.report import wording
from pipeline.report.classes.exemplars import (
    ATYPICAL,
    IN_PLACE,
    TYPICAL,
    WRONG,
    Chosen,
    Exemplar,
    Selection,
)
from pipeline.report.classes.slices import Part
from pipeline.report.drawing.maps import Maps

_COMPACT_SIDE = 48  # pixels of a thumbnail where there are many
_COMPACT_MAP = 14  # cells of a mean map likewise
_DIFFERENCE = "orange where the wrong ones have more, blue where less"


@dataclasses.dataclass(frozen=True)
class Group:
    """Exemplars by one rule, as the page shows them.

    Attributes:
      title: What they are.
      rule: How they were chosen.
      exemplars: The best first.
    """

    title: str
    rule: str
    exemplars: tuple[Exemplar, ...]


@dataclasses.dataclass(frozen=True)
class OutcomePicture:
    """A mean map of right or of wrong examples, or what differs between the two.

    Attributes:
      title: Of which.
      rule: How many, or how to read it.
      picture: The map.
    """

    title: str
    rule: str
    picture: Markup


class Opened:
    """What opens below the classes of a page.

    Args:
      chosen: The exemplars.
      selection: What was to be chosen.
      outcomes: The right and the wrong examples of the classes that have both.
      drawn: How maps are drawn.
    """

    def __init__(
        self,
        chosen: Chosen,
        selection: Selection,
        outcomes: Mapping[int, Mapping[str, Part]],
        drawn: Maps,
    ) -> None:
        self._chosen = chosen
        self._selection = selection
        self._outcomes = outcomes
        self._drawn = drawn

    def groups(self, number: int) -> list[Group]:
        """A class's exemplars, by rule."""
        rules = self._chosen.by_rule.get(number, {})
        return [
            Group(*rule_in_words(rule, self._selection), tuple(rules[rule]))
            for rule in self._selection.rules
            if rule in rules and rule != IN_PLACE
        ]

    def outcomes(self, number: int) -> list[OutcomePicture]:
        """The mean maps of a class's right and wrong examples; none where it has not both."""
        parts = self._outcomes.get(number)
        if parts is None:
            return []
        maps = {outcome: part.mean_map for outcome, part in parts.items()}
        if self._drawn.has_colours and not self._selection.whole_maps:
            maps = {
                outcome: pictures.pooled(pictures.in_times_uniform(each), _COMPACT_MAP)
                for outcome, each in maps.items()
            }
        found = [
            OutcomePicture(
                title,
                wording.count(parts[outcome].n, "map"),
                self._drawn.medium(maps[outcome], title),
            )
            for outcome, title in (("correct", "Right"), ("wrong", "Wrong"))
        ]
        if not (self._drawn.has_colours and self._selection.whole_maps):
            return found
        planes = {outcome: pictures.in_times_uniform(each) for outcome, each in maps.items()}
        ratio = pictures.log_ratio(planes["wrong"], planes["correct"])
        picture = Markup('<img src="{}" width="112" height="112" alt="{}">').format(
            pictures.data_uri(pictures.difference_png(ratio)), _DIFFERENCE
        )
        return [*found, OutcomePicture("Wrong against right", _DIFFERENCE, picture)]

    def picture_of(self, exemplar: Exemplar) -> str | None:
        """An exemplar's input as an address; None where the atlas has none."""
        if exemplar.thumbnail is None:
            return None
        data = exemplar.thumbnail
        if not self._selection.whole_maps:
            data = pictures.small_jpeg(data, _COMPACT_SIDE)
        return pictures.data_uri(data)

    def plane_of(self, exemplar: Exemplar) -> str:
        """An exemplar's map as a picture's address."""
        levels = pictures.FINE if self._selection.whole_maps else pictures.COARSE
        return pictures.data_uri(pictures.map_png(exemplar.plane, levels))

    def chart_of(self, exemplar: Exemplar) -> Markup | None:
        """An exemplar's map as a chart; None where it is a picture."""
        return self._drawn.example(exemplar.plane, f"Map of {plain(exemplar.example_id)}")


def rule_in_words(rule: str, selection: Selection) -> tuple[str, str]:
    """A rule's title, and how it chooses."""
    if rule == TYPICAL:
        right = "rightly predicted, " if selection.has_outcomes else ""
        return "Typical", f"{right}their maps nearest to the class's mean map"
    if rule == ATYPICAL:
        return "Atypical", "their maps farthest from the class's mean map"
    if rule == WRONG:
        return "Wrong", "predicted as another class, the surest first"
    if rule == IN_PLACE:
        return "In the place", "those whose maps have most in the place"
    name = wording.statistic_name(rule.rpartition(" ")[2])
    return f"Highest: {name}", f"the highest values of “{name}”"
