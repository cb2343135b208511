"""Masks, fills and patches against what they have to be, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.confirm.interventions import (
    FILLS,
    Image,
    Mask,
    Shift,
    mask_of_cells,
    paste,
    shifts_elsewhere,
)


@pytest.fixture
def image() -> Image:
    return np.random.default_rng(0).uniform(0, 255, (12, 10, 3)).astype(np.float32)


@pytest.fixture
def corner() -> Mask:
    mask = np.zeros((12, 10), bool)
    mask[:3, 7:] = True
    return mask


@pytest.mark.parametrize("name", sorted(FILLS))
def test_a_fill_changes_the_mask_alone(name: str, image: Image, corner: Mask) -> None:
    before = image.copy()
    filled = paste(image, corner, FILLS[name](image, image[::-1]))
    np.testing.assert_array_equal(filled[~corner], image[~corner])
    assert (filled[corner] != image[corner]).mean() > 0.9
    np.testing.assert_array_equal(image, before)
    assert filled.dtype == np.float32


def test_the_mean_is_that_of_each_channel(image: Image, corner: Mask) -> None:
    filled = paste(image, corner, FILLS["mean"](image, image))
    for channel in range(3):
        mean = sum(float(value) for value in image[..., channel].ravel()) / (12 * 10)
        np.testing.assert_allclose(filled[corner][:, channel], mean, rtol=1e-6)


def test_a_blur_keeps_an_even_colour_and_loses_a_checkerboard() -> None:
    even = np.full((12, 10, 3), 80, np.float32)
    np.testing.assert_allclose(FILLS["blur"](even, even), even, rtol=1e-6)
    board = np.indices((64, 64)).sum(0) % 2 * 255.0
    blurred = FILLS["blur"](np.repeat(board[..., None], 3, -1).astype(np.float32), even)
    np.testing.assert_allclose(blurred[16:48, 16:48], 127.5, atol=0.5)


def test_a_donor_gives_the_same_place(image: Image, corner: Mask) -> None:
    donor = image + 1000
    np.testing.assert_array_equal(FILLS["donor"](image, donor), donor)
    np.testing.assert_array_equal(paste(image, corner, donor)[corner], donor[corner])


def test_elsewhere_has_the_same_area_and_nothing_in_common(corner: Mask) -> None:
    shifts = shifts_elsewhere(corner, 500, np.random.default_rng(1))
    for shift in shifts:
        moved = shift.of_mask(corner)
        assert moved.sum() == corner.sum()
        assert not (moved & corner).any()
        rows, columns = np.nonzero(moved)  # in one piece: it did not wrap around
        assert np.ptp(rows) == 2
        assert np.ptp(columns) == 2
    # 10 x 8 places of a 3 x 3 square in 12 x 10; 9 of them overlap the corner's.
    assert len({(shift.rows, shift.columns) for shift in shifts}) == 80 - 9


def test_elsewhere_of_a_frame_wraps_around_and_overlaps_least() -> None:
    frame = np.ones((8, 8), bool)
    frame[2:6, 2:6] = False
    shifts = shifts_elsewhere(frame, 20, np.random.default_rng(2))
    overlaps = {
        (rows, columns): (np.roll(frame, (rows, columns), (0, 1)) & frame).sum()
        for rows in range(8)
        for columns in range(8)
    }
    for shift in shifts:
        assert overlaps[shift.rows, shift.columns] == min(overlaps.values())


@pytest.mark.parametrize("value", [True, False])
def test_no_elsewhere_is_refused(value: bool) -> None:
    with pytest.raises(ValueError, match="has no elsewhere"):
        shifts_elsewhere(np.full((4, 4), value), 1, np.random.default_rng(0))


def test_a_shift_brings_back_what_it_moves(image: Image, corner: Mask) -> None:
    shift = Shift(4, -5)
    under_moved = image[shift.of_mask(corner)]
    np.testing.assert_array_equal(shift.back(image)[corner], under_moved)


def test_a_cell_between_the_pixels_of_a_small_image_is_the_pixel_that_holds_it() -> None:
    for row in range(28):
        cells = np.zeros((28, 28), bool)
        cells[row, 27 - row] = True
        mask = mask_of_cells(cells, 9, 10)
        expected = [int((row + 0.5) * 9 / 28), int((27.5 - row) * 10 / 28)]
        assert np.argwhere(mask).tolist() == [expected]


def test_cells_cover_the_pixels_whose_centre_they_hold() -> None:
    cells = np.zeros((3, 3), bool)
    cells[0, 2] = True
    mask = mask_of_cells(cells, 8, 7)
    slow = np.array(
        [
            [int((y + 0.5) * 3 / 8) == 0 and int((x + 0.5) * 3 / 7) == 2 for x in range(7)]
            for y in range(8)
        ]
    )
    np.testing.assert_array_equal(mask, slow)
    assert slow.sum() == 6
