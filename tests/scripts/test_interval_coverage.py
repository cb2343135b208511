"""What `scripts/coverage` measures, at a size that takes a second."""

from __future__ import annotations

import interval_coverage
import numpy as np
import pytest


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    for measure in (
        interval_coverage.of_mean,
        interval_coverage.of_paired_difference,
        interval_coverage.of_difference,
        interval_coverage.of_share(0.2),
        interval_coverage.of_median,
    ):
        assert 0.93 <= interval_coverage.coverage(measure, 200, 4000) <= 0.97
    assert 0.92 <= interval_coverage.coverage(interval_coverage.of_drift(2.0), 200, 400) <= 0.98


def test_plain_students_t_does_not_at_50() -> None:
    plain, ours = (
        interval_coverage.coverage(measure, 50, 20_000)
        for measure in (interval_coverage.of_mean_by_student, interval_coverage.of_mean)
    )
    assert plain < 0.945 < ours


def test_what_is_drawn_is_skewed_like_corner_energies() -> None:
    random = np.random.default_rng(0)
    drawn = interval_coverage.moments(interval_coverage.corner_energies(random, 1, 400_000))
    assert drawn.mean[0] == pytest.approx(interval_coverage.MEAN, abs=3e-4)
    assert drawn.skewness[0] == pytest.approx(2, abs=0.05)


def test_few_audits_fail_though_nothing_is_wrong() -> None:
    below, above = interval_coverage.false_failures(500, 20)
    assert below <= 0.2
    assert above <= 0.2
