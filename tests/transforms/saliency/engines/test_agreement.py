"""Agreement of maps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from transforms.saliency.engines.agreement import Agreement, measure_agreement, spearman

rng = np.random.default_rng(4)


@pytest.mark.parametrize("levels", [3, 50, 100_000])
def test_spearman_is_scipys_with_and_without_ties(levels: int) -> None:
    first, second = rng.integers(0, levels, (2, 400)).astype(np.float32)
    second = first + second / 2
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second)[0], abs=1e-12)


def test_constant_maps_agree_with_constant_maps_alone() -> None:
    constant, other = np.ones(9, np.float32), np.arange(9, dtype=np.float32)
    assert spearman(constant, 2 * constant) == 1.0
    assert spearman(constant, other) == spearman(other, constant) == 0.0


def test_measures_by_map() -> None:
    reference = np.array([[1, 2, 3, 4], [4, 3, 2, 1], [1, 2, 3, 4]], np.float32)
    maps = np.array([[1, 2, 3, 4], [4, 3, 2, 1], [2, 1, 3, 4]], np.float32)
    found = measure_agreement(reference, maps)
    assert found.maps == 3
    assert found.smallest_spearman == pytest.approx(0.8)
    assert found.median_spearman == pytest.approx(1.0)
    assert found.mean_difference == pytest.approx((0 + 0 + 0.5 / 2.5) / 3)
    assert not found.holds


def test_what_the_reference_cannot_explain_is_left_out() -> None:
    reference = np.array([[1, np.nan], [1, 2]], np.float32)
    maps = np.array([[5, 6], [1, 2]], np.float32)
    assert measure_agreement(reference, maps).as_dict() == {
        "maps": 1,
        "smallest_spearman": pytest.approx(1.0),
        "median_spearman": pytest.approx(1.0),
        "mean_difference": 0.0,
    }


def test_thresholds_of_mixed_precision() -> None:
    assert Agreement(2, 0.999, 0.9995, 1.0).holds_for_mixed
    assert not Agreement(2, 0.9989, 0.9995, 0.0).holds_for_mixed
    assert not Agreement(2, 0.999, 0.9994, 0.0).holds_for_mixed
    assert not Agreement(0, 1.0, 1.0, 0.0).holds_for_mixed


def test_other_maps_are_wrong() -> None:
    assert Agreement(2, 0.1, 0.89, 1.0).is_wrong
    assert not Agreement(2, 0.1, 0.9, 1.0).is_wrong
    assert not Agreement(0, 0.0, 0.0, 0.0).is_wrong


def test_what_only_the_other_cannot_explain_disagrees() -> None:
    reference = np.array([[1, 2, 3]], np.float32)
    assert not measure_agreement(reference, reference * np.float32(np.nan)).holds


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (Agreement(2, 0.999, 0.9999, 1e-3), True),
        (Agreement(2, 0.9989, 0.9999, 1e-3), False),
        (Agreement(2, 0.999, 0.99989, 1e-3), False),
        (Agreement(2, 0.999, 0.9999, 1.1e-3), False),
        (Agreement(0, 1.0, 1.0, 0.0), False),
    ],
)
def test_thresholds(found: Agreement, holds: bool) -> None:
    assert found.holds is holds
