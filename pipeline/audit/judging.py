"""From figures and intervals to verdicts."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.audit.estimation.intervals import Floats, Intervals
from pipeline.audit.groups import Groups
from pipeline.audit.result import Comparison, Threshold, Verdict
from pipeline.config.audit_section import AuditSection, GateSection, WaiverSection

_VERDICTS: tuple[Verdict, ...] = ("undecided", "pass", "fail")
_NOTHING = itertools.repeat(None)  # of as many groups as there are
_FIELDS = dataclasses.fields(Comparison)


@dataclasses.dataclass(frozen=True)
class Judged:
    """What is known of the groups of a gate before it is judged.

    Attributes:
      n: (G,) examples.
      value: (G,) the statistic, or the drift; NaN where it is undefined.
      judged: (G,) what has to be within the threshold: the value, or the change.
      intervals: Of `judged`, (G,), with a confidence that each has.
      baseline_n: (G,) examples of the baseline; None where it does not matter.
      baseline_value: (G,) the statistic there; None where there is none.
      paired: (G,) whether both are about the same examples; None where there is no baseline.
    """

    n: Floats
    value: Floats
    judged: Floats
    intervals: Callable[[float], Intervals]
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


def compare(  # noqa: PLR0917 - what a judge is given
    gate: GateSection,
    groups: Groups,
    judged: Judged,
    confidence: float,
    section: AuditSection,
    today: datetime.date,
) -> list[Comparison]:
    """The comparisons of a gate, in the order of its groups, without examples and status.

    Args:
      gate: The gate.
      groups: What it is about.
      judged: What is known of those.
      confidence: Of each interval.
      section: The audit's, with waivers and `min_n`.
      today: For waivers.
    """
    bounds = threshold(gate)
    around = judged.intervals(confidence)
    found = verdicts(around, bounds, judged.least_n >= section.min_n)
    n, low, high = _integers(judged.n), _numbers(around.low), _numbers(around.high)
    baseline_n = _NOTHING if judged.baseline_n is None else _integers(judged.baseline_n)
    columns: dict[str, Iterable[Any]] = {
        "class_number": groups.numbers,
        "class_name": groups.names,
        "slice_value": groups.values,
        "n": n,
        "value": _numbers(judged.value),
        "change": _numbers(judged.judged) if bounds.of == "change" else _NOTHING,
        "low": low,
        "high": high,
        "baseline_n": baseline_n,
        "baseline_value": _NOTHING
        if judged.baseline_value is None
        else _numbers(judged.baseline_value),
        "paired": _NOTHING if judged.paired is None else judged.paired.tolist(),
        "verdict": found,
        "note": map(partial(_why_undecided, section.min_n), found, n, baseline_n, low, high),
    }
    same = {
        "gate": gate.title,
        "statistic": gate.statistic,
        "slice": groups.slice,
        "threshold": bounds,
        "severity": gate.severity,
        "status": None,
        "waived_until": None,
        "reason": None,
        "examples": (),
    }
    columns |= {name: itertools.repeat(value) for name, value in same.items()}
    comparisons = list(map(Comparison, *(columns[each.name] for each in _FIELDS)))
    waivers = [waiver for waiver in section.waivers if waiver.gate == gate.title]
    return with_waivers(comparisons, waivers, today)


def _why_undecided(  # noqa: PLR0917 - a column each, for `map`
    min_n: int,
    verdict: Verdict,
    n: int,
    baseline_n: int | None,
    low: float | None,
    high: float | None,
) -> str | None:
    if verdict != "undecided":
        return None
    if n < min_n:
        return too_few(n, min_n)
    if baseline_n is not None and baseline_n < min_n:
        return f"{baseline_n} examples in the baseline, fewer than audit.min_n, {min_n}"
    if low is None or high is None:
        return "the statistic is undefined here"
    return "the interval holds the threshold"


def too_few(n: int, min_n: int) -> str:
    """Why a comparison of so few examples is undecided."""
    return f"{n} examples, fewer than audit.min_n, {min_n}"


def with_waivers(
    comparisons: list[Comparison], waivers: Sequence[WaiverSection], today: datetime.date
) -> list[Comparison]:
    """Comparisons with what waivers of their gate say of the failures among them."""
    if not waivers:
        return comparisons
    return [
        _with_waiver(each, waivers, today) if each.verdict == "fail" else each
        for each in comparisons
    ]


def _with_waiver(
    one: Comparison, waivers: Sequence[WaiverSection], today: datetime.date
) -> Comparison:
    """A failure with its waiver; of several waivers the one that lasts longest."""
    fitting = [
        waiver
        for waiver in waivers
        if (
            waiver.classes is None or str(waiver.classes) in (one.class_name, str(one.class_number))
        )
        and waiver.slice_group in (None, (one.slice, one.slice_value))
    ]
    if not fitting:
        return one
    longest = max(fitting, key=lambda waiver: waiver.last_day)
    if longest.last_day < today:
        expired = f"the waiver of {longest.until} has expired"
        return dataclasses.replace(one, reason=longest.reason, note=expired)
    return dataclasses.replace(one, reason=longest.reason, waived_until=longest.until)


def _numbers(values: Floats) -> list[float | None]:
    return [number if math.isfinite(number) else None for number in values.tolist()]


def _integers(values: Floats) -> list[int]:
    return [int(number) for number in values.tolist()]
