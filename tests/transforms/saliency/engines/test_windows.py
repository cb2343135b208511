"""Taking images apart by stride, putting them together, and spreading them, by slow definitions."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.saliency.engines.rewriting.windows import put_together, spread, take_apart


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 1), (1, 2), (2, 3)])
def test_phases_are_every_stride_th_row_and_column(strides: tuple[int, int]) -> None:
    values = np.arange(2 * 6 * 12 * 3, dtype=np.float32).reshape(2, 6, 12, 3)
    phases = take_apart(values, strides)
    for row in range(strides[0]):
        for column in range(strides[1]):
            expected = values[:, row :: strides[0], column :: strides[1]]
            np.testing.assert_array_equal(phases[row][column], expected)
    np.testing.assert_array_equal(put_together(phases), values)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize(
    ("rows", "columns"), [((0, 0), (0, 0)), ((2, 3), (0, 1)), ((-1, 0), (1, -2))]
)
def test_spreads_with_zeros_between_and_around(
    strides: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    values = 1 + np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
    height, width = 2 * strides[0] + 1, 3 * strides[1] + 1
    wide = np.zeros((2, height + 10, width + 10, 2), np.float32)
    wide[:, 5 : 5 + height : strides[0], 5 : 5 + width : strides[1]] = values
    expected = wide[:, 5 - rows[0] : 5 + height + rows[1], 5 - columns[0] : 5 + width + columns[1]]
    np.testing.assert_array_equal(spread(values, strides, rows, columns), expected)


def test_a_single_element_is_spread_too() -> None:
    values = np.full((1, 1, 1, 2), 7, np.float32)
    found = np.asarray(spread(values, (2, 2), (1, 2), (0, 0)))
    assert found.shape == (1, 4, 1, 2)
    np.testing.assert_array_equal(found[0, :, 0, 0], [0, 7, 0, 0])
