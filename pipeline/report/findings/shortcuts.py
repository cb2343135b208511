"""Shortcuts as cards: a place that a class's maps point to, and what masking and pasting it did."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from pipeline.audit.estimation.intervals import share_interval
from pipeline.audit.result import MaskEffect, Shortcut, TransplantEffect
from pipeline.report import wording
from pipeline.report.classes.views import CONFIDENCE, Floats
from pipeline.report.drawing import charts
from pipeline.report.findings.finding import Bar, Experiment, Finding, card


def shortcut_card(
    shortcut: Shortcut, names: Mapping[int, str], maps: Mapping[int, Floats]
) -> Finding:
    """A place that a class's maps point to, and what masking and pasting it did.

    Args:
      shortcut: Of the audit.
      names: Of the classes.
      maps: Their mean maps.
    """
    top, left, bottom, right = shortcut.region
    place = wording.region_in_words((top, bottom), (left, right))
    name = names.get(shortcut.class_number, f"class {shortcut.class_number}")
    times = f"up to {wording.two_digits(math.exp(shortcut.effect))} times what is usual there"
    facts = [
        ("place", f"{place}, {wording.percent(shortcut.area)} of the area"),
        ("saliency there", times),
        ("shows in", f"{wording.percent(shortcut.presence)} of its maps"),
    ]
    mask, transplant = shortcut.mask, shortcut.transplant
    said = "it has not been tried whether the model uses it"
    if mask is not None:
        said = (
            f"masked there, {wording.percent(mask.flips)} of its images change class, masked "
            f"elsewhere {wording.percent(mask.control_flips)}"
        )
    experiments = [
        *([] if mask is None else [_masking(mask)]),
        *([] if transplant is None else [_pasting(transplant)]),
    ]
    verb = "is recognised by one place" if shortcut.is_used else "stands out at one place"
    found = card(
        number=shortcut.class_number,
        statistic="corner_energy" if place.endswith("corner") else "border_energy",
        state="fail" if shortcut.is_used else "undecided",
        status=shortcut.verdict,
        statement=Markup("<em><bdi>{}</bdi></em> {}, the {}: {}.").format(name, verb, place, said),
        facts=facts,
        drawing=Markup(""),
        mean_map=maps.get(shortcut.class_number),
        region=shortcut.region,
    )
    return dataclasses.replace(found, experiments=tuple(experiments))


def _masking(effect: MaskEffect) -> Experiment:
    return Experiment(
        "With the place masked",
        f"how many of {wording.count(effect.n, 'image')} of the class are then taken for another",
        (
            _bar("the place masked", effect.flips, effect.n),
            _bar("as much masked elsewhere", effect.control_flips, effect.n),
        ),
    )


def _pasting(effect: TransplantEffect) -> Experiment:
    return Experiment(
        "Pasted into images of other classes",
        f"how many of {wording.count(effect.n, 'image')} are then taken for the class",
        (
            _bar("the place pasted", effect.moved, effect.n),
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
