"""The gate about shortcuts: only one that an experiment found to be used fails it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence

from pipeline.audit.groups import Groups
from pipeline.audit.judging import with_waivers
from pipeline.audit.result import Comparison, Shortcut, Threshold, Verdict
from pipeline.config.audit_section import AuditSection, GateSection


def judge_shortcuts(
    gate: GateSection,
    groups: Groups,
    shortcuts: Sequence[Shortcut],
    section: AuditSection,
    today: datetime.date,
) -> list[Comparison]:
    """The comparisons of a gate about shortcuts, one per class, without status.

    The figure is what masking takes, a share of the class's median margin. A class passes that has
    no candidate, or whose candidate was cleared; it is undecided while its candidate is.

    Args:
      gate: The gate.
      groups: The classes it is about.
      shortcuts: What was found, by class.
      section: The audit's, with waivers and `min_effect`.
      today: For waivers.
    """
    found = {each.class_number: each for each in shortcuts}
    waivers = [waiver for waiver in section.waivers if waiver.gate == gate.title]
    comparisons = [
        _compare(gate, groups, place, found.get(number), section)
        for place, number in enumerate(groups.numbers)
    ]
    return with_waivers(comparisons, waivers, today)


def _compare(
    gate: GateSection,
    groups: Groups,
    place: int,
    shortcut: Shortcut | None,
    section: AuditSection,
) -> Comparison:
    mask = None if shortcut is None else shortcut.mask
    return Comparison(
        gate=gate.title,
        statistic=gate.statistic,
        class_number=groups.numbers[place],
        class_name=groups.names[place],
        slice=None,
        slice_value=None,
        n=int(groups.column("n")[place]) if mask is None else mask.n,
        value=None if mask is None else mask.share,
        change=None,
        low=None if mask is None else mask.low,
        high=None if mask is None else mask.high,
        baseline_n=None,
        baseline_value=None,
        paired=None,
        threshold=Threshold(low=None, high=section.min_effect, of="value"),
        verdict=_verdict(shortcut),
        severity=gate.severity,
        waived_until=None,
        reason=None,
        status=None,
        note=None if shortcut is None else describe(shortcut),
        examples=(),
    )


def _verdict(shortcut: Shortcut | None) -> Verdict:
    if shortcut is None or shortcut.verdict == "cleared":
        return "pass"
    return "fail" if shortcut.is_used else "undecided"


def class_title(shortcut: Shortcut) -> str:
    """The class's name, or its number where it has none; whoever writes it escapes it."""
    return str(shortcut.class_number) if shortcut.class_name is None else shortcut.class_name


def describe(shortcut: Shortcut) -> str:
    """What was found of a shortcut and what an experiment made of it, in a sentence's part."""
    y0, x0, y1, x1 = (round(100 * edge) for edge in shortcut.region)
    said = (
        f"{shortcut.verdict}: its maps hold up to {math.exp(shortcut.effect):.0f} times what "
        f"is usual at rows {y0} to {y1} % and columns {x0} to {x1} %"
    )
    mask, transplant = shortcut.mask, shortcut.transplant
    if shortcut.verdict == "candidate" and mask is None:
        return f"{said}; --confirm tries it on the model"
    if mask is not None:
        said += (
            f"; masked there, {mask.flips:.0%} of {mask.n} images change class, masked elsewhere "
            f"{mask.control_flips:.0%}"
        )
    if transplant is not None:
        said += (
            f"; pasted into other classes' images it turns {transplant.moved:.0%} into this class, "
            f"another patch {transplant.control_moved:.0%}"
        )
    return said
