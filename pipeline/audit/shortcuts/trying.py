"""What is told of candidates and proposals once they were tried on the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.audit.result import MaskEffect, Shortcut, ShortcutVerdict
from pipeline.audit.shortcuts.candidates import Candidate
from pipeline.audit.shortcuts.scores import IndicatorKind

CONVINCING_FILL = 0.3
"""Of the median margin: what each way of masking has to take where maps alone told nothing of a
place. In clean models of the calibration some way took less than 0.15 at any place proposed."""

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
        if convinces(tried.indicator, tried.verdict, tried.mask):
            best[key] = max(best.get(key, tried), tried, key=_taken)
    return sorted([*found, *best.values()], key=lambda each: each.class_number)


def convinces(indicator: IndicatorKind, verdict: ShortcutVerdict, mask: MaskEffect | None) -> bool:
    """Whether an experiment says by itself that something is used, whatever maps say.

    Of a place it does where each way of masking takes a good part of the margin. At peaks, where
    any model looks, masking has to take most of it, and pasting has to agree.

    Args:
      indicator: Of what was tried.
      verdict: Of the experiment.
      mask: What masking did.
    """
    if mask is None or mask.low is None or mask.by_fill is None:
        return False
    if indicator == "place":
        is_much = min(mask.by_fill.values()) >= CONVINCING_FILL
        return is_much and verdict in ("used", "portable")
    return verdict == "portable" and mask.low >= CONVINCING_SHARE


def _taken(shortcut: Shortcut) -> float:
    """What masking takes in the images that the model recognises, by the fill that takes least."""
    mask = shortcut.mask
    return min(mask.by_fill.values()) if mask is not None and mask.by_fill is not None else 0.0
