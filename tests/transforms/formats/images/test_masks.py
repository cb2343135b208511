"""Masks of every storage say which pixels are meant; whatever else is given is refused in words."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from transforms.formats.images.masks import decode_mask, encode_mask

INSIDE = np.array([[True, False, False], [False, True, True]])


def png(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def palette() -> Image.Image:
    image = Image.fromarray(INSIDE.astype(np.uint8) * 3).convert("P")
    image.putpalette([0, 0, 0, 9, 9, 9, 9, 9, 9, 0, 0, 200])
    return image


def with_alpha() -> Image.Image:
    """White everywhere, of which two pixels are transparent; one pixel is opaque black."""
    pixels = np.full((2, 3, 4), 255, np.uint8)
    pixels[0, 1] = 0, 0, 0, 255
    pixels[0, 2, 3] = pixels[1, 0, 3] = 0
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "make",
    [
        lambda: png(Image.fromarray(INSIDE)),
        lambda: png(Image.fromarray(INSIDE.astype(np.uint8))),
        lambda: png(Image.fromarray(INSIDE.astype(np.uint8) * 255)),
        lambda: png(Image.fromarray(INSIDE.astype(np.uint16) * 7)),
        lambda: png(Image.fromarray(INSIDE[..., np.newaxis] * np.array([0, 0, 1], np.uint8))),
        lambda: png(palette()),
        lambda: png(with_alpha()),
        lambda: png(with_alpha().convert("LA")),
        # A colour that stands for transparent pixels.
        lambda: png(Image.fromarray(np.where(INSIDE, 255, 77).astype(np.uint8)), transparency=77),
        lambda: png(Image.fromarray(np.where(INSIDE, 300, 77).astype(np.uint16)), transparency=77),
    ],
    ids=[
        "1 bit",
        "0 and 1",
        "0 and 255",
        "16 bits",
        "blue",
        "palette",
        "alpha",
        "grey alpha",
        "key",
        "key of 16 bits",
    ],
)
def test_what_is_neither_black_nor_transparent_is_inside(make: Callable[[], bytes]) -> None:
    mask = decode_mask(make(), 6)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, INSIDE)


def test_a_mask_is_stored_by_the_bit() -> None:
    inside = np.zeros((300, 400), bool)
    inside[50:200, 7] = True
    stored = encode_mask(inside)
    assert len(stored) < 500
    np.testing.assert_array_equal(decode_mask(stored), inside)


def claims(width: int, height: int) -> bytes:
    """A PNG of a pixel that claims to have others."""
    good = png(Image.fromarray(INSIDE))
    header = b"IHDR" + struct.pack(">II", width, height) + good[24:29]
    return good[:12] + header + struct.pack(">I", zlib.crc32(header)) + good[33:]


def deep(color: int, *samples: int) -> bytes:
    """A PNG of a pixel of 16 bits in each of several channels, which Pillow cannot write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        named = name + content
        return struct.pack(">I", len(content)) + named + struct.pack(">I", zlib.crc32(named))

    pixel = zlib.compress(b"\0" + struct.pack(f">{len(samples)}H", *samples))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(INSIDE.astype(np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it has no bytes"),
        (b"mask", "neither JPEG"),
        (jpeg(), "it is JPEG, not PNG"),
        (png(Image.fromarray(INSIDE))[:20], "cut short"),
        (png(Image.fromarray(INSIDE))[:45], "."),
        (claims(100_000, 100_000), r"declares 100000 x 100000 pixels, more than limits.max_pixels"),
        (claims(0, 3), "."),
        (deep(2, 0, 0, 1), "16 bits a channel .* save it as grey, or with 8 bits"),
        (deep(4, 1, 0xFFFF), "16 bits a channel .* save it as grey, or with 8 bits"),
        (deep(6, 0, 1, 0, 0xFFFF), "16 bits a channel .* save it as grey, or with 8 bits"),
    ],
    ids=[
        "empty",
        "no image",
        "JPEG",
        "header cut",
        "data cut",
        "bomb",
        "no pixels",
        "deep colours",
        "deep grey with alpha",
        "deep colours with alpha",
    ],
)
def test_what_is_no_mask_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode_mask(data, 1000)
