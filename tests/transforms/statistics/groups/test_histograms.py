from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.statistics.groups.histograms import BINS, SLOTS, quantiles, slot_numbers

PERCENTS = (1, 5, 25, 50, 75, 95, 100)

values_in_range = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60)


def histogram(values: list[float]) -> npt.NDArray[np.int64]:
    slots = slot_numbers(np.array(values, np.float32))
    return np.bincount(slots, minlength=SLOTS)[:BINS]


def test_slots_are_half_open_and_the_last_closed() -> None:
    edge = 3 / BINS
    values = [0, np.nextafter(np.float32(edge), np.float32(0)), edge, 1 - 2**-24, 1, np.nan]
    slots = slot_numbers(np.array(values, np.float32))
    np.testing.assert_array_equal(slots, [0, 2, 3, 255, 255, BINS])


@given(values_in_range)
def test_quantiles_are_within_one_bin(values: list[float]) -> None:
    exact = np.quantile(
        np.array(values, np.float32), np.array(PERCENTS) / 100, method="inverted_cdf"
    )
    found = quantiles(histogram(values), PERCENTS)
    np.testing.assert_allclose(np.array(found, float), exact, rtol=0, atol=1 / BINS)
    assert found == sorted(found, key=float)  # type: ignore[arg-type]


@given(values_in_range, values_in_range)
def test_merged_counts_give_the_same_quantiles(left: list[float], right: list[float]) -> None:
    merged = histogram(left) + histogram(right)
    assert quantiles(merged, PERCENTS) == quantiles(histogram(right + left), PERCENTS)


def test_uniform_counts_give_the_identity() -> None:
    counts = np.full(BINS, 10**10)
    assert quantiles(counts, PERCENTS) == [percent / 100 for percent in PERCENTS]


def test_interpolation_within_a_bin() -> None:
    counts = np.zeros(BINS, np.int64)
    counts[[10, 200]] = 3, 1
    # Rank 2 of 4 is two thirds into bin 10; rank 3 its end; rank 3.8 four fifths into bin 200.
    expected = [(10 + 2 / 3) / BINS, 11 / BINS, 200.8 / BINS]
    assert quantiles(counts, (50, 75, 95)) == pytest.approx(expected, rel=1e-15)


def test_quantiles_of_nothing_are_undefined() -> None:
    assert quantiles(np.zeros(BINS, np.int64), (5, 50)) == [None, None]
