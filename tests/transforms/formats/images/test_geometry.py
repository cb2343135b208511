"""Boxes and masks go where pixels go: a spot is looked for after every fit, crop and turn."""

from __future__ import annotations

import io
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from transforms.formats.images.decoding import InputDecoder
from transforms.formats.images.geometry import Placement
from transforms.formats.source import Decoder, Fit, InputSpec

SIZES = [(64, 96), (96, 64), (80, 80)]
SPOT = (0.375, 0.5, 0.5, 0.625)  # in the middle: no fit cuts it off


def marked(height: int, width: int, orientation: int = 1) -> bytes:
    """A JPEG, black but for a white spot; its EXIF data say how it is turned."""
    pixels = np.zeros((height, width, 3), np.uint8)
    top, left, bottom, right = SPOT
    rows = slice(round(top * height), round(bottom * height))
    pixels[rows, round(left * width) : round(right * width)] = 255
    exif = Image.Exif()
    exif[274] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    return stream.getvalue()


def extent(bright: npt.NDArray[Any]) -> list[float]:
    """Where a picture is bright: a box in 0..1."""
    rows, columns = np.nonzero(bright.max(axis=1))[0], np.nonzero(bright.max(axis=0))[0]
    height, width = bright.shape
    return [
        rows[0] / height,
        columns[0] / width,
        (rows[-1] + 1) / height,
        (columns[-1] + 1) / width,
    ]


@pytest.mark.parametrize("fit", get_args(Fit))
@pytest.mark.parametrize("decoder", get_args(Decoder))
def test_boxes_and_masks_follow(fit: Fit, decoder: Decoder) -> None:
    spec = InputSpec("image", (48, 40, 3), fit=fit, crop=0.75, orientation="exif", decoder=decoder)
    places = [(size, orientation) for size in SIZES for orientation in range(1, 9)]
    images = [marked(*size, orientation) for size, orientation in places]
    decoder_of_all = InputDecoder(spec, threads=1)
    decoded, faults = decoder_of_all.decode(images)
    assert faults == [None] * len(images)
    box = np.array([SPOT], np.float32)
    for (size, orientation), image, pixels in zip(places, images, decoded, strict=True):
        found = extent(pixels[..., 0] > 127)
        (placed,) = decoder_of_all.placement(image).boxes(box)
        np.testing.assert_allclose(placed, found, atol=1.01 / 40)

        mask = np.asarray(Image.open(io.BytesIO(image)))[..., 0] > 127
        placement = Placement.of(spec, *size, orientation)
        np.testing.assert_allclose(extent(placement.mask(mask)), found, atol=1.01 / 40)
        finer = np.kron(mask, np.ones((3, 3), bool))  # a mask has a size of its own
        np.testing.assert_array_equal(placement.mask(finer), placement.mask(mask))


def test_the_orientation_counts_only_where_it_is_asked_for() -> None:
    image = marked(64, 96, orientation=6)
    stored = InputSpec("image", (64, 96, 3), resize="none")
    (decoded,), _ = InputDecoder(stored).decode([image])
    assert extent(decoded[..., 0]) == list(SPOT)
    turned = InputSpec("image", (96, 64, 3), resize="none", orientation="exif")
    (decoded,), _ = InputDecoder(turned).decode([image])
    top, left, bottom, right = SPOT
    assert extent(decoded[..., 0]) == [left, 1 - bottom, right, 1 - top]
    boxes = np.array([SPOT], np.float32)
    assert InputDecoder(stored).placement(image).boxes(boxes).tolist() == [list(SPOT)]
    expected = [[left, 1 - bottom, right, 1 - top]]
    assert InputDecoder(turned).placement(image).boxes(boxes).tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_are_those_of_pillow(orientation: int) -> None:
    from PIL import ImageOps

    pixels = np.random.default_rng(1).integers(0, 256, (6, 9, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(stream)))
    for decoder in get_args(Decoder):
        spec = InputSpec(
            "image", expected.shape, resize="none", orientation="exif", decoder=decoder
        )
        (decoded,), (fault,) = InputDecoder(spec).decode([stream.getvalue()])
        assert fault is None
        np.testing.assert_array_equal(decoded, expected)


def test_the_padding_is_no_part_of_a_mask() -> None:
    spec = InputSpec("image", (8, 8, 3), fit="pad")
    placed = Placement.of(spec, 4, 8).mask(np.ones((4, 8), np.uint8))
    assert placed.sum(axis=1).tolist() == [0, 0, 8, 8, 8, 8, 0, 0]
    whole = np.array([[0, 0, 1, 1]], np.float32)
    assert Placement.of(spec, 4, 8).boxes(whole).tolist() == [[0.25, 0, 0.75, 1]]


def test_sizes_are_those_of_torchvision() -> None:
    # Resize(256) and CenterCrop(224), as torchvision 0.20 computes them for height x width.
    spec = InputSpec("image", (224, 224, 3), fit="shorter_side", crop=0.875)
    expected = {
        (375, 500): ((256, 341), (16, 58)),
        (500, 375): ((341, 256), (58, 16)),
        (427, 640): ((256, 383), (16, 80)),
        (100, 100): ((256, 256), (16, 16)),
        (333, 500): ((256, 384), (16, 80)),
    }
    for size, (resized, kept) in expected.items():
        placement = Placement.of(spec, *size)
        assert (placement.resized, placement.kept) == (resized, kept)
    assert Placement.of(spec, 512, 1024).shrinkage == 2.0
