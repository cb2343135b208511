from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from transforms.formats.images.decoding import InputDecoder
from transforms.formats.images.files.exif import orientation
from transforms.formats.images.files.headers import image_kind, read_header
from transforms.formats.source import InputSpec

COLOR = np.random.default_rng(5).integers(0, 256, (6, 9, 3), np.uint8)
GREY = COLOR[..., 0]


def encoded(pixels: npt.NDArray[Any], kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def decode(data: bytes, channels: int = 3, **keys: Any) -> npt.NDArray[np.float32]:
    spec = InputSpec("image", (6, 9, channels), resize="none", **keys)
    (decoded,), (fault,) = InputDecoder(spec).decode([data])
    assert fault is None, str(fault)
    found: npt.NDArray[np.float32] = decoded
    return found


def fault_of(data: bytes, **keys: Any) -> str:
    decoded, (fault,) = InputDecoder(InputSpec("image", (6, 9, 3), **keys)).decode([data])
    assert not decoded.any()
    assert fault is not None
    return f"{fault.error}: {fault}"


LOSSLESS = [
    encoded(COLOR, "WebP", lossless=True),
    encoded(COLOR, "WebP", lossless=True, exif=Image.Exif()),
    encoded(COLOR, "TIFF"),
    encoded(COLOR, "TIFF", compression="tiff_lzw"),
    encoded(COLOR, "TIFF", compression="tiff_adobe_deflate"),
    encoded(COLOR, "TIFF", big_tiff=False),
]


@pytest.mark.parametrize("data", LOSSLESS)
@pytest.mark.parametrize("decoder", ["tensorflow", "pillow"])
def test_lossless_ones_are_exact(data: bytes, decoder: Any) -> None:
    np.testing.assert_array_equal(decode(data, decoder=decoder), COLOR)
    header = read_header(data)
    assert (header.kind, header.height, header.width) == (image_kind(data), 6, 9)


def test_lossy_webp_is_what_pillow_decodes() -> None:
    data = encoded(COLOR, "WebP", quality=80)
    assert (read_header(data).height, read_header(data).width) == (6, 9)
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


def test_an_animation_gives_its_first_frame() -> None:
    stream = io.BytesIO()
    other = [Image.fromarray(255 - COLOR)] * 3
    Image.fromarray(COLOR).save(stream, "WebP", save_all=True, append_images=other, lossless=True)
    np.testing.assert_array_equal(decode(stream.getvalue()), COLOR)
    stream = io.BytesIO()
    Image.fromarray(COLOR).save(stream, "TIFF", save_all=True, append_images=other)
    np.testing.assert_array_equal(decode(stream.getvalue()), COLOR)


def test_grey_alpha_palette_and_bits() -> None:
    np.testing.assert_array_equal(decode(encoded(GREY, "TIFF"), 1)[..., 0], GREY)
    alpha = np.dstack([COLOR, GREY])
    for kind, options in (("TIFF", {}), ("WebP", {"lossless": True, "exact": True})):
        np.testing.assert_array_equal(decode(encoded(alpha, kind, **options), 4), alpha)
        np.testing.assert_array_equal(decode(encoded(alpha, kind, **options), 3), COLOR)
    palette = Image.fromarray(COLOR).quantize(54)
    stream = io.BytesIO()
    palette.save(stream, "TIFF")
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(decode(stream.getvalue()), expected)
    black_and_white = Image.fromarray(GREY > 127)
    stream = io.BytesIO()
    black_and_white.save(stream, "TIFF")
    np.testing.assert_array_equal(decode(stream.getvalue(), 1)[..., 0], (GREY > 127) * 255.0)
    deep = GREY.astype(np.uint16) * 257 + 1
    np.testing.assert_allclose(decode(encoded(deep, "TIFF"), 1)[..., 0], deep / 257, rtol=1e-6)


def test_tiff_of_other_numbers_is_refused() -> None:
    floats = GREY.astype(np.float32)
    assert "a TIFF of 32 bits in each of 1 channels; save it as PNG" in fault_of(
        encoded(floats, "TIFF")
    )


@pytest.mark.parametrize("kind", ["WebP", "TIFF", "PNG", "JPEG"])
@pytest.mark.parametrize("number", [1, 3, 6, 8])
def test_orientations_are_read(kind: str, number: int) -> None:
    exif = Image.Exif()
    exif[274] = number
    data = encoded(COLOR, kind, exif=exif)
    found = image_kind(data)
    assert found is not None
    assert orientation(data, found) == number


def test_what_is_no_orientation_turns_nothing() -> None:
    exif = Image.Exif()
    exif[274] = 9
    data = encoded(COLOR, "JPEG", exif=exif)
    assert orientation(data, "JPEG") == 1
    for place in range(2, 60):  # cut or damaged, it is not lost
        orientation(data[:place], "JPEG")
    damaged = data.replace(b"II*\0", b"XX*\0").replace(b"MM\0*", b"XX\0*")
    assert orientation(damaged, "JPEG") == 1


@pytest.mark.parametrize("number", [3, 6])
def test_a_tiff_is_as_it_is_stored_unless_turned(number: int) -> None:
    exif = Image.Exif()
    exif[274] = number
    data = encoded(COLOR, "TIFF", exif=exif)
    for decoder in ("tensorflow", "pillow"):
        np.testing.assert_array_equal(decode(data, decoder=decoder), COLOR)


def test_claims_are_refused_before_decoding() -> None:
    data = bytearray(encoded(COLOR, "TIFF"))
    for tag in (256, 257):  # width, height
        place = data.index(struct.pack("<HHI", tag, 4, 1)) + 8
        struct.pack_into("<I", data, place, 1 << 17)
    assert "declares 131072 x 131072 pixels, more than limits.max_pixels" in fault_of(bytes(data))

    canvas = b"VP8X" + struct.pack("<IB", 10, 0) + bytes(3) + b"\xff\xff\xff\xff\xff\xff"
    bomb = b"RIFF" + struct.pack("<I", 22) + b"WEBP" + canvas
    assert "declares 16777216 x 16777216 pixels" in fault_of(bomb)


def test_tiles_count_as_a_whole() -> None:
    fields = [
        (256, 9), (257, 6), (258, 8), (259, 1), (262, 1), (277, 1), (322, 65520), (323, 65520),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    data = b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4)
    assert "declares 6 x 9 pixels in tiles of more, more than limits.max_pixels" in fault_of(data)


def test_damage_is_a_fault() -> None:
    for data in LOSSLESS:
        for place in range(0, len(data), 7):
            _, (fault,) = InputDecoder(InputSpec("image", (6, 9, 3))).decode([data[:place]])
            assert fault is None or fault.stage == "decode"
        assert fault_of(data[: len(data) // 2]).startswith("UndecodableImage")
