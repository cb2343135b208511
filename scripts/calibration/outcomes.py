"""What measured models come to by the decision as it stands: candidates, verdicts, rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from calibration.kinds import KINDS, PLANTED, TWIN, Kind
from pipeline.audit.estimation.intervals import share_interval
from pipeline.audit.shortcuts.candidates import CANDIDATE, Candidate, large
from pipeline.audit.shortcuts.scores import FEWEST_CLASSES
from pipeline.audit.shortcuts.shortcut import Shortcut
from pipeline.audit.shortcuts.trying import Screened, try_all
from pipeline.config.audit_section import AuditSection
from pipeline.confirm.effects import judge, judge_property

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
        scores = {each["statistic"]: each for each in line["scores"]}
        tried = [_judged(each["finding"]) for each in line["tried"]]
        candidates = [each for each in tried if _stands_out(each.finding, scores)]
        proposals = [_judged(each["finding"]) for each in line["proposed"]]
        on_mark = {
            _key(_judged(each["finding"]).finding): each["on_mark"]
            for each in (*line["tried"], *line["proposed"])
        }
        found = [
            Found(each.class_number, each.indicator, each.verdict, on_mark[_key(each)])
            for each in try_all(candidates, proposals, _Recorded(line["proposed"])).shortcuts
        ]
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


class _Recorded:
    """Experiments that were made when the model was there."""

    def __init__(self, proposed: Sequence[dict[str, Any]]) -> None:
        self._screened = {
            _key(Shortcut.model_validate(each["finding"])): each["screened"] for each in proposed
        }

    def screen(self, proposal: Candidate) -> Screened | None:
        """What screening came to."""
        screened = self._screened[_key(proposal.finding)]
        return None if screened is None else Screened(**screened)

    def confirm(self, candidate: Candidate) -> Shortcut:
        """What the experiment came to."""
        return candidate.finding


def _key(finding: Shortcut) -> tuple[int, str, tuple[float, ...] | None]:
    return finding.class_number, finding.statistic, finding.region


def _judged(found: dict[str, Any]) -> Candidate:
    """What was tried, with the verdict that its figures come to."""
    finding = Shortcut.model_validate(found)
    if finding.mask is not None and finding.transplant is not None:
        defaults = AuditSection.model_validate({})
        tried, bounds = (
            (finding.mask, finding.transplant),
            (defaults.min_effect, defaults.confidence),
        )
        if finding.counterpart_distance is not None:
            verdict = judge_property(*tried, finding.counterpart_distance, *bounds)
        else:
            verdict = judge(finding.indicator, *tried, *bounds)
        finding = finding.model_copy(update={"verdict": verdict})
    return Candidate(finding, None)


def _stands_out(finding: Shortcut, scores: dict[str, Any]) -> bool:
    """Whether it is a candidate whatever an experiment says."""
    of_all = scores[finding.statistic]
    areas = None if of_all["areas"] is None else np.array(of_all["areas"])
    is_large = large(finding.indicator, np.array(of_all["score"]), areas)
    is_seen = finding.indicator != "place" or finding.presence >= CANDIDATE.presence
    return bool(is_large[finding.class_number]) and is_seen


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


def is_placed(outcome: Outcome) -> bool:
    """Whether the planted class is said to use a place, and that place meets the mark."""
    return any(
        each.target == PLANTED and each.verdict in USED and each.on_mark is True
        for each in outcome.found
    )


def alarms(outcome: Outcome, *indicators: str, used: bool = False) -> bool:
    """Whether a class is a candidate, or called used, in which nothing is used that should not be.

    Those are all classes of a clean model; of one with a plant, all but the planted one. By a tint
    or a blur that one class has its twin is known as well, by not having it.
    """
    kind = KINDS[outcome.kind]
    return any(
        not _is_planted(kind, each)
        and (not indicators or each.indicator in indicators)
        and (not used or each.verdict in USED)
        for each in outcome.found
    )


def _is_planted(kind: Kind, found: Found) -> bool:
    is_exchanged = found.indicator == "property" and kind.planted in ("tint", "blur")
    planted = (PLANTED, TWIN) if is_exchanged else (PLANTED,)
    return kind.role in ("plant", "object") and found.target in planted


HEADINGS = (
    "models of the kind",
    "candidate by place",
    "candidate by repeat",
    "candidate by a property",
    "used",
    "used, and its place named",
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
    has_place = has_plant and KINDS[name].planted == "fixed"
    cells.append(str(Rate(sum(map(is_placed, counted)), len(counted))) if has_place else "")
    others = [
        str(Rate(sum(alarms(each, used=used) for each in counted), len(counted)))
        for used in (False, True)
    ]
    models = str(len(every))
    if len(counted) < len(every):
        models = f"{len(every)}, {len(counted)} learned it"
    return [models, *cells, *(others if has_plant else ["", ""])]
