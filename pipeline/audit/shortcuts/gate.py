"""The gate about shortcuts: only one that an experiment found to be used fails it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence

from pipeline.audit.groups import Groups
from pipeline.audit.judging import with_waivers
from pipeline.audit.result import Comparison, Threshold, Verdict
from pipeline.audit.shortcuts.properties import ALIKE
from pipeline.audit.shortcuts.shortcut import MaskEffect, Shortcut
from pipeline.audit.shortcuts.trying import FEWEST_RECOGNISED, MIN_EXAMPLES
from pipeline.config.audit_section import AuditSection, GateSection
from transforms.statistics.columns import INPUT_SIZES


def judge_shortcuts(
    gate: GateSection,
    groups: Groups,
    shortcuts: Sequence[Shortcut],
    section: AuditSection,
    today: datetime.date,
    *,
    maps: Mapping[int, int],
) -> list[Comparison]:
    """The comparisons of a gate about shortcuts, one per class, without status.

    The figure is what masking takes, or changing a property, a share of the class's median margin.
    A class passes that has no candidate, or whose candidates were all cleared; it is undecided
    while one of them is, and with too few maps to have a candidate. Of several, the comparison is
    about one that is used, else one that is not cleared.

    Args:
      gate: The gate.
      groups: The classes it is about.
      shortcuts: What was found, by class.
      section: The audit's, with waivers and `min_effect`.
      today: For waivers.
      maps: How many of a class candidates are found in, those of half a that are not all zero.
    """
    found = {each.class_number: each for each in sorted(shortcuts, key=_weight)}
    waivers = [waiver for waiver in section.waivers if waiver.gate == gate.title]
    comparisons = [
        _compare(gate, groups, place, found.get(number), section, maps=maps.get(number, 0))
        for place, number in enumerate(groups.numbers)
    ]
    return with_waivers(comparisons, waivers, today)


def _compare(
    gate: GateSection,
    groups: Groups,
    place: int,
    shortcut: Shortcut | None,
    section: AuditSection,
    *,
    maps: int,
) -> Comparison:
    mask = None if shortcut is None else shortcut.mask
    n = maps if mask is None else mask.n
    verdict = _verdict(shortcut)
    note = None if shortcut is None else describe(shortcut)
    if shortcut is None and maps < section.min_n:
        verdict, note = "undecided", _too_few_maps(maps, section.min_n)
    return Comparison(
        gate=gate.title,
        statistic=gate.statistic,
        class_number=groups.numbers[place],
        class_name=groups.names[place],
        slice=None,
        slice_value=None,
        n=n,
        value=None if mask is None else mask.share,
        change=None,
        low=None if mask is None else mask.low,
        high=None if mask is None else mask.high,
        baseline_n=None,
        baseline_value=None,
        paired=None,
        threshold=Threshold(low=None, high=section.min_effect, of="value"),
        verdict=verdict,
        severity=gate.severity,
        waived_until=None,
        reason=None,
        status=None,
        note=note,
        examples=(),
    )


def _too_few_maps(maps: int, min_n: int) -> str:
    return (
        f"{maps} maps that are not all zero in the half that candidates are found in, fewer than "
        f"audit.min_n, {min_n}"
    )


def _weight(shortcut: Shortcut) -> tuple[bool, bool, bool, float]:
    """Of a class's shortcuts the last by it is what the class is judged by.

    Of two that are used, the one that has a place: it is easier to look at.
    """
    share = shortcut.mask.share if shortcut.mask else None
    return (
        shortcut.is_used,
        shortcut.verdict != "cleared",
        shortcut.indicator == "place",
        -math.inf if share is None else share,
    )


def _verdict(shortcut: Shortcut | None) -> Verdict:
    if shortcut is None or shortcut.verdict == "cleared":
        return "pass"
    return "fail" if shortcut.is_used else "undecided"


def class_title(shortcut: Shortcut) -> str:
    """The class's name, or its number where it has none; whoever writes it escapes it."""
    return str(shortcut.class_number) if shortcut.class_name is None else shortcut.class_name


def counterpart_title(shortcut: Shortcut) -> str:
    """The name of the class that a property was exchanged with, or its number."""
    if shortcut.counterpart_name is not None:
        return shortcut.counterpart_name
    return f"class {shortcut.counterpart}"


