"""What is told of candidates and proposals once they were tried on the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pipeline.audit.shortcuts.candidates import Candidate
from pipeline.audit.shortcuts.scores import lead
from pipeline.audit.shortcuts.shortcut import Shortcut

MIN_EXAMPLES = 50
"""With fewer images nothing is confirmed and nothing cleared."""

FEWEST_RECOGNISED = 10
"""A median of fewer margins is no unit."""

WORTH_TRYING = 0.3
"""Of the median margin: what masking a few images takes of a proposal that is worth trying."""

FAR_MORE = 4.0
"""By how many times more it has to take than of any other class at that class's own places."""

CONVINCING_FILL = 0.3
"""Of the median margin: what each way of masking has to take where maps alone told nothing of a
place. In clean models of the calibration some way took less than 0.15 at any place proposed."""

CONVINCING_P = 0.05
"""Of pasting a place that maps alone told nothing of: with a larger p value it does not agree. A
class that hardly differs from its twin has a margin so small that masking alone says nothing."""

CONVINCING_SHARE = 0.75
"""The same of masking peaks, where any model looks: all of the interval has to be above it."""


@dataclasses.dataclass(frozen=True)
class Screened:
    """What masking a proposal in a few images of its class did.

    Attributes:
      taken: Of the class's margin, beyond masking elsewhere: the mean.
      margin: The median margin, above 0 where the model recognises the images.
    """

    taken: float
    margin: float


class Experiments(Protocol):
    """What asks the model."""

    def screen(self, proposal: Candidate) -> Screened | None:
        """Masks a few images of half a; None of a property and where too few are recognised."""
        ...

    def confirm(self, candidate: Candidate) -> Shortcut:
        """Tries a candidate on half b."""
        ...


def try_all(
    candidates: Sequence[Candidate], proposals: Sequence[Candidate], experiments: Experiments
) -> list[Shortcut]:
    """Tries candidates, and proposals of classes where no candidate of the kind is used.

    Args:
      candidates: What stands out: told whatever comes of it.
      proposals: What does not: told if the experiment convinces, of a class's places the one that
        takes most when it is masked.
      experiments: Ask the model.

    Returns:
      By class, what stood out before what was proposed.
    """
    found = [experiments.confirm(each) for each in candidates]
    used = {(each.class_number, each.indicator) for each in found if each.is_used}
    best: dict[tuple[int, str], Shortcut] = {}
    for each in worth_trying(proposals, [experiments.screen(one) for one in proposals]):
        key = each.finding.class_number, each.finding.indicator
        if key in used:
            continue
        tried = experiments.confirm(each)
        if convinces(tried):
            best[key] = max(best.get(key, tried), tried, key=_taken)
    return sorted([*found, *best.values()], key=lambda each: each.class_number)


def worth_trying(
    proposals: Sequence[Candidate], screened: Sequence[Screened | None]
) -> list[Candidate]:
    """The proposals that take much of their class's margin, and far more than any other class's.

    Classes are the units here as well: where objects stand in the middle of photographs, or are
    small, masking what maps point to takes most of any class's margin, and none is known by
    anything else than its object. Of eight classes or more the one that loses most is passed over,
    so that two with a mark do not hide one another.

    Args:
      proposals: What is proposed.
      screened: What screening came to, one for each; a property is not screened, and worth it.
    """
    of_classes: dict[str, dict[int, float]] = {}
    for each, result in zip(proposals, screened, strict=True):
        taken = of_classes.setdefault(each.finding.indicator, {})
        most = 0.0 if result is None else result.taken
        taken[each.finding.class_number] = max(taken.get(each.finding.class_number, 0.0), most)
    usual = {
        (indicator, target): others
        for indicator, taken in of_classes.items()
        for target, others in zip(taken, _most_of_others([*taken.values()]), strict=True)
    }
    return [
        each
        for each, result in zip(proposals, screened, strict=True)
        if each.finding.indicator == "property"
        or (
            result is not None
            and result.margin > 0
            and result.taken >= WORTH_TRYING * result.margin
            and result.taken >= FAR_MORE * usual[each.finding.indicator, each.finding.class_number]
        )
    ]


def _most_of_others(taken: Sequence[float]) -> list[float]:
    """The most that another class loses, as `lead` has it; 0 where there is no other."""
    values = np.array(taken)
    return (values - lead(values)).tolist() if len(values) > 1 else [0.0] * len(values)


def convinces(tried: Shortcut) -> bool:
    """Whether an experiment says by itself that something is used, whatever maps say.

    Of a place it does where each way of masking takes a good part of the margin, and pasting raises
    the class's margin in other images more than another patch does. At peaks, where any model
    looks, masking has to take most of it, and pasting has to turn other images into the class. Of
    a property the verdict itself asks for as much.

    Args:
      tried: With what masking and pasting did.
    """
    mask, transplant = tried.mask, tried.transplant
    if mask is None or mask.low is None or mask.by_fill is None or transplant is None:
        return False
    if tried.indicator == "place":
        is_much = min(mask.by_fill.values()) >= CONVINCING_FILL
        return is_much and tried.is_used and transplant.p < CONVINCING_P
    is_most = tried.indicator == "property" or mask.low >= CONVINCING_SHARE
    return tried.verdict == "portable" and is_most


def _taken(shortcut: Shortcut) -> float:
    """What masking takes in the images that the model recognises, by the fill that takes least."""
    mask = shortcut.mask
    return min(mask.by_fill.values()) if mask is not None and mask.by_fill is not None else 0.0
