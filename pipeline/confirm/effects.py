"""What an experiment's measurements add up to: effects with intervals, and a verdict.

The effect of masking is a share of the class's median margin, so that models whose outputs have
another scale are judged alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.audit.estimation.intervals import Moments, mean_interval
from pipeline.audit.shortcuts.properties import ALIKE
from pipeline.audit.shortcuts.scores import IndicatorKind
from pipeline.audit.shortcuts.shortcut import MaskEffect, ShortcutVerdict, TransplantEffect
from pipeline.audit.shortcuts.trying import FEWEST_RECOGNISED, MIN_EXAMPLES
from pipeline.confirm.experiment import MaskMeasurements, TransplantMeasurements

_MORE_FLIPS = 2
_EXCHANGED = 0.85
_RESAMPLES = 9_999
_SMALLEST_P = 1 / (_RESAMPLES + 1)  # That the sign-flip test can come to.
_SEED = 20_130_612


def mask_effect(measured: MaskMeasurements, confidence: float) -> MaskEffect:
    """Sums up what masking did.

    The interval is of the mean paired difference (skewness-corrected t), divided by the median
    margin of the images that the model recognises: of a class that is known by its mark alone,
    those without it have no margin to lose. The margin's own uncertainty is not in the interval:
    it is a unit, not a result. What each fill takes and how many images change class is of those
    images, too: a mark in half of a class's images would show at half its size in all of them.

    Args:
      measured: Of N images, at least 2.
      confidence: Of the interval.
    """
    differences = measured.drops - measured.control_drops
    is_recognised = measured.margins > 0
    recognised = measured.margins[is_recognised]
    margin = float(np.median(recognised)) if len(recognised) >= FEWEST_RECOGNISED else 0.0
    of_these = is_recognised if len(recognised) else slice(None)
    paired = differences.mean(axis=1)
    interval = mean_interval(Moments.of(paired), confidence)

    def share(value: float) -> float | None:
        # A class that the model hardly sees in its own images has no margin to lose.
        return float(value) / margin if margin > 0 else None

    by_fill = dict(zip(measured.names, differences[of_these].mean(axis=0).tolist(), strict=True))
    return MaskEffect(
        n=len(paired),
        recognised=len(recognised),
        margin=margin,
        drop=float(measured.drops.mean()),
        control_drop=float(measured.control_drops.mean()),
        share=share(paired.mean()),
        low=share(interval.low[0]),
        high=share(interval.high[0]),
        p=sign_flip_p(paired),
        flips=float(measured.flips[of_these].mean()),
        control_flips=float(measured.control_flips[of_these].mean()),
        by_fill={name: value / margin for name, value in by_fill.items()} if margin > 0 else None,
    )


def transplant_effect(measured: TransplantMeasurements, confidence: float) -> TransplantEffect:
    """Sums up what pasting did.

    Args:
      measured: Of N pairs, at least 2.
      confidence: Of the interval.
    """
    gained = measured.moved - measured.control_moved
    interval = mean_interval(Moments.of(gained), confidence)
    return TransplantEffect(
        n=len(gained),
        rise=float(measured.rises.mean()),
        control_rise=float(measured.control_rises.mean()),
        moved=float(measured.moved.mean()),
        control_moved=float(measured.control_moved.mean()),
        low=float(interval.low[0]),
        high=float(interval.high[0]),
        p=sign_flip_p(measured.rises - measured.control_rises),
    )


def sign_flip_p(differences: npt.NDArray[np.float64]) -> float:
    """The one-sided p value of paired differences that would be symmetric about 0.

    Each difference keeps its size and takes either sign (Fisher 1935); exact where all signs can
    be tried, else from 9,999 seeded draws.

    Args:
      differences: (N,), large where the hypothesis is wrong.

    >>> sign_flip_p(np.array([1.0, 2.0, 3.0]))
    0.125
    """
    found = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(_SEED),
    )
    return float(found.pvalue)


def judge_property(
    mask: MaskEffect,
    transplant: TransplantEffect,
    distance: float,
    min_effect: float,
    confidence: float,
) -> ShortcutVerdict:
    """The verdict on a property that two classes exchanged.

    - `portable`: what `judge` asks of it, and the exchange is all but complete: at least 85 % of
      the class's images change class, at least 85 % of the counterpart's are taken for the class,
      twice as many as with the controls, and the two classes are alike in all else.
    - `cleared`: as `judge` has it.
    - `candidate`: all else. Photographs differ in many things at once, and any one of them moves
      some of them, so `used` by itself is not said of a property.

    Args:
      mask: Of bringing the property to what is usual in the counterpart.
      transplant: Of bringing that of the counterpart to what is usual in the class.
      distance: Of the two classes in all else.
      min_effect: `audit.min_effect`, a share of the median margin.
      confidence: Of the intervals; the test's level is what it lacks to 1.
    """
    verdict = judge("property", mask, transplant, min_effect, confidence)
    if verdict in ("cleared", "candidate"):
        return verdict
    is_complete = min(mask.flips, transplant.moved) >= _EXCHANGED
    moves_more = transplant.moved >= _MORE_FLIPS * transplant.control_moved
    is_portable = verdict == "portable" and is_complete and moves_more and distance <= ALIKE
    return "portable" if is_portable else "candidate"


def judge(
    indicator: IndicatorKind,
    mask: MaskEffect,
    transplant: TransplantEffect,
    min_effect: float,
    confidence: float,
) -> ShortcutVerdict:
    """The verdict on a candidate.

    - `used`: masking the place takes more than `min_effect` of the median margin beyond what
      masking elsewhere takes: the whole interval is above it, so is what each fill takes by itself
      (another class's patch may bring that class's content in), the sign-flip test agrees, and at
      least twice as many images change class as with the controls.
    - `portable`: used, and the patch turns other classes' images into this class more often than
      another patch does.
    - `cleared`: the whole interval is below `min_effect`.
    - `candidate`: none of them; the experiment does not decide.

    Where a map peaks the model looks, whatever is there: that masking it takes more than masking
    elsewhere is true of any class. So of what repeats `used` is not said unless it is portable.

    Args:
      indicator: What found the candidate.
      mask: Of masking.
      transplant: Of pasting.
      min_effect: `audit.min_effect`, a share of the median margin.
      confidence: Of the intervals; the test's level is what it lacks to 1.
    """
    if mask.n < MIN_EXAMPLES or mask.low is None or mask.high is None or mask.by_fill is None:
        return "candidate"
    if mask.high < min_effect:
        return "cleared"
    agrees = min(mask.by_fill.values()) > min_effect and _is_small(mask.p, confidence)
    flips_more = mask.flips >= _MORE_FLIPS * mask.control_flips
    if mask.low <= min_effect or not agrees or not flips_more:
        return "candidate"
    if transplant.low > 0 and _is_small(transplant.p, confidence):
        return "portable"
    return "candidate" if indicator == "repeat" else "used"


def _is_small(p: float, confidence: float) -> bool:
    """Whether a p value of the sign-flip test is below its level, or as small as it can be."""
    return p < 1 - confidence or p <= _SMALLEST_P
