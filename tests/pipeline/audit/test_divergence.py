"""Divergences against scipy's, and the jackknife against loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from pipeline.audit.estimation.divergence import Drift, Folds, drift, jensen_shannon

RANDOM = np.random.default_rng(3)


def test_the_divergence_is_scipys_distance_squared() -> None:
    first, second = RANDOM.random((2, 5, 12))
    first[0, :4] = 0
    expected = [
        distance.jensenshannon(one, other, base=2) ** 2
        for one, other in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(jensen_shannon(first, second), expected, rtol=1e-9)


def test_the_divergence_is_0_for_the_same_and_1_for_apart() -> None:
    left, right = np.array([1.0, 3, 0, 0]), np.array([0.0, 0, 2, 2])
    assert jensen_shannon(left, 5 * left) == 0
    assert jensen_shannon(left, right) == 1
    assert np.isnan(jensen_shannon(left, 0 * left))


def slow_drift(maps: list[np.ndarray], folds: list[np.ndarray], confidence: float) -> Drift:
    """The jackknife of Busing et al. 1999 by leaving examples out."""
    whole = float(jensen_shannon(maps[0].mean(axis=0), maps[1].mean(axis=0)))
    left, inverse = [], []
    for fold in range(16):
        kept = [each[at != fold].mean(axis=0) for each, at in zip(maps, folds, strict=True)]
        left.append(float(jensen_shannon(*kept)))
        inverse.append(1 / np.mean([np.mean(at == fold) for at in folds]))
    h, theta = np.array(inverse), np.array(left)
    value = 16 * whole - ((1 - 1 / h) * theta).sum()
    pseudo = h * whole - (h - 1) * theta
    error = np.sqrt(((pseudo - value) ** 2 / (h - 1)).mean())
    reach = stats.t.ppf((1 + confidence) / 2, 15) * error
    half = reach / (2 * np.sqrt(value))
    assert half < np.sqrt(value)
    return Drift(value, (np.sqrt(value) - half) ** 2, (np.sqrt(value) + half) ** 2)


def test_the_interval_is_that_of_leaving_folds_out() -> None:
    folds = [RANDOM.integers(0, 16, n) for n in (150, 90)]
    maps = [RANDOM.dirichlet(np.arange(1, 9) + 4 * side, len(at)) for side, at in enumerate(folds)]
    found = drift(_folds(maps[0], folds[0]), _folds(maps[1], folds[1]), 0.95)
    assert found == pytest.approx(slow_drift(maps, folds, 0.95), rel=1e-9)
    assert 0 < found.low < found.value < found.high < 1


def _folds(maps: np.ndarray, at: np.ndarray) -> Folds:
    n = np.bincount(at, minlength=16)
    means = np.stack([maps[at == fold].mean(axis=0) for fold in range(16)])
    return Folds(n, means)


def test_no_drift_has_an_interval_from_0() -> None:
    at = np.repeat(np.arange(16), 10)
    maps = [RANDOM.dirichlet(np.ones(6), 160) for _ in range(2)]
    found = drift(_folds(maps[0], at), _folds(maps[1], at), 0.95)
    assert found.low == 0 < found.high < 0.02
    same = _folds(maps[0], at)
    assert drift(same, same, 0.95) == (0, 0, 0)


def test_one_fold_has_no_interval() -> None:
    n = np.zeros(16, np.int64)
    n[3] = 20
    means = np.full((16, 4), np.nan)
    means[3] = (1, 2, 3, 4)
    found = drift(Folds(n, means), Folds(n, means), 0.95)
    assert found.value == 0
    assert np.isnan(found.low)
