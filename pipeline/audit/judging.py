"""From figures and intervals to verdicts."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.audit.estimation.intervals import Floats, Intervals
from pipeline.audit.groups import Groups
from pipeline.audit.result import Comparison, Threshold, Verdict
from pipeline.config.audit_section import AuditSection, GateSection, WaiverSection

_VERDICTS: tuple[Verdict, ...] = ("undecided", "pass", "fail")


@dataclasses.dataclass(frozen=True)
class Judged:
    """What is known of the groups of a gate before it is judged.

    Attributes:
      n: (G,) examples.
      value: (G,) the statistic, or the drift.
      judged: (G,) what has to be within the threshold: the value, or the change.
      around: The interval of `judged`.
      baseline_n: (G,) examples of the baseline; None where it does not matter.
      baseline_value: (G,) the statistic there; None where there is none.
      paired: (G,) whether both are about the same examples; None where there is no baseline.
    """

    n: Floats
    value: Floats
    judged: Floats
    around: Intervals
    baseline_n: Floats | None = None
    baseline_value: Floats | None = None
    paired: npt.NDArray[np.bool_] | None = None

    @property
    def least_n(self) -> Floats:
        """(G,) examples on the side that has fewer."""
        return self.n if self.baseline_n is None else np.minimum(self.n, self.baseline_n)


def threshold(gate: GateSection) -> Threshold:
    """Where a gate's figure has to lie."""
    if gate.change is not None:
        return Threshold(low=-gate.change.within, high=gate.change.within, of="change")
    if gate.between is not None:
        return Threshold(low=gate.between[0], high=gate.between[1], of="value")
    return Threshold(low=gate.above, high=gate.below, of="value")


def verdicts(around: Intervals, bounds: Threshold, enough: npt.NDArray[np.bool_]) -> list[Verdict]:
    """A verdict per interval: `pass` where all of it is within the bounds, `fail` where none is.

    Args:
      around: (G,) intervals.
      bounds: Where they have to lie; an end that touches a bound is not within.
      enough: (G,) whether there are examples enough to decide.
    """
    low = -np.inf if bounds.low is None else bounds.low
    high = np.inf if bounds.high is None else bounds.high
    inside = (around.low > low) & (around.high < high)
    outside = (around.low >= high) | (around.high <= low)
    return [_VERDICTS[code] for code in (enough * (inside + 2 * outside)).tolist()]


def compare(
    gate: GateSection, groups: Groups, judged: Judged, section: AuditSection, today: datetime.date
) -> list[Comparison]:
    """The comparisons of a gate, in the order of its groups, without examples and status."""
    bounds = threshold(gate)
    found = verdicts(judged.around, bounds, judged.least_n >= section.min_n)
    count, change = len(groups), bounds.of == "change"
    columns: dict[str, list[Any]] = {
        "class_number": groups.numbers,
        "class_name": groups.names,
        "slice_value": groups.values,
        "n": judged.n.astype(int).tolist(),
        "value": _numbers(judged.value, count),
        "change": _numbers(judged.judged if change else None, count),
        "low": _numbers(judged.around.low, count),
        "high": _numbers(judged.around.high, count),
        "baseline_n": _integers(judged.baseline_n, count),
        "baseline_value": _numbers(judged.baseline_value, count),
        "paired": [None] * count if judged.paired is None else judged.paired.tolist(),
        "verdict": found,
    }
    same: dict[str, Any] = {
        "gate": gate.title,
        "statistic": gate.statistic,
        "slice": groups.slice,
        "threshold": bounds,
        "severity": gate.severity,
        "status": None,
        "waived_until": None,
        "reason": None,
        "note": None,
        "examples": [],
    }
    waivers = [waiver for waiver in section.waivers if waiver.gate == gate.title]
    comparisons = []
    for values in zip(*columns.values(), strict=True):
        # Not validated: it is ours, and there may be hundreds of thousands.
        one = Comparison.model_construct(None, **same, **dict(zip(columns, values, strict=True)))
        if one.verdict == "fail" and waivers:
            one = one.model_copy(update=waived(one, waivers, today))
        elif one.verdict == "undecided":
            one = one.model_copy(update={"note": _why_undecided(one, section.min_n)})
        comparisons.append(one)
    return comparisons


def _why_undecided(one: Comparison, min_n: int) -> str:
    if one.n < min_n:
        return f"{one.n} examples, fewer than audit.min_n, {min_n}"
    if one.baseline_n is not None and one.baseline_n < min_n:
        return f"{one.baseline_n} examples in the baseline, fewer than audit.min_n, {min_n}"
    if one.low is None or one.high is None:
        return "the statistic is undefined here"
    return "the interval holds the threshold"


def waived(
    one: Comparison, waivers: Sequence[WaiverSection], today: datetime.date
) -> dict[str, str | None]:
    """What the waiver of a failure says of it; of several waivers the one that lasts longest."""
    fitting = [
        waiver
        for waiver in waivers
        if (
            waiver.classes is None or str(waiver.classes) in (one.class_name, str(one.class_number))
        )
        and waiver.slice_group in (None, (one.slice, one.slice_value))
    ]
    if not fitting:
        return {}
    longest = max(fitting, key=lambda waiver: waiver.last_day)
    if longest.last_day < today:
        expired = f"the waiver of {longest.until} has expired"
        return {"reason": longest.reason, "note": expired}
    return {"reason": longest.reason, "waived_until": longest.until}


def _numbers(values: Floats | None, count: int) -> list[float | None]:
    if values is None:
        return [None] * count
    return [number if np.isfinite(number) else None for number in values.tolist()]


def _integers(values: Floats | None, count: int) -> list[int | None]:
    return [None] * count if values is None else [int(number) for number in values.tolist()]
