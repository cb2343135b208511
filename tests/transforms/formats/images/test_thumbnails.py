from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from transforms.formats.images.thumbnails import ThumbnailEncoder, thumbnail_shape


def decoded(jpeg: bytes) -> npt.NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(jpeg)), np.float64)


def photograph(height: int, width: int, channels: int = 3) -> npt.NDArray[np.float32]:
    """Smooth waves of another phase and length in each channel, in 0..255."""
    rows, columns = np.mgrid[:height, :width] / 40
    waves = [np.sin(rows * (1 + c) + c) * np.cos(columns + c) for c in range(channels)]
    return (127.5 * (1 + np.stack(waves, axis=-1))).astype(np.float32)


def slow_means(pixels: npt.NDArray[np.float32], factor: int) -> npt.NDArray[np.float64]:
    """Each tile's mean, tiles at the lower and right edges being smaller."""
    height, width = pixels.shape[:2]
    return np.array(
        [
            [
                pixels[top : top + factor, left : left + factor].mean((0, 1), dtype=np.float64)
                for left in range(0, width, factor)
            ]
            for top in range(0, height, factor)
        ]
    )


@pytest.mark.parametrize(
    ("height", "width", "channels", "factor"),
    [
        (224, 224, 3, 3),
        (64, 64, 3, 1),
        (97, 40, 3, 2),
        (300, 96, 1, 4),
        (7, 5, 3, 1),
        (96, 2, 1, 1),
    ],
)
def test_a_pixel_is_the_mean_of_those_it_stands_for(
    height: int, width: int, channels: int, factor: int
) -> None:
    pixels = photograph(height, width, channels)
    encoder = ThumbnailEncoder(pixels.shape)
    image = decoded(encoder.encode(pixels))
    expected = slow_means(pixels, factor)
    assert image.shape[:2] == encoder.shape == expected.shape[:2]
    assert image.ndim == (2 if channels == 1 else 3)
    # JPEG's own error and cut off fractions; shifted by one pixel, the waves differ by 3 and more.
    assert np.abs(image.reshape(expected.shape) - expected).mean() < 2.5


def test_equal_inputs_have_equal_bytes_whatever_came_before() -> None:
    encoder, other = ThumbnailEncoder((50, 60, 3), 16), ThumbnailEncoder((50, 60, 3), 16)
    pixels = photograph(50, 60)
    first = encoder.encode(pixels)
    encoder.encode(pixels[::-1])
    assert encoder.encode(pixels.copy()) == first == other.encode(np.asfortranarray(pixels))


@pytest.mark.parametrize("side", [15, 50, 97, 111, 224])
def test_bytes_give_the_thumbnail_of_the_same_floats(side: int) -> None:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side + 3, 3), np.uint8)
    for longest in (16, 31, 96):
        encode = ThumbnailEncoder(pixels.shape, longest).encode
        assert encode(pixels) == encode(pixels.astype(np.float32))


def test_noise_takes_no_more_than_it_may() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (96, 96, 3)).astype(np.float32)
    encoder = ThumbnailEncoder(noise.shape)
    sink = io.BytesIO()
    Image.fromarray(noise.astype(np.uint8)).save(sink, format="JPEG", quality=80)
    assert sink.tell() > 2 * encoder.max_bytes == 6144
    assert 2048 < len(encoder.encode(noise)) <= 3072


def test_alpha_is_dropped_and_what_is_no_pixel_is_cut_off() -> None:
    pixels = photograph(32, 32)
    opaque = np.concatenate([pixels, np.zeros((32, 32, 1), np.float32)], axis=-1)
    encode = ThumbnailEncoder((32, 32, 4)).encode
    assert encode(opaque) == ThumbnailEncoder((32, 32, 3)).encode(pixels)
    beyond = np.full((32, 32, 3), 1e9, np.float32)
    beyond[:16] = -1e9
    image = decoded(ThumbnailEncoder((32, 32, 3)).encode(beyond))
    assert image[:8].max() < 3
    assert image[-8:].min() > 252


@pytest.mark.parametrize(
    ("shape", "longest", "expected"),
    [
        ((224, 224, 3), 96, (75, 75)),
        ((96, 96, 3), 96, (96, 96)),
        ((97, 97, 3), 96, (49, 49)),
        ((1, 1000, 1), 96, (1, 91)),
    ],
)
def test_the_longer_side_is_no_longer_than_asked_for(
    shape: tuple[int, int, int], longest: int, expected: tuple[int, int]
) -> None:
    assert thumbnail_shape(shape, longest) == expected
