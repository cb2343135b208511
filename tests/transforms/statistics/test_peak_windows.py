"""Peak windows against a slow version written from their definition, and their mean correlation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.codec import decode, encode
from transforms.statistics.peak_windows import (
    WINDOW_UNIT_BITS,
    autocorrelations,
    has_peak_windows,
    mean_correlation,
    peak_square,
    peak_windows,
)


def codes_of(height: int, width: int, seed: int, power: float = 4) -> npt.NDArray[np.uint8]:
    values = np.random.default_rng(seed).random((height, width)) ** power
    codes: npt.NDArray[np.uint8] = np.rint(255 * np.sqrt(values / values.max())).astype(np.uint8)
    return codes


def slow_square(codes: npt.NDArray[np.uint8]) -> tuple[int, int, int]:
    """Top, left and side: every box's mass in turn, in whole numbers."""
    height, width = codes.shape
    shorter = min(height, width)
    box = max(1, math.floor(shorter / 9 + 0.5))
    side = max(11, math.floor(11 * shorter / 64 + 0.5))
    masses = [[int(code) ** 2 for code in row] for row in codes]
    best, corner = -1, (0, 0)
    for top, left in itertools.product(range(height - box + 1), range(width - box + 1)):
        mass = sum(sum(row[left : left + box]) for row in masses[top : top + box])
        if mass > best:
            best, corner = mass, (top, left)
    top, left = (
        min(max(start + math.floor((box - side) / 2), 0), length - side)
        for start, length in zip(corner, (height, width), strict=True)
    )
    return top, left, side


def slow_window(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Each cell's mean of sqrt(A), pixels that a boundary cuts by their share; unit norm."""
    top, left, side = slow_square(codes)
    cells = np.zeros((11, 11))
    for row, column, y, x in itertools.product(range(11), range(11), range(side), range(side)):
        share = 1.0
        for cell, pixel in ((row, y), (column, x)):
            low, high = cell * side / 11, (cell + 1) * side / 11
            share *= max(0.0, min(high, pixel + 1) - max(low, pixel))
        cells[row, column] += share * codes[top + y, left + x] / 255
    centred: npt.NDArray[np.float64] = cells - cells.mean()
    unit: npt.NDArray[np.float64] = centred / np.linalg.norm(centred)
    return unit


@pytest.mark.parametrize(
    ("height", "width"), [(11, 11), (12, 30), (40, 27), (64, 64), (67, 90), (100, 75)]
)
def test_windows_are_those_of_the_definition(height: int, width: int) -> None:
    for seed in range(2):
        codes = codes_of(height, width, seed)
        top, left, side = slow_square(codes)
        rows, columns = np.nonzero(peak_square(decode(codes[None], np.array([3], np.float32))[0]))
        assert (rows.min(), columns.min()) == (top, left)
        assert (rows.max() - top + 1, columns.max() - left + 1) == (side, side)
        (window,) = peak_windows(codes[None])
        expected = slow_window(codes) * 2**WINDOW_UNIT_BITS
        np.testing.assert_allclose(window, expected, atol=0.51)


def test_boxes_of_more_mass_than_32_bits_hold_are_told_apart() -> None:
    values = np.zeros((2400, 2400), np.float32)
    values[100:367, 100:367] = 1  # one box: 4.6e9 in squared codes, modulo 2**32 0.3e9
    values[2000:2200, 2000:2200] = 1  # 2.6e9
    rows, columns = np.nonzero(peak_square(values))
    assert rows.max() < 500
    assert columns.max() < 500


@pytest.mark.parametrize(("y", "x"), [(0, 0), (0, 63), (63, 0), (63, 63), (30, 31)])
def test_a_window_at_the_edge_is_moved_inside(y: int, x: int) -> None:
    spot = np.zeros((64, 64), np.float32)
    spot[y, x] = 1
    inside = peak_square(spot)
    assert inside.sum() == 11 * 11
    assert inside[y, x]


def test_the_first_of_equal_boxes_counts() -> None:
    codes = np.zeros((1, 64, 64), np.uint8)
    codes[0, 40, 10] = codes[0, 20, 50] = 255
    rows, columns = np.nonzero(peak_square(codes[0].astype(np.float32)))
    assert rows.min() <= 20 <= rows.max()
    assert columns.min() <= 50 <= columns.max()


def test_flat_windows_are_undefined() -> None:
    assert not peak_windows(np.zeros((1, 20, 20), np.uint8)).any()
    assert not peak_windows(np.full((1, 20, 23), 255, np.uint8)).any()  # cells that cut pixels
    assert has_peak_windows((11, 11))
    assert not has_peak_windows((10, 300))
    assert not has_peak_windows((12, 12, 3))


def test_a_decoded_map_has_its_square_where_its_codes_have_it() -> None:
    maps = (np.random.default_rng(3).random((4, 50, 40)) ** 6).astype(np.float32)
    codes, scales = encode(maps, "uint8")
    for code, found in zip(codes, decode(codes, scales), strict=True):
        top, left, _ = slow_square(code)
        rows, columns = np.nonzero(peak_square(found))
        assert (rows.min(), columns.min()) == (top, left)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(0, 1000))
def test_repeat_is_the_mean_correlation_of_pairs(n: int, seed: int) -> None:
    codes = np.stack([codes_of(30, 30, seed + number) for number in range(n)])
    windows = peak_windows(codes).astype(np.int64)
    pairs = [
        (first * second).sum() / 2 ** (2 * WINDOW_UNIT_BITS)
        for first, second in itertools.combinations(windows, 2)
    ]
    found = mean_correlation(n, windows.sum(axis=0), int((windows**2).sum()))
    assert found == pytest.approx(np.mean(pairs), rel=1e-12)


def test_the_same_window_repeats_wherever_it_is() -> None:
    mark = codes_of(9, 9, 0, power=1)
    codes = np.zeros((5, 64, 64), np.uint8)
    for number, (y, x) in enumerate(np.random.default_rng(1).integers(10, 45, (5, 2))):
        codes[number, y : y + 9, x : x + 9] = mark
    windows = peak_windows(codes).astype(np.int64)
    assert mean_correlation(5, windows.sum(axis=0), int((windows**2).sum())) == pytest.approx(
        1, abs=1e-3
    )
    assert mean_correlation(1, windows[0], 1) is None


def test_an_autocorrelation_is_the_same_wherever_a_thing_stands() -> None:
    windows = np.random.default_rng(5).integers(-4000, 4000, (3, 11, 11))
    found = autocorrelations(windows)
    for window, own in zip(windows.tolist(), found.tolist(), strict=True):
        for y, x in ((0, 0), (0, 7), (5, 10), (6, 0), (10, 10)):
            products = sum(
                window[v][u] * window[(v + y) % 11][(u + x) % 11]
                for v in range(11)
                for u in range(11)
            )
            assert own[y][x] == math.floor(products / 2**14 + 0.5)
    for shift in ((1, 0), (4, 9)):
        moved = np.roll(windows, shift, axis=(1, 2))
        np.testing.assert_array_equal(autocorrelations(moved), found)
    assert not autocorrelations(np.zeros((1, 11, 11), np.int64)).any()
