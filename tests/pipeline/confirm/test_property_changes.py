"""Changes of whole images against closed forms, and that they bring a property where it belongs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from pipeline.confirm.property_changes import (
    Change,
    Images,
    focus,
    gain,
    median_of,
    offset,
    saturate,
    spread,
    ways_to,
)

USUAL = {"level": 100.0, "contrast": 40.0, "colour": 20.0}
LUMA = np.array([77, 150, 29]) / 256


def images_of(count: int = 9, seed: int = 1, **looks: float) -> Images:
    """Smooth noise of a level, a contrast and a colour, far from 0 and 255 mostly."""
    level, contrast, colour = ({**USUAL, **looks}[name] for name in USUAL)
    random = np.random.default_rng(seed)
    grey, tone = (random.normal(size=(count, 32, 32, channels)) for channels in (1, 3))
    soft = [gaussian_filter(each, (0, 1.5, 1.5, 0)) for each in (grey, tone)]
    grey, tone = (each / each.std() for each in soft)
    images: Images = np.clip(level + contrast * grey + colour * tone, 0, 255).astype(np.float32)
    return images


@pytest.mark.parametrize(
    ("name", "own", "usual", "ways"),
    [
        ("luminance", {}, {"level": 140}, ["gain", "offset"]),
        ("luminance", {"level": 140}, {}, ["gain", "offset"]),
        ("contrast", {}, {"contrast": 15}, ["spread"]),
        ("contrast", {"contrast": 15}, {}, ["spread"]),
        ("saturation", {}, {"colour": 5}, ["colours"]),
        ("saturation", {"colour": 5}, {}, ["colours"]),
        ("sharpness", {}, {"contrast": 15, "colour": 5}, ["focus"]),
        ("sharpness", {"contrast": 15}, {}, ["focus"]),
    ],
)
def test_a_change_brings_the_median_there_and_its_controls_do_not(
    name: str, own: dict[str, float], usual: dict[str, float], ways: list[str]
) -> None:
    images, others = images_of(9, 2, **own), images_of(40, 1, **usual)
    found = ways_to(name, images, others)
    assert [way.name for way in found] == ways
    target, before = median_of(name, others[::2]), median_of(name, images)
    for way in found:
        assert way.reaches
        changed = way.step(images)
        assert median_of(name, changed) == pytest.approx(target, abs=0.02 * abs(target - before))
        size = np.sqrt(np.mean((changed - images) ** 2))
        for number, control in enumerate(way.controls(images)):
            other = np.sqrt(np.mean((control(images) - images) ** 2))
            # Of a large change the control with less of something may fall short: less than none
            # there is not.
            assert other == pytest.approx(size, rel=0.02) or (number != 1 and other < size)
        opposite = median_of(name, way.controls(images)[0](images))
        assert (opposite - before) * (target - before) < 0


@pytest.mark.parametrize("change", [gain, offset, spread, saturate, focus])
def test_a_change_of_strength_0_is_none_and_all_stay_in_0_to_255(change: Change) -> None:
    images = images_of(2)
    np.testing.assert_allclose(change(images, 0.0), images, atol=1e-4)
    for strength in (-0.9, 7.0):
        changed = change(images, strength)
        assert changed.dtype == np.float32
        assert 0 <= changed.min() <= changed.max() <= 255


def test_changes_are_what_their_formulas_say() -> None:
    pixels: Images = np.array([[[[10, 20, 30], [30, 60, 200]]]], np.float32)
    np.testing.assert_allclose(gain(pixels, 1), [[[[20, 40, 60], [60, 120, 255]]]])
    np.testing.assert_allclose(offset(pixels, -0.1), [[[[0, 0, 4.5], [4.5, 34.5, 174.5]]]])
    np.testing.assert_allclose(spread(pixels, 1), [[[[0, 0, 0], [40, 80, 255]]]])
    luma = pixels @ LUMA.astype(np.float32)
    halfway = (pixels + luma[..., np.newaxis]) / 2
    np.testing.assert_allclose(saturate(pixels, -1), halfway, rtol=1e-5)
    images = images_of(2)
    soft = np.stack([gaussian_filter(each, (1, 1, 0), mode="nearest") for each in images])
    np.testing.assert_allclose(focus(images, -1), soft, atol=1e-3)
    np.testing.assert_allclose(
        focus(images, 2), np.clip(images + 2 * (images - soft), 0, 255), atol=1e-3
    )


def test_a_tint_is_undone() -> None:
    images = images_of(30, level=110, contrast=20)
    tinted = np.clip(images * np.array([1.25, 1, 0.75], np.float32), 0, 255)
    (way,) = ways_to("saturation", tinted, images)
    assert np.abs(tinted - images).mean() > 15
    assert np.abs(way.step(tinted) - images).mean() < 3
    # Its opposite is a tint with as much of what that one has less of.
    more = (way.controls(tinted)[0](tinted) - tinted).mean(axis=(0, 1, 2))
    assert more[0] > 10 > more[1] > -10 > more[2]


def test_alpha_and_grey_images_stay_what_they_are() -> None:
    colours = images_of(4)
    alpha = np.full((*colours.shape[:3], 1), 77, np.float32)
    with_alpha: Images = np.concatenate([colours, alpha], axis=-1)
    for name, strength in (("luminance", 150), ("saturation", 100)):
        usual = images_of(level=strength, colour=3)
        for with_it, without in zip(
            ways_to(name, with_alpha, usual), ways_to(name, colours, usual), strict=True
        ):
            changed = with_it.step(with_alpha)
            np.testing.assert_array_equal(changed[..., 3], alpha[..., 0])
            np.testing.assert_array_equal(changed[..., :3], without.step(colours))
    grey: Images = np.repeat(colours[..., :1], 3, axis=-1)
    (way,) = ways_to("saturation", grey, grey[::-1])
    np.testing.assert_allclose(way.step(grey), grey, atol=1e-3)
    # One channel is enough for all but saturation, which it has not.
    for name in ("luminance", "contrast", "sharpness"):
        for each in ways_to(name, colours[..., :1], images_of(level=80, contrast=10)[..., :1]):
            assert each.reaches


@pytest.mark.parametrize(
    ("name", "level", "reached"),
    [
        ("luminance", 0, [False, True]),  # No gain makes black brighter.
        ("contrast", 100, [False]),
        ("sharpness", 255, [False]),
    ],
)
def test_what_is_not_there_cannot_be_strengthened(
    name: str, level: float, reached: list[bool]
) -> None:
    flat: Images = np.full((3, 16, 16, 3), level, np.float32)
    found = ways_to(name, flat, images_of())
    assert [way.reaches for way in found] == reached
    for way in found:
        assert np.isfinite(way.step(flat)).all()
        if not way.reaches:
            np.testing.assert_allclose(way.step(flat), flat, atol=1e-3)


def test_images_at_the_limits_are_changed_as_far_as_they_can_be() -> None:
    random = np.random.default_rng(4)
    limits: npt.NDArray[np.float32] = random.choice([0, 255], (8, 16, 16, 1)).astype(np.float32)
    images: Images = np.repeat(limits, 3, axis=-1)
    for name in ("luminance", "contrast", "saturation", "sharpness"):
        for way in ways_to(name, images, images_of(level=90)):
            for changed in (way.step(images), *(each(images) for each in way.controls(images))):
                assert 0 <= changed.min() <= changed.max() <= 255


def test_images_with_what_is_usual_already_stay() -> None:
    images = images_of()
    for name in ("luminance", "contrast", "sharpness"):
        for way in ways_to(name, images, images.copy()):
            assert way.reaches
            np.testing.assert_allclose(way.step(images), images, atol=1e-3)


def test_of_two_tints_that_are_as_saturated_one_is_made_the_other() -> None:
    images = images_of(9, 2) * np.array([1, 0.8, 0.6], np.float32)
    other = np.ascontiguousarray(images[..., ::-1])
    assert median_of("saturation", images) == median_of("saturation", other)
    (way,) = ways_to("saturation", images, other)
    assert way.reaches
    levels, wanted = (each.mean(axis=(0, 1, 2)) for each in (way.step(images), other))
    np.testing.assert_allclose(levels, wanted, rtol=0.03)
