"""Intervals of quantiles: ranks against the binomial distribution, histograms against values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.audit.estimation.quantiles import (
    histogram_interval,
    histogram_values,
    quantile_ranks,
    stored_interval,
)

EDGES = np.linspace(0, 1, 257)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("n", [50, 500, 5_000])
def test_ranks_solve_the_equation_of_order_statistics(n: int, share: float) -> None:
    low, high = quantile_ranks(np.array([n]), share, 0.95)
    assert stats.beta.cdf(share, low[0], n + 1 - low[0]) == pytest.approx(0.975, abs=1e-9)
    assert stats.beta.cdf(share, high[0], n + 1 - high[0]) == pytest.approx(0.025, abs=1e-9)
    # Between whole ranks: the next wider ones hold at least 95 %, the next narrower ones less.
    wide = stats.binom.cdf(np.ceil(high[0]) - 1, n, share) - stats.binom.cdf(
        np.floor(low[0]) - 1, n, share
    )
    narrow = stats.binom.cdf(np.floor(high[0]) - 1, n, share) - stats.binom.cdf(
        np.ceil(low[0]) - 1, n, share
    )
    assert narrow <= 0.95 <= wide


def test_each_n_has_its_own_ranks() -> None:
    together = quantile_ranks(np.array([50, 70, 50]), 0.5, 0.95)
    alone = quantile_ranks(np.array([70]), 0.5, 0.95)
    assert together.low[1] == alone.low[0]
    assert together.low[0] == together.low[2] == pytest.approx(18.8, abs=0.3)


def test_a_histogram_is_no_further_off_than_a_bin() -> None:
    values = np.random.default_rng(0).beta(2, 9, 400)
    counts = np.histogram(values, EDGES)[0][np.newaxis]
    for share in (0.25, 0.5, 0.75):
        found = histogram_interval(counts, EDGES, share, 0.95)
        exact = stored_interval(values, share, 0.95)
        assert found.low[0] == pytest.approx(exact.low[0], abs=1 / 256)
        assert found.high[0] == pytest.approx(exact.high[0], abs=1 / 256)
        assert exact.low[0] < np.quantile(values, share) < exact.high[0]


def test_ends_that_few_examples_do_not_have() -> None:
    counts = np.histogram(np.linspace(0.4, 0.6, 20), EDGES)[0][np.newaxis]
    assert histogram_interval(counts, EDGES, 0.05, 0.95).low[0] == 0
    assert histogram_interval(counts, EDGES, 0.95, 0.95).high[0] == 1
    assert stored_interval(np.linspace(0.4, 0.6, 20), 0.05, 0.95).low[0] == -np.inf


def test_values_are_interpolated_within_a_bin() -> None:
    counts = np.array([[0, 4, 0, 2], [0, 0, 0, 0]])
    edges = np.array([0.0, 1, 2, 3, 4])
    assert histogram_values(counts, edges, np.array([1.0, 1]))[0] == 1.25
    assert histogram_values(counts, edges, np.array([5.0, 1]))[0] == 3.5
    assert np.isnan(histogram_values(counts, edges, np.array([5.0, 1]))[1])
