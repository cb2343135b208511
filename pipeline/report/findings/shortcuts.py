"""Shortcuts as cards: what a class alone has in maps or images, what masking and pasting did."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from pipeline.audit.estimation.intervals import share_interval
from pipeline.audit.result import MaskEffect, Shortcut, TransplantEffect
from pipeline.report import wording
from pipeline.report.classes.views import CONFIDENCE
from pipeline.report.drawing import charts
from pipeline.report.findings.finding import Bar, Experiment, Finding, card


def shortcut_card(shortcut: Shortcut, names: Mapping[int, str]) -> Finding:
    """What a class's maps point to or its images are, and what masking and pasting did.

    Args:
      shortcut: Of the audit.
      names: Of the classes.
    """
    name = names.get(shortcut.class_number, f"class {shortcut.class_number}")
    seen, facts = _seen(shortcut)
    if shortcut.q is not None:
        facts.append(("q", wording.two_digits(shortcut.q)))
    if not shortcut.calibrated:
        facts.append(("note", "too few classes to compare with: only an experiment says more"))
    mask, transplant = shortcut.mask, shortcut.transplant
    said = "it has not been tried whether the model uses it"
    if shortcut.indicator == "property":
        said = "it has no place that could be masked, so look at the images"
    if mask is not None:
        there = "there" if shortcut.region is not None else "at their peaks"
        said = (
            f"masked {there}, {wording.percent(mask.flips)} of its images change class, masked "
            f"elsewhere {wording.percent(mask.control_flips)}"
        )
    what = "the place" if shortcut.region is not None else "what is at the peak"
    experiments = [
        *([] if mask is None else [_masking(mask, what)]),
        *([] if transplant is None else [_pasting(transplant, what)]),
    ]
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
    return f"differs from every other class in the {name} of its images", [
        (name, f"{effect} standard deviations or more from every other class"),
        ("shows in", f"{presence} of its images"),
    ]


def _masking(effect: MaskEffect, what: str) -> Experiment:
    return Experiment(
        f"With {what} masked",
        f"how many of {wording.count(effect.flips_of, 'image')} of the class are then taken for "
        "another",
        (
            _bar(f"{what} masked", effect.flips, effect.flips_of),
            _bar("as much masked elsewhere", effect.control_flips, effect.flips_of),
        ),
    )


def _pasting(effect: TransplantEffect, what: str) -> Experiment:
    return Experiment(
        "Pasted into images of other classes",
        f"how many of {wording.count(effect.n, 'image')} are then taken for the class",
        (
            _bar(f"{what} pasted", effect.moved, effect.n),
            _bar("another patch pasted", effect.control_moved, effect.n),
        ),
    )


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