def describe(shortcut: Shortcut) -> str:
    """What was found of a shortcut and what an experiment made of it, in a sentence's part."""
    said = f"{shortcut.verdict}: {_found(shortcut)}"
    if shortcut.q is not None:
        said += f" (q {shortcut.q:.2g})"
    if not shortcut.calibrated:
        said += " (not calibrated: too few classes to compare with)"
    if shortcut.mask is None and shortcut.verdict in ("candidate", "undecided"):
        return f"{said}; {_untried(shortcut)}"
    tried = _changed if shortcut.indicator == "property" else _masked
    return "; ".join([said, *tried(shortcut), *undecided_by(shortcut)])


def _untried(shortcut: Shortcut) -> str:
    if shortcut.statistic in INPUT_SIZES:
        return "look at the images: how large a file's image was cannot be changed"
    if shortcut.untried is not None:
        return f"not tried on the model: {shortcut.untried}"
    return "--confirm tries it on the model"


def undecided_by(shortcut: Shortcut) -> Iterator[str]:
    """Why an experiment decides nothing."""
    mask = shortcut.mask
    if mask is None or shortcut.verdict != "candidate":
        return
    if mask.n < MIN_EXAMPLES:
        yield f"{mask.n} images decide nothing, it takes {MIN_EXAMPLES}"
    elif mask.share is None:
        yield (
            f"the model recognises {mask.recognised} of {mask.n} images, and fewer than "
            f"{FEWEST_RECOGNISED} decide nothing"
        )
    elif mask.by_fill is not None:
        way = "changing it" if shortcut.indicator == "property" else "masking"
        share, least = min((share, name) for name, share in mask.by_fill.items())
        yield f"of ways of {way} the one by {_FILLS.get(least, least)} takes least, {share:.0%}"


_FILLS = {"mean": "the mean colour", "blur": "a blur", "donor": "another image"}
"""Ways of masking in words; those of changing a property have a word for a name."""


def _masked(shortcut: Shortcut) -> Iterator[str]:
    """What masking and pasting did."""
    there = "at the peak" if shortcut.indicator == "repeat" else "there"
    if (mask := shortcut.mask) is not None:
        yield (
            f"masked {there}, {mask.flips:.0%} of {mask.flips_of} {mask.flips_of_what} change "
            f"class, masked elsewhere {mask.control_flips:.0%}"
        )
        yield from _taken(mask, "masking elsewhere")
    if (transplant := shortcut.transplant) is not None:
        yield (
            f"pasted into other classes' images it turns {transplant.moved:.0%} into this class, "
            f"another patch {transplant.control_moved:.0%}"
        )


def _taken(mask: MaskEffect, control: str) -> Iterator[str]:
    """What the verdict is by: a class may lose much of its margin before an image changes class."""
    if mask.share is not None and mask.low is not None and mask.high is not None:
        yield (
            f"it takes {mask.share:.0%} ({mask.low:.0%} to {mask.high:.0%}) of the class's margin "
            f"more than {control}"
        )


def _changed(shortcut: Shortcut) -> Iterator[str]:
    """What changing a property did."""
    name, other = shortcut.statistic, counterpart_title(shortcut)
    if (mask := shortcut.mask) is not None:
        yield (
            f"with the {name} that is usual in {other}, {mask.flips:.0%} of {mask.flips_of} "
            f"{mask.flips_of_what} change class, changed as much otherwise {mask.control_flips:.0%}"
        )
        yield from _taken(mask, "changing as much otherwise")
    if (transplant := shortcut.transplant) is not None:
        yield (
            f"with the {name} that is usual here, {transplant.moved:.0%} of {transplant.n} images "
            f"of {other} turn into this class, changed as much otherwise "
            f"{transplant.control_moved:.0%}"
        )
    if shortcut.counterpart_distance is not None and shortcut.counterpart_distance > ALIKE:
        yield f"{other} differs in more than that, so this does not say what the model goes by"


def _found(shortcut: Shortcut) -> str:
    """What the indicator says."""
    if shortcut.region is not None:
        y0, x0, y1, x1 = (round(100 * edge) for edge in shortcut.region)
        return (
            f"its maps hold up to {math.exp(shortcut.effect):.2g} times what is usual at rows {y0} "
            f"to {y1} % and columns {x0} to {x1} %"
        )
    others = math.nan if shortcut.others is None else shortcut.others
    if shortcut.indicator == "repeat":
        return (
            f"its maps look alike around their peaks, wherever these are (correlation "
            f"{shortcut.effect:.2f}, in other classes at most {others:.2f})"
        )
    if shortcut.is_used:
        name = shortcut.statistic.replace("_", " ")
        return f"it is told from {counterpart_title(shortcut)} by the {name} of its images"
    return (
        f"its images differ in {shortcut.statistic.replace('_', ' ')} from those of every other "
        f"class, by {shortcut.effect:.1f} standard deviations or more"
    )
