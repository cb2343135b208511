"""Intervals against scipy's, and against slow versions written from the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from pipeline.audit.estimation.intervals import (
    Intervals,
    Moments,
    difference_interval,
    mean_interval,
    recovered_difference,
    share_interval,
    simultaneous,
)

RANDOM = np.random.default_rng(1)
SYMMETRIC = np.concatenate([values := RANDOM.normal(3, 2, 40), 6 - values])
SKEWED = RANDOM.gamma(1.5, 0.1, 60)
LEVELS = [0.9, 0.95, 0.99995]


def ends(found: Intervals) -> tuple[float, float]:
    return float(found.low[0]), float(found.high[0])


@pytest.mark.parametrize("level", LEVELS)
def test_without_skewness_a_mean_has_students_interval(level: float) -> None:
    expected = stats.ttest_1samp(SYMMETRIC, 0).confidence_interval(level)
    assert ends(mean_interval(Moments.of(SYMMETRIC), level)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_without_skewness_a_difference_has_welchs_interval(level: float) -> None:
    other = SYMMETRIC[:20] * 3
    other = np.concatenate([other, 2 - other])
    expected = stats.ttest_ind(SYMMETRIC, other, equal_var=False).confidence_interval(level)
    found = difference_interval(Moments.of(SYMMETRIC), Moments.of(other), level)
    assert ends(found) == pytest.approx(expected, rel=1e-9)


def cubic(t: float, lean: float) -> float:
    return t + lean * t**2 / 3 + lean**2 * t**3 / 27 + lean / 6


@pytest.mark.parametrize("level", LEVELS)
def test_a_skewed_mean_has_the_interval_of_halls_cubic(level: float) -> None:
    n = len(SKEWED)
    lean = stats.skew(SKEWED, bias=False) / math.sqrt(n)
    error = SKEWED.std(ddof=1) / math.sqrt(n)
    reach = stats.t.ppf((1 + level) / 2, n - 1)
    expected = [
        SKEWED.mean() - error * optimize.brentq(lambda t, end: cubic(t, lean) - end, -50, 50, end)
        for end in (reach, -reach)
    ]
    found = ends(mean_interval(Moments.of(SKEWED), level))
    assert found == pytest.approx(expected, rel=1e-9)
    plain = stats.ttest_1samp(SKEWED, 0).confidence_interval(level)
    assert found[0] > plain.low  # the long tail is above: there is more room there
    assert found[1] > plain.high


def test_the_difference_from_nothing_is_the_mean() -> None:
    still = Moments(*(np.array([each]) for each in (1e9, 0.0, 1e-9, 0.0)))
    found = difference_interval(Moments.of(SKEWED), still, 0.95)
    assert ends(found) == pytest.approx(ends(mean_interval(Moments.of(SKEWED), 0.95)), rel=1e-6)
    mirrored = difference_interval(still, Moments.of(SKEWED), 0.95)
    assert ends(mirrored) == pytest.approx([-end for end in reversed(ends(found))], rel=1e-9)


def test_equal_values_have_no_width_and_too_few_have_no_interval() -> None:
    assert ends(mean_interval(Moments.of(np.full(9, 0.25)), 0.95)) == (0.25, 0.25)
    assert np.isnan(ends(mean_interval(Moments.of(np.array([0.3])), 0.95))).all()
    nothing = Moments(np.array([0]), *(np.array([np.nan]),) * 3)
    assert np.isnan(ends(mean_interval(nothing, 0.95))).all()


@pytest.mark.parametrize(("count", "n"), [(0, 7), (3, 7), (7, 7), (950, 1000), (1, 1)])
@pytest.mark.parametrize("level", LEVELS)
def test_a_share_has_wilsons_interval(count: int, n: int, level: float) -> None:
    expected = stats.binomtest(count, n).proportion_ci(level, method="wilson")
    found = share_interval(np.array([count]), np.array([n]), level)
    assert ends(found) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_difference_of_shares_is_newcombes() -> None:
    # Newcombe 1998, Table II, method 10 without continuity correction: 56/70 less 48/80.
    first, second = np.array([56 / 70]), np.array([48 / 80])
    around = [
        share_interval(np.array([count]), np.array([n]), 0.95) for count, n in ((56, 70), (48, 80))
    ]
    found = ends(recovered_difference(first, around[0], second, around[1]))
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_examples_in_common_make_a_difference_narrower() -> None:
    first, second = np.array([0.8]), np.array([0.7])
    around = [share_interval(each * 100, np.array([100]), 0.95) for each in (first, second)]
    apart = ends(recovered_difference(first, around[0], second, around[1]))
    paired = ends(recovered_difference(first, around[0], second, around[1], 0.6))
    by_hand = 0.1 - math.sqrt(
        (0.8 - around[0].low[0]) ** 2
        - 2 * 0.6 * (0.8 - around[0].low[0]) * (around[1].high[0] - 0.7)
        + (around[1].high[0] - 0.7) ** 2
    )
    assert paired[0] == pytest.approx(by_hand)
    assert apart[0] < paired[0] < 0.1 < paired[1] < apart[1]


def test_many_intervals_together_have_the_confidence_wanted() -> None:
    assert simultaneous(0.95, 1000) ** 1000 == pytest.approx(0.95)
    assert simultaneous(0.95, 0) == 0.95
