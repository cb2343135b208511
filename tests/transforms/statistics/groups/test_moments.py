from __future__ import annotations

import statistics
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.statistics.groups.moments import (
    FIXED_BITS,
    SCORE_BITS,
    WideSums,
    cube_terms,
    cubes,
    dyadic,
    fixed_point,
    mean,
    skewness,
    square_terms,
    squares,
    standard_deviation,
)
from transforms.statistics.groups.rows import ROWS_AT_ONCE

unit_floats = st.floats(0, 1, width=32)
scores = st.floats(allow_nan=False, allow_infinity=False, width=32)


def float32(values: list[float]) -> npt.NDArray[np.float32]:
    return np.array(values, np.float32)


@given(st.lists(unit_floats, min_size=1))
def test_fixed_point_rounds_half_to_even(values: list[float]) -> None:
    expected = [round(Fraction(value) * 2**FIXED_BITS) for value in values]
    assert fixed_point(float32(values)).tolist() == expected


def test_fixed_point_of_undefined_is_zero() -> None:
    assert fixed_point(float32([np.nan, 1, 2**-33, 3 * 2**-33])).tolist() == [0, 2**32, 0, 2]


@given(st.lists(st.lists(unit_floats, min_size=3, max_size=3), min_size=1, max_size=20))
def test_squares_of_fixed_point_are_exact(values: list[list[float]]) -> None:
    fixed = fixed_point(np.array([*values, [1, 1, 0]], np.float32))
    expected = [sum(value * value for value in column) for column in fixed.T.tolist()]
    assert squares(square_terms(fixed).sum(axis=0).tolist()) == expected


@given(st.lists(st.lists(unit_floats, min_size=3, max_size=3), min_size=1, max_size=20))
def test_cubes_of_fixed_point_are_exact(values: list[list[float]]) -> None:
    fixed = fixed_point(np.array([*values, [1, 1, 0]], np.float32))
    expected = [sum(value**3 for value in column) for column in fixed.T.tolist()]
    assert cubes(cube_terms(fixed).sum(axis=0).tolist()) == expected


def test_terms_of_cubes_leave_room_for_as_many_rows_as_are_added_at_once() -> None:
    fixed = fixed_point(float32([1, np.nextafter(np.float32(1), np.float32(0))]))[np.newaxis]
    assert cube_terms(fixed).max() * ROWS_AT_ONCE < 2**62  # what WideSums.add takes


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=20))
def test_skewness_is_the_third_standardised_moment(values: list[int]) -> None:
    moments = [sum(value**power for value in values) for power in (1, 2, 3)]
    found = skewness(len(values), *moments)
    if len(set(values)) == 1:
        assert found is None
        return
    mean_value = Fraction(sum(values), len(values))
    second, third = (
        sum((value - mean_value) ** power for value in values) / len(values) for power in (2, 3)
    )
    assert found == pytest.approx(float(third / second) / float(second) ** 0.5, rel=1e-12)


def test_nothing_has_no_skewness() -> None:
    assert skewness(0, 0, 0, 0) is None


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), max_size=20))
def test_wide_sums_are_exact(terms: list[tuple[int, int]]) -> None:
    added, merged = WideSums.zero(2), WideSums.zero(2)
    for pair in terms:
        added.add(np.array(pair))
        alone = WideSums.zero(2)
        alone.add(np.array(pair))
        alone.merge(merged)
        merged = alone
    assert added.integers() == [sum(pair[0] for pair in terms), sum(pair[1] for pair in terms)]
    np.testing.assert_array_equal(merged.low, added.low)
    np.testing.assert_array_equal(merged.high, added.high)


def test_wide_sums_hold_the_squares_of_ten_billion_maps() -> None:
    total, sums = 0, WideSums.zero(1)
    sums.add(np.array([2**48 - 1]))
    total += 2**48 - 1
    while total < 10**10 * 2**48:
        sums.merge(WideSums(sums.low.copy(), sums.high.copy()))
        total *= 2
    assert sums.integers() == [total]


@given(st.lists(scores, min_size=1))
def test_dyadic_scores_are_exact(values: list[float]) -> None:
    expected = [Fraction(value) * 2**SCORE_BITS for value in values]
    assert dyadic(float32(values)) == expected


def test_dyadic_extremes() -> None:
    largest = float(np.finfo(np.float32).max)
    values = [2.0**-149, -(2.0**-126), largest, -largest, -0.0]
    assert dyadic(float32(values)) == [Fraction(value) * 2**SCORE_BITS for value in values]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="a score is not finite"):
        dyadic(float32([1, value]))


@given(st.lists(scores, min_size=1, max_size=30))
def test_score_moments_against_rational_arithmetic(values: list[float]) -> None:
    integers = dyadic(float32(values))
    exact = [Fraction(value) for value in values]
    square_sum = sum(integer * integer for integer in integers)
    moments = len(integers), sum(integers)
    assert mean(*moments, SCORE_BITS) == float(statistics.mean(exact))
    expected: Any = float(statistics.pvariance(exact)) ** 0.5
    assert standard_deviation(*moments, square_sum, SCORE_BITS) == pytest.approx(
        expected, rel=1e-15
    )


def test_moments_of_a_large_mean_do_not_cancel() -> None:
    integers = dyadic(float32([1e7, 1e7 + 1, 1e7 + 2]))
    square_sum = sum(integer * integer for integer in integers)
    assert mean(3, sum(integers), SCORE_BITS) == 1e7 + 1
    deviation = standard_deviation(3, sum(integers), square_sum, SCORE_BITS)
    assert deviation == pytest.approx((2 / 3) ** 0.5, rel=1e-15)


def test_moments_of_nothing_are_undefined() -> None:
    assert mean(0, 0, 32) is None
    assert standard_deviation(0, 0, 0, 32) is None
