"""Confidence intervals in closed form, from counts and moments, of many groups at once.

Each holds for independent examples drawn from what one wants to know about. Frames of a video, or
slices of a patient, are not independent: their intervals are too narrow, and an example is then the
video or the patient. `scripts/coverage` measures how often each holds the truth.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]


class Intervals(NamedTuple):
    """Intervals of some groups.

    Attributes:
      low: (G,) lower ends; NaN where there is no interval.
      high: (G,) upper ends.
    """

    low: Floats
    high: Floats


class Moments(NamedTuple):
    """What is known of the values of some groups.

    Attributes:
      n: (G,) how many values.
      mean: (G,) their mean.
      std: (G,) the population's standard deviation, as tables have it: divided by n.
      skewness: (G,) the population's third standardised moment; NaN where all values are equal.
    """

    n: Numbers
    mean: Floats
    std: Floats
    skewness: Floats

    @classmethod
    def of(cls, values: Floats) -> Moments:
        """Of one group of values, as a group by itself."""
        centred = values - values.mean()
        std = np.sqrt(np.mean(centred**2))
        with np.errstate(invalid="ignore", divide="ignore"):
            skewness = np.mean(centred**3) / std**3
        return cls(*(np.array([each]) for each in (len(values), values.mean(), std, skewness)))


def simultaneous(confidence: float, comparisons: int) -> float:
    """The confidence of each of several intervals that together have the one wanted.

    Sidak, JASA 62 (1967): exact for independent intervals, and no less for many that are not.

    >>> round(simultaneous(0.95, 2), 6)
    0.974679
    """
    return float(confidence ** (1 / max(comparisons, 1)))


def mean_interval(moments: Moments, confidence: float) -> Intervals:
    """Of the mean: Student's t, corrected for the skewness of the values.

    Johnson, JASA 73 (1978), in the monotone form of Hall, JRSS B 54 (1992), whose ends exist at
    every level. Holds for independent values with a third moment; how well at how few, and how
    skewed, says `scripts/coverage`. Values that are all equal have an interval without width.
    """
    n = moments.n.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = moments.std / np.sqrt(n - 1)
        lean = _skewness(moments, n) / np.sqrt(n)
    return _corrected(moments.mean, error, lean, n - 1, confidence)


def difference_interval(first: Moments, second: Moments, confidence: float) -> Intervals:
    """Of the difference of two means, first minus second: Welch's t, corrected for skewness.

    Welch, Biometrika 34 (1947); the correction is that of `mean_interval`, with the skewness of
    the difference of means. Holds for two independent samples; where they share examples it is
    too wide rather than too narrow, as long as shared examples resemble themselves.
    """
    n1, n2 = (each.n.astype(np.float64) for each in (first, second))
    with np.errstate(invalid="ignore", divide="ignore"):
        v1, v2 = first.std**2 / (n1 - 1), second.std**2 / (n2 - 1)
        error = np.sqrt(v1 + v2)
        freedom = (v1 + v2) ** 2 / (v1**2 / (n1 - 1) + v2**2 / (n2 - 1))
        third = _skewness(first, n1) * v1**1.5 / np.sqrt(n1) - _skewness(
            second, n2
        ) * v2**1.5 / np.sqrt(n2)
        lean = third / error**3
    return _corrected(first.mean - second.mean, error, lean, freedom, confidence)


def _skewness(moments: Moments, n: Floats) -> Floats:
    """The sample's skewness without most of its bias towards 0 (Joanes and Gill 1998, G1)."""
    adjusted = moments.skewness * np.sqrt(n * (n - 1)) / (n - 2)
    return np.where(np.isfinite(adjusted), adjusted, 0.0)


def _corrected(
    centre: Floats, error: Floats, lean: Floats, freedom: Floats, confidence: float
) -> Intervals:
    """The interval whose ends are t's quantiles carried back through Hall's cubic.

    Args:
      centre: (G,) estimates.
      error: (G,) their standard errors.
      lean: (G,) the skewness of the estimates.
      freedom: (G,) degrees of freedom.
      confidence: Of each.
    """
    with np.errstate(invalid="ignore"):
        reach = stats.t.ppf((1 + confidence) / 2, np.where(error > 0, freedom, 1.0))
    low = centre - error * _without_lean(reach, lean)
    high = centre - error * _without_lean(-reach, lean)
    still = error == 0
    return Intervals(np.where(still, centre, low), np.where(still, centre, high))


def _without_lean(t: Floats, lean: Floats) -> Floats:
    """The inverse of T + a T^2 / 3 + a^2 T^3 / 27 + a / 6, Hall's cubic of lean a."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = 3 / lean * (np.cbrt(1 + lean * (t - lean / 6)) - 1)
    return np.where(np.abs(lean) < _NO_LEAN, t, found)


_NO_LEAN = 1e-9  # below it, the cubic is the identity to within rounding


def share_interval(count: Numbers, n: Numbers, confidence: float) -> Intervals:
    """Of a share: Wilson's, JASA 22 (1927).

    Holds for independent examples and every n from 1, also for shares of 0 and 1.
    """
    z = special.ndtri((1 + confidence) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = count / n
        centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Intervals(np.maximum(centre - reach, 0.0), np.minimum(centre + reach, 1.0))


def recovered_difference(
    first: Floats,
    around_first: Intervals,
    second: Floats,
    around_second: Intervals,
    correlation: Floats | float = 0.0,
) -> Intervals:
    """Of a difference, from the intervals of its two sides: first minus second.

    Newcombe, Statistics in Medicine 17 (1998), hybrid score, of shares; Zou and Donner, Statistics
    in Medicine 27 (2008), of whatever has an interval. The interval's sides stand for variances.

    Args:
      first: (G,) figures.
      around_first: Their intervals.
      second: (G,) figures.
      around_second: Their intervals.
      correlation: Of the two figures: 0 for independent samples; for the same examples that of
        their values, which makes the interval narrower.
    """
    below_1, above_1 = first - around_first.low, around_first.high - first
    below_2, above_2 = second - around_second.low, around_second.high - second

    def reach(one: Floats, other: Floats) -> Floats:
        return np.sqrt(np.maximum(one**2 - 2 * correlation * one * other + other**2, 0.0))

    difference = first - second
    return Intervals(difference - reach(below_1, above_2), difference + reach(above_1, below_2))
