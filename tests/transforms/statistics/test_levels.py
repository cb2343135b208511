"""Levels of maps, short and long ones, counted as np.bincount counts them."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.statistics.levels import level_counts


@pytest.mark.parametrize("shape", [(0, 9), (3, 1), (5, 5_999), (4, 6_000), (3, 6_001)])
@pytest.mark.parametrize("step", [1, -1])
def test_each_map_is_counted_by_itself(shape: tuple[int, int], step: int) -> None:
    codes = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)[:, ::step]
    codes[:1] = 255
    expected = np.array([np.bincount(row, minlength=256) for row in codes]).reshape(-1, 256)
    np.testing.assert_array_equal(level_counts(codes), expected)
