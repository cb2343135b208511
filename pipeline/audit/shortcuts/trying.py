"""What is told of candidates and proposals once they were tried on the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.audit.result import Shortcut
from pipeline.audit.shortcuts.candidates import Candidate

CONVINCING_FILL = 0.3
"""Of the median margin: what each way of masking has to take where maps alone told nothing of a
place. In clean models of the calibration some way took less than 0.15 at any place proposed."""

CONVINCING_P = 0.05
"""Of pasting a place that maps alone told nothing of: with a larger p value it does not agree. A
class that hardly differs from its twin has a margin so small that masking alone says nothing."""

CONVINCING_SHARE = 0.75
"""The same of masking peaks, where any model looks: all of the interval has to be above it."""


def try_all(
    candidates: Sequence[Candidate],
    proposals: Sequence[Candidate],
    confirm: Callable[[Candidate], Shortcut],
) -> list[Shortcut]:
    """Tries candidates, and proposals of classes where no candidate of the kind is used.

    Args:
      candidates: What stands out: told whatever comes of it.
      proposals: What does not: told if the experiment convinces, of a class's places the one that
        takes most when it is masked.
      confirm: Tries one.

    Returns:
      By class, what stood out before what was proposed.
    """
    found = [confirm(each) for each in candidates]
    used = {(each.class_number, each.indicator) for each in found if each.is_used}
    best: dict[tuple[int, str], Shortcut] = {}
    for each in proposals:
        key = each.finding.class_number, each.finding.indicator
        if key in used:
            continue
        tried = confirm(each)
        if convinces(tried):
            best[key] = max(best.get(key, tried), tried, key=_taken)
    return sorted([*found, *best.values()], key=lambda each: each.class_number)


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
