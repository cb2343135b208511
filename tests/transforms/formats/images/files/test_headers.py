from __future__ import annotations

import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from transforms.formats.images.files.headers import (
    ImageHeader,
    first_frame,
    image_kind,
    jpeg_scans,
    read_header,
)

PIXELS = np.zeros((5, 7, 3), np.uint8)


def jpeg(**options: object) -> bytes:
    return bytes(tf.io.encode_jpeg(PIXELS, **options).numpy())


def png(dtype: type) -> bytes:
    return bytes(tf.io.encode_png(PIXELS.astype(dtype)).numpy())


def bmp(*, size: int = 40, depth: int = 24, compression: int = 0, palette: bytes = b"") -> bytes:
    offset = 14 + 40 + len(palette)
    head = struct.pack("<2sIHHI", b"BM", 0, 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", size, 7, -5, 1, depth, compression, 0, 0, 0, 0, 0)
    return head + info + palette + bytes(7 * 5 * 4)


def gif_frame(left: int = 0, top: int = 0) -> bytes:
    return struct.pack("<BHHHHB", 0x2C, left, top, 7, 5, 0) + b"\x07" + b"\x02\x80\x81" + b"\x00"


def gif(*frames: bytes) -> bytes:
    screen = struct.pack("<6sHHBBB", b"GIF89a", 7, 5, 0xF0, 0, 0) + bytes(6)
    comment = b"\x21\xfe\x03abc\x00"
    return screen + comment + b"".join(frames) + b";"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (jpeg(), ImageHeader("JPEG", 5, 7, components=3)),
        (jpeg(progressive=True), ImageHeader("JPEG", 5, 7, components=3, progressive=True)),
        (png(np.uint8), ImageHeader("PNG", 5, 7)),
        (png(np.uint16), ImageHeader("PNG", 5, 7, sixteen_bit=True)),
        (bmp(), ImageHeader("BMP", 5, 7)),
        (bmp(depth=32, compression=3), ImageHeader("BMP", 5, 7)),
        (gif(gif_frame()), ImageHeader("GIF", 5, 7)),
        (gif(gif_frame(left=2, top=1)), ImageHeader("GIF", 6, 9)),
    ],
)
def test_declared_size(data: bytes, expected: ImageHeader) -> None:
    assert read_header(data) == expected


def test_jpeg_segments_before_the_size_are_passed_over() -> None:
    plain = jpeg()
    comment = b"\xff\xfe" + struct.pack(">H", 6) + b"\xff\xc0\xff\xc0"
    huffman_table = b"\xff\xc4" + struct.pack(">H", 8) + bytes(6)
    padding = b"\xff\xff\xff"
    longer = plain[:2] + comment + huffman_table + padding + plain[2:]
    assert read_header(longer) == read_header(plain)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it has no bytes"),
        (b"RIFF\0\0\0\0WAVE", "neither JPEG, PNG, GIF, BMP, WebP nor TIFF .first bytes: 52 49 46"),
        (b"RIFF\0\0\0\0WEBP", "WebP header is cut short"),
        (b"RIFF\0\0\0\0WEBPALPH" + bytes(20), "first WebP chunk is b'ALPH'"),
        (b"II*\0\x08\0\0\0", "TIFF header is cut short"),
        (b"II*\0\x08\0\0\0" + bytes(2), "TIFF header declares no size"),
        (jpeg()[:100], "JPEG header is cut short"),
        (b"\xff\xd8\xff\xd9", "declares no size"),
        (png(np.uint8)[:20], "PNG header is cut short"),
        (bmp()[:30], "BMP header is cut short"),
        (gif(gif_frame())[:15], "GIF header is cut short"),
        (gif(), "it has no frame"),
        (bmp(size=12), "OS/2 header"),
        (bmp(compression=1), "compressed BMP"),
        (bmp()[:18] + struct.pack("<i", -7) + bmp()[22:], "a width of -7"),
        (bmp(depth=8, palette=bytes([0, 0, 0, 0, 255, 0, 0, 0])), "BMP with a colour palette"),
        (bmp(depth=1, palette=bytes([0, 0, 0, 0, 1, 1, 1, 0])), "BMP with a colour palette"),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_header(data)


def test_a_grey_palette_is_no_colour_palette() -> None:
    palette = b"".join(bytes([level, level, level, 0]) for level in range(256))
    assert read_header(bmp(depth=8, palette=palette)) == ImageHeader("BMP", 5, 7)


def test_first_frame_cuts_an_animation() -> None:
    animation = gif(gif_frame(), gif_frame(), gif_frame())
    assert first_frame(animation) == gif(gif_frame())
    with pytest.raises(ValueError, match="cut short"):
        first_frame(gif(gif_frame())[:-3])


def test_kind_is_by_content() -> None:
    assert image_kind(jpeg()) == "JPEG"
    assert image_kind(b"GIF87a") == "GIF"
    assert image_kind(b"GIF") is None


@given(st.sampled_from([jpeg(), png(np.uint8), bmp(), gif(gif_frame())]), st.data())
def test_damage_is_a_value_error_or_a_header(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for position in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=3)):
        if damaged:
            damaged[position] = data.draw(st.integers(0, 255))
    try:
        header = read_header(bytes(damaged))
        if header.kind == "GIF":
            first_frame(bytes(damaged))
    except ValueError:
        pass


def test_scans_and_end_marks_of_jpegs() -> None:
    assert jpeg_scans(jpeg()) == (1, True)
    assert jpeg_scans(jpeg(progressive=True)) == (10, True)
    assert jpeg_scans(jpeg()[:-2]) == (1, False)
    assert jpeg_scans(jpeg(progressive=True)[:-2]) == (10, False)
    with pytest.raises(IndexError):
        jpeg_scans(jpeg()[:100])
