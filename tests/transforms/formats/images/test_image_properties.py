"""Properties of inputs: against their definition, pixel by pixel, and at its edges."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from transforms.formats.images.properties import GRID, input_properties

RANDOM = np.random.default_rng(17)
SHAPES = [(8, 8), (24, 24), (25, 49), (3, 100), (75, 60), (100, 1), (1, 7), (1, 1), (2, 2)]


def slow_properties(image: npt.NDArray[np.float32]) -> dict[str, float]:
    """The definition in the module's docstring, one pixel after the other, of (H, W, C)."""
    height, width, channels = image.shape
    levels = [[[round(float(v)) for v in pixel] for pixel in row] for row in image]
    step = math.ceil(max(height, width) / GRID)

    def grid(side: int) -> list[int]:
        first = min(step // 2, side - 2)
        return list(range(first, side - 1, step)) if side > 1 else [0]

    def luma(y: int, x: int) -> float:
        pixel = levels[min(y, height - 1)][min(x, width - 1)]
        red, green, blue = pixel[:3] if channels > 1 else pixel * 3
        return float(77 * red + 150 * green + 29 * blue) / 256

    places = [(y, x) for y in grid(height) for x in grid(width)]
    here = [luma(y, x) for y, x in places]
    mean = sum(here) / len(here)
    slopes = [
        (luma(y, x + 1) - luma(y, x)) ** 2 + (luma(y + 1, x) - luma(y, x)) ** 2 for y, x in places
    ]
    colors = [levels[y][x][:3] for y, x in places]
    value = sum(max(color) for color in colors)
    chroma = sum(max(color) - min(color) for color in colors)
    return {
        "luminance": mean / 255,
        "contrast": math.sqrt(sum((each - mean) ** 2 for each in here) / len(here)) / 255,
        "saturation": math.nan if channels == 1 or not value else chroma / value,
        "sharpness": math.sqrt(sum(slopes) / len(slopes) / 2) / 255,
    }


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_they_are_what_their_definition_says(shape: tuple[int, int], channels: int) -> None:
    images = RANDOM.integers(0, 256, (3, *shape, channels), np.uint8)
    images[1] //= 9
    found = input_properties(images)
    for number, image in enumerate(images):
        for name, expected in slow_properties(image.astype(np.float32)).items():
            value = found[name][number]
            assert value.dtype == np.float32
            assert value == pytest.approx(expected, rel=1e-6, abs=1e-7, nan_ok=True), name


def test_closed_forms() -> None:
    rows, columns = np.mgrid[0:48, 0:48]
    checks = 255 * ((rows + columns + 1) % 2)
    stripes = 255 * (columns % 2)
    ramp = 2 * columns
    grey = np.stack([checks, stripes, ramp, np.full_like(ramp, 128)])[..., np.newaxis]
    found = input_properties(np.repeat(grey, 3, axis=-1).astype(np.uint8))
    assert found["saturation"].tolist() == [0, 0, 0, 0]
    # Of every second pixel: all of checks and of stripes are alike, and their neighbours are not.
    assert found["sharpness"].tolist() == pytest.approx([1, math.sqrt(0.5), math.sqrt(2) / 255, 0])
    assert found["contrast"].tolist() == pytest.approx(
        [0, 0, 2 * np.arange(1, 47, 2).std() / 255, 0]
    )
    assert found["luminance"][3] == pytest.approx(128 / 255)


def test_whole_levels_are_the_same_numbers_in_any_type_order_and_company() -> None:
    images = RANDOM.integers(0, 256, (9, 31, 44, 3), np.uint8)
    expected = input_properties(images)
    wider = np.zeros((9, 31, 44, 4), np.uint8)
    wider[..., :3] = images
    others = [images.astype(np.float32), images[::-1], np.asfortranarray(images), wider]
    for each, other in enumerate(map(input_properties, others)):
        for name, values in other.items():
            ordered = values[::-1] if each == 1 else values
            np.testing.assert_array_equal(ordered, expected[name])
    for number in range(9):
        for name, values in input_properties(images[number : number + 1]).items():
            assert values[0] == expected[name][number]


def test_what_is_not_a_level_is_rounded_and_cut_off() -> None:
    values = np.array([[-5.0, 0.4, 254.6, 300.0]], np.float32)[..., np.newaxis]
    levels = np.array([[0, 0, 255, 255]], np.uint8)[..., np.newaxis]
    tiles = (1, 4, 3, 3)
    expected = input_properties(np.tile(levels, tiles).astype(np.uint8))
    for name, found in input_properties(np.tile(values, tiles).astype(np.float32)).items():
        np.testing.assert_array_equal(found, expected[name])


def test_black_and_nothing() -> None:
    black = input_properties(np.zeros((2, 9, 9, 3), np.uint8))
    assert {name: values.tolist()[0] for name, values in black.items() if name != "saturation"} == {
        "luminance": 0,
        "contrast": 0,
        "sharpness": 0,
    }
    assert np.isnan(black["saturation"]).all()
    nothing = input_properties(np.zeros((0, 9, 9, 3), np.uint8))
    assert {name: values.shape for name, values in nothing.items()} == dict.fromkeys(nothing, (0,))


def test_a_blur_makes_images_less_sharp_and_a_tint_more_colourful() -> None:
    images = RANDOM.integers(0, 256, (4, 64, 64, 3), np.uint8)
    moved = [np.roll(images, shift, axis) for shift in (0, 1) for axis in (1, 2)]
    soft = input_properties(np.mean(moved, axis=0).astype(np.uint8))
    tinted = images.copy()
    tinted[..., 2] //= 4
    sharp, tint = input_properties(images), input_properties(tinted)
    assert (soft["sharpness"] < 0.7 * sharp["sharpness"]).all()
    assert (tint["saturation"] > sharp["saturation"]).all()
