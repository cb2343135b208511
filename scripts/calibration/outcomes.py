"""What measured models come to by the decision as it stands: candidates, verdicts, rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from calibration.kinds import KINDS, PLANTED
from pipeline.audit.estimation.intervals import share_interval
from pipeline.audit.result import MaskEffect, ShortcutVerdict, TransplantEffect
from pipeline.audit.shortcuts.candidates import CANDIDATE, WORTH_TRYING, Bounds, convinces, large
from pipeline.audit.shortcuts.scores import FEWEST_CLASSES
from pipeline.config.audit_section import AuditSection
from pipeline.confirm.effects import judge

LEARNED_DROP = 0.2
"""A plant counts where the class's accuracy is so much lower in images without it."""

CONFIDENCE = 0.95
USED = ("used", "portable")


@dataclasses.dataclass(frozen=True)
class Found:
    """A candidate of a model.

    Attributes:
      target: The class.
      indicator: What found it.
      verdict: What trying it on the model came to.
      on_mark: Whether the place meets the mark; None where either is no one place.
    """

    target: int
    indicator: str
    verdict: str
    on_mark: bool | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an audit says of one model.

    Attributes:
      kind: Of the model.
      seed: Of all its random numbers.
      classes: How many it has.
      drop: By how much the planted class's accuracy falls without what is planted; None where
        nothing is.
      found: Its candidates.
    """

    kind: str
    seed: int
    classes: int
    drop: float | None
    found: tuple[Found, ...]

    @property
    def counts(self) -> bool:
        """Whether what is planted was learned, or there is nothing to learn."""
        return self.drop is None or self.drop >= LEARNED_DROP

    @classmethod
    def of(cls, line: dict[str, Any]) -> Outcome:
        """Decides again on a model's figures, as an audit does that tries them on the model."""
        tried = {(each["statistic"], each["class"]): each for each in line["tried"]}
        found = []
        for scores in line["scores"]:
            in_question, is_large = (_large(scores, each) for each in (WORTH_TRYING, CANDIDATE))
            for row in np.flatnonzero(in_question | is_large).tolist():
                each = tried.get((scores["statistic"], row))
                mask, verdict = _verdict(each)
                stands_out = is_large[row] and _shows(scores, each, CANDIDATE)
                is_tried = in_question[row] and _shows(scores, each, WORTH_TRYING)
                if stands_out or (is_tried and convinces(scores["kind"], verdict, mask)):
                    on_mark = None if each is None else each["on_mark"]
                    found.append(Found(row, scores["kind"], verdict, on_mark))
        return cls(line["kind"], line["seed"], line["classes"], line["drop"], tuple(found))

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Outcome:
        """Takes back what `to_json` gives."""
        kind, seed, classes, drop, found = values
        return cls(kind, seed, classes, drop, tuple(Found(*each) for each in found))

    def to_json(self) -> list[Any]:
        """As a short list."""
        found = [list(dataclasses.astuple(each)) for each in self.found]
        return [self.kind, self.seed, self.classes, self.drop, found]


def _large(scores: dict[str, Any], bounds: Bounds) -> npt.NDArray[np.bool_]:
    areas = None if scores["areas"] is None else np.array(scores["areas"])
    return large(scores["kind"], np.array(scores["score"]), areas, bounds)


def _shows(scores: dict[str, Any], tried: dict[str, Any] | None, bounds: Bounds) -> bool:
    """Whether a place is in maps enough; what was not tried is not."""
    if scores["kind"] != "place":
        return True
    return tried is not None and tried["presence"] >= bounds.presence


def _verdict(tried: dict[str, Any] | None) -> tuple[MaskEffect | None, ShortcutVerdict]:
    if tried is None or tried["mask"] is None:
        return None, "candidate"
    defaults = AuditSection.model_validate({})
    mask, transplant = MaskEffect(**tried["mask"]), TransplantEffect(**tried["transplant"])
    effect, confidence = defaults.min_effect, defaults.confidence
    return mask, judge(tried["indicator"], mask, transplant, effect, confidence)


@dataclasses.dataclass(frozen=True)
class Rate:
    """How many models of how many; as text with Wilson's interval of 95 %."""

    count: int
    n: int

    def __str__(self) -> str:
        if not self.n:
            return "none"
        found = share_interval(np.array([self.count]), np.array([self.n]), CONFIDENCE)
        return f"{self.count} of {self.n} ({100 * found.low[0]:.0f} to {100 * found.high[0]:.0f} %)"


def is_found(outcome: Outcome, *indicators: str, used: bool = False) -> bool:
    """Whether the planted class is a candidate by one of the indicators, or is used."""
    return any(
        each.target == PLANTED
        and (not indicators or each.indicator in indicators)
        and (not used or each.verdict in USED)
        for each in outcome.found
    )


def alarms(outcome: Outcome, *indicators: str, used: bool = False) -> bool:
    """Whether a class is a candidate, or called used, in which nothing is used that should not be.

    Those are all classes of a clean model; of one with a plant, all but the planted one.
    """
    is_plant = KINDS[outcome.kind].role in ("plant", "object")
    return any(
        not (is_plant and each.target == PLANTED)
        and (not indicators or each.indicator in indicators)
        and (not used or each.verdict in USED)
        for each in outcome.found
    )


HEADINGS = (
    "models of the kind",
    "candidate by place",
    "candidate by repeat",
    "candidate by a property",
    "used",
    "of other classes: candidate",
    "of other classes: used",
)


def table(outcomes: Iterable[Outcome]) -> dict[str, list[str]]:
    """A row per kind, by its name, below `HEADINGS`.

    Of plants the models that learned what is planted; candidates and verdicts of the planted class.
    Of all other kinds any class's.
    """
    by_kind: dict[str, list[Outcome]] = {name: [] for name in KINDS}
    for outcome in outcomes:
        by_kind[outcome.kind].append(outcome)
    rows = {}
    for name, every in by_kind.items():
        if name == "clean":
            small = [each for each in every if each.classes < FEWEST_CLASSES]
            rows["clean"] = _row(name, [each for each in every if each not in small])
            rows["clean, 2 or 4 classes"] = _row(name, small)
            continue
        rows[name] = _row(name, every)
    return rows


def _row(name: str, every: Sequence[Outcome]) -> list[str]:
    counted = [each for each in every if each.counts]
    has_plant = KINDS[name].role in ("plant", "object")
    seen = is_found if has_plant else alarms
    cells = [
        str(Rate(sum(seen(each, kind) for each in counted), len(counted)))
        for kind in ("place", "repeat", "property")
    ]
    cells.append(str(Rate(sum(seen(each, used=True) for each in counted), len(counted))))
    others = [
        str(Rate(sum(alarms(each, used=used) for each in counted), len(counted)))
        for used in (False, True)
    ]
    models = str(len(every))
    if len(counted) < len(every):
        models = f"{len(every)}, {len(counted)} learned it"
    return [models, *cells, *(others if has_plant else ["", ""])]
