"""Shortcuts as cards: what a class alone has in maps or images, what experiments on it did."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from pipeline.audit.estimation.intervals import share_interval
from pipeline.audit.shortcuts.gate import counterpart_title, undecided_by
from pipeline.audit.shortcuts.shortcut import MaskEffect, Shortcut, TransplantEffect
from pipeline.report import wording
from pipeline.report.classes.views import CONFIDENCE
from pipeline.report.drawing import charts
from pipeline.report.findings.finding import Bar, Experiment, Finding, card
from transforms.statistics.columns import INPUT_SIZES


def shortcut_card(shortcut: Shortcut, names: Mapping[int, str]) -> Finding:
    """What a class's maps point to or its images are, and what masking and pasting did.

    Args:
      shortcut: Of the audit.
      names: Of the classes.
    """
    name = names.get(shortcut.class_number, f"class {shortcut.class_number}")
    seen, facts = _seen(shortcut)
    facts += _of_margin(shortcut)
    if shortcut.q is not None:
        facts.append(("q", wording.two_digits(shortcut.q)))
    facts += [("note", said) for said in undecided_by(shortcut)]
    if not shortcut.calibrated:
        facts.append(("note", "too few classes to compare with: only an experiment says more"))
    said, experiments = (_changed if shortcut.indicator == "property" else _masked)(shortcut)
    found = card(
        number=shortcut.class_number,
        statistic=shortcut.statistic,
        state="fail" if shortcut.is_used else "undecided",
        status=shortcut.verdict,
        statement=Markup("<em><bdi>{}</bdi></em> {}: {}.").format(name, seen, said),
        facts=facts,
        drawing=Markup(""),
        region=shortcut.region,
    )
    return dataclasses.replace(found, experiments=tuple(experiments))


def _of_margin(shortcut: Shortcut) -> list[tuple[str, str]]:
    """What the verdict is by: a class may lose much of its margin before an image changes class."""
    mask = shortcut.mask
    if mask is None or mask.share is None or mask.low is None or mask.high is None:
        return []
    taken, *ends = map(wording.percent, (mask.share, mask.low, mask.high))
    return [("taken of its margin", f"{taken}, {' to '.join(ends)}, beyond what controls take")]


def _seen(shortcut: Shortcut) -> tuple[str, list[tuple[str, str]]]:
    """What the indicator saw, as a sentence's verb and object, and as facts."""
    presence = wording.percent(shortcut.presence)
    if shortcut.region is not None and shortcut.area is not None:
        top, left, bottom, right = shortcut.region
        place = wording.region_in_words((top, bottom), (left, right))
        times = f"up to {wording.two_digits(math.exp(shortcut.effect))} times what is usual there"
        verb = "is recognised by one place" if shortcut.is_used else "stands out at one place"
        return f"{verb}, the {place}", [
            ("place", f"{place}, {wording.percent(shortcut.area)} of the area"),
            ("saliency there", times),
            ("shows in", f"{presence} of its maps"),
        ]
    effect = wording.two_digits(shortcut.effect)
    if shortcut.indicator == "repeat":
        verb = "is recognised by" if shortcut.is_used else "points again and again to"
        others = (
            "" if shortcut.others is None else f", in other classes at most {shortcut.others:.2f}"
        )
        return f"{verb} something that looks alike wherever it is", [
            ("alike around peaks", f"{shortcut.effect:.2f}{others}"),
            ("shows in", f"{presence} of its maps"),
        ]
    name = shortcut.statistic.replace("_", " ")
    verb = "is recognised by" if shortcut.is_used else "differs from every other class in"
    return f"{verb} the {name} of its images", [
        (name, f"{effect} standard deviations or more from every other class"),
        ("shows in", f"{presence} of its images"),
    ]


def _untried(shortcut: Shortcut) -> str:
    if shortcut.statistic in INPUT_SIZES:
        return "how large a file's image was cannot be changed, so look at the images"
    said = "it has not been tried whether the model uses it"
    return said if shortcut.untried is None else f"{said}, as {shortcut.untried}"


def _masked(shortcut: Shortcut) -> tuple[str, list[Experiment]]:
    """What masking and pasting did, as a sentence's part and as bars."""
    mask, transplant = shortcut.mask, shortcut.transplant
    is_place = shortcut.region is not None
    what = "the place" if is_place else "what is at the peak"
    said, experiments = _untried(shortcut), []
    if mask is not None:
        there = "there" if is_place else "at their peaks"
        said = (
            f"masked {there}, {wording.percent(mask.flips)} of its {mask.flips_of_what} change "
            f"class, masked elsewhere {wording.percent(mask.control_flips)}"
        )
        bars = (f"{what} masked", "as much masked elsewhere")
        experiments.append(_taken(mask, f"With {what} masked", bars))
    if transplant is not None:
        bars = (f"{what} pasted", "another patch pasted")
        experiments.append(_given(transplant, "Pasted into images of other classes", bars))
    return said, experiments


def _changed(shortcut: Shortcut) -> tuple[str, list[Experiment]]:
    """What changing a property did, as a sentence's part and as bars."""
    mask, transplant = shortcut.mask, shortcut.transplant
    name, other = shortcut.statistic.replace("_", " "), counterpart_title(shortcut)
    said, experiments = _untried(shortcut), []
    if mask is not None:
        said = (
            f"with the {name} that is usual in {other}, {wording.percent(mask.flips)} of its "
            f"{mask.flips_of_what} change class, changed as much otherwise "
            f"{wording.percent(mask.control_flips)}"
        )
        bars = (f"the {name} of {other}", "changed as much otherwise")
        experiments.append(_taken(mask, f"With the {name} that is usual in {other}", bars))
    if transplant is not None:
        bars = (f"the {name} of this class", "changed as much otherwise")
        experiments.append(_given(transplant, f"Its {name} given to images of {other}", bars))
    return said, experiments


def _taken(effect: MaskEffect, title: str, bars: tuple[str, str]) -> Experiment:
    images = f"{effect.flips_of:,} {effect.flips_of_what}"
    rule = f"how many of {images} of the class are then taken for another"
    shares = effect.flips, effect.control_flips
    return _experiment(title, rule, bars, shares, effect.flips_of)


def _given(effect: TransplantEffect, title: str, bars: tuple[str, str]) -> Experiment:
    rule = f"how many of {wording.count(effect.n, 'image')} are then taken for the class"
    shares = effect.moved, effect.control_moved
    return _experiment(title, rule, bars, shares, effect.n)


def _experiment(
    title: str, rule: str, bars: tuple[str, str], shares: tuple[float, float], n: int
) -> Experiment:
    drawn = [_bar(name, share, n) for name, share in zip(bars, shares, strict=True)]
    return Experiment(title, rule, tuple(drawn))


def _bar(name: str, share: float, n: int) -> Bar:
    """A share with its interval: Wilson's, of as many images as there were.

    Where a share is a mean over several fills it varies less than one of single tries, so the
    interval is rather too wide than too narrow.
    """
    low, high = (
        float(end) for end in share_interval(np.float64(share * n), np.float64(n), CONFIDENCE)
    )
    percent = wording.percent
    text = f"{percent(share)}, {percent(low)} to {percent(high)}"
    return Bar(name, text, charts.bar(share, low, high))
