"""What is told of candidates and proposals once they were tried on the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping, Sequence
from typing import Protocol

import numpy as np

from pipeline.audit.shortcuts.candidates import Candidate
from pipeline.audit.shortcuts.scores import lead
from pipeline.audit.shortcuts.shortcut import Outcome, Proposal, Shortcut

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

QUESTIONABLE_MOVE = 0.3
"""What share of other classes' images a pasted place turns into the class, beyond another patch,
before it is told whatever masking takes: the lower end of the interval. At no place proposed in the
calibration that did not convince was it 0.1."""

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

    @property
    def share(self) -> float | None:
        """What was taken as a share of the margin; None where that is 0 or less."""
        return self.taken / self.margin if self.margin > 0 else None


class Experiments(Protocol):
    """What asks the model."""

    def screen(self, proposal: Candidate) -> Screened | None:
        """Masks a few images of half a; None of a property and where too few are recognised."""
        ...

    def confirm(self, candidate: Candidate) -> Shortcut:
        """Tries a candidate on half b."""
        ...


@dataclasses.dataclass(frozen=True)
class Tried:
    """What came of candidates and proposals.

    Attributes:
      shortcuts: By class, what stood out before what was proposed.
      proposals: Each of them, in their order.
    """

    shortcuts: list[Shortcut]
    proposals: list[Proposal]


def try_all(
    candidates: Sequence[Candidate], proposals: Sequence[Candidate], experiments: Experiments
) -> Tried:
    """Tries candidates, and proposals of classes where no candidate of the kind is used.

    Args:
      candidates: What stands out: told whatever comes of it.
      proposals: What does not: told if the experiment convinces or raises a question, of a class's
        places the one that takes most when it is masked.
      experiments: Ask the model.
    """
    found = [experiments.confirm(each) for each in candidates]
    used = {(each.class_number, each.indicator) for each in found if each.is_used}
    screened = [experiments.screen(each) for each in proposals]
    outcomes: list[Outcome] = []
    tried: dict[int, Shortcut] = {}
    worth = worth_trying(proposals, screened)
    for number, (each, result) in enumerate(zip(proposals, screened, strict=True)):
        if not worth[number]:
            outcomes.append("unknown" if result is None else "passed_over")
        elif (each.finding.class_number, each.finding.indicator) in used:
            outcomes.append("needless")
        else:
            tried[number] = experiments.confirm(each)
            outcomes.append("untried" if tried[number].untried else "unconvincing")
    known = {(each.class_number, each.indicator) for each in found}
    for number in _told(tried, known):
        outcomes[number] = "told"
        found.append(tried[number])
    found.sort(key=lambda each: each.class_number)
    came_of = []
    for number, (each, result) in enumerate(zip(proposals, screened, strict=True)):
        finding = tried.get(number, each.finding)
        share = None if result is None else result.share
        came_of.append(Proposal.of(finding, outcomes[number], share))
    return Tried(found, came_of)


def _told(tried: Mapping[int, Shortcut], known: Container[tuple[int, str]]) -> list[int]:
    """Which of the proposals that were tried are told: of each class and kind the strongest.

    Where a candidate of the class and kind, which is `known`, raises a question already, another
    one says no more.
    """
    best: dict[tuple[int, str], int] = {}
    for number, each in tried.items():
        key = each.class_number, each.indicator
        is_more = key not in best or _rank(each) > _rank(tried[best[key]])
        if is_more and (convinces(each) or (key not in known and raises_question(each))):
            best[key] = number
    return sorted(best.values())


def worth_trying(proposals: Sequence[Candidate], screened: Sequence[Screened | None]) -> list[bool]:
    """Whether each proposal takes much of its class's margin, and far more than of any other class.

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
        each.finding.indicator == "property"
        or (
            result is not None
            and result.margin > 0
            and result.taken >= WORTH_TRYING * result.margin
            and result.taken >= FAR_MORE * usual[each.finding.indicator, each.finding.class_number]
        )
        for each, result in zip(proposals, screened, strict=True)
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


def raises_question(tried: Shortcut) -> bool:
    """Whether pasting a place alone says so much that it is told, though masking does not convince.

    A large mark of one colour is still there when it is blurred, so that way of masking takes
    little; pasted, it turns other classes' images into the class all the same.

    Args:
      tried: With what masking and pasting did.
    """
    transplant = tried.transplant
    if tried.indicator != "place" or tried.verdict == "cleared" or transplant is None:
        return False
    return transplant.n >= MIN_EXAMPLES and transplant.low >= QUESTIONABLE_MOVE


def _rank(tried: Shortcut) -> tuple[bool, float]:
    """Of a class's proposals the largest by it is told."""
    return convinces(tried), _taken(tried)


def _taken(shortcut: Shortcut) -> float:
    """What masking takes in the images that the model recognises, by the fill that takes least."""
    mask = shortcut.mask
    return min(mask.by_fill.values()) if mask is not None and mask.by_fill is not None else 0.0
