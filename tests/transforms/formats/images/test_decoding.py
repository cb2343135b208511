from __future__ import annotations

import base64
import dataclasses
import pickle
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import DataFault
from transforms.formats.images.decoding import InputDecoder
from transforms.formats.source import InputSpec

# 8 x 8 pixels of (200, 100, 50), stored as cyan, magenta, yellow and black.
CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcG"
    "BggLCAkKCgoKCgYICwwLCgwJCgoK/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAkH"
    "/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAA4EQwBNAFkASwAAPwBIEPGOfx//2Q=="
)

RANDOM = np.random.default_rng(3)
COLOR = RANDOM.integers(0, 256, (6, 8, 3), np.uint8)
GREY = RANDOM.integers(0, 256, (6, 8, 1), np.uint8)
ALPHA = RANDOM.integers(0, 256, (6, 8, 1), np.uint8)
LUMA = np.array([0.2989, 0.587, 0.114])


def png(pixels: npt.NDArray[Any]) -> bytes:
    return bytes(tf.io.encode_png(pixels).numpy())


def bmp(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A bottom-up BMP of (H, W, 3 or 4)."""
    height, width, channels = pixels.shape
    order = [2, 1, 0, 3][:channels]
    rows = [row[:, order].tobytes() for row in pixels[::-1]]
    body = b"".join(row + bytes(-len(row) % 4) for row in rows)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8 * channels, 0, len(body), 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 54 + len(body), 0, 0, 54) + info + body


def gif(*frames: npt.NDArray[np.uint8]) -> bytes:
    """A GIF of (H, W) indices below 128 into a palette of (index, 2 index, 255 - index)."""
    height, width = frames[0].shape
    palette = b"".join(bytes([i, 2 * i, 255 - i]) for i in range(128))
    parts = [struct.pack("<6sHHBBB", b"GIF89a", width, height, 0xF6, 0, 0), palette]
    for frame in frames:
        # Codes of 8 bits, kept from growing by a clear code (128) now and then.
        codes = b"".join(b"\x80" + frame.tobytes()[i : i + 100] for i in range(0, frame.size, 100))
        parts += [struct.pack("<BHHHHB", 0x2C, 0, 0, width, height, 0), b"\x07"]
        parts += [bytes([len(codes) + 1]), codes, b"\x81", b"\x00"]
    return b"".join(parts) + b";"


def decode(spec: InputSpec, *inputs: bytes, **options: Any) -> npt.NDArray[np.float32]:
    decoded, faults = InputDecoder(spec, **options).decode(inputs)
    assert faults == [None] * len(inputs)
    return decoded.astype(np.float32)


def fault_of(spec: InputSpec, data: bytes, **options: Any) -> DataFault:
    decoded, (fault,) = InputDecoder(spec, **options).decode([data])
    assert not decoded.any()
    assert fault is not None
    assert fault.stage == "decode"
    return fault


def exactly(channels: int) -> InputSpec:
    return InputSpec("image", (6, 8, channels), resize="none")


def with_alpha(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([pixels, ALPHA.astype(pixels.dtype)], axis=-1)


def test_lossless_kinds_are_exact() -> None:
    for data in (png(COLOR), bmp(COLOR), png(with_alpha(COLOR)), bmp(with_alpha(COLOR))):
        np.testing.assert_array_equal(decode(exactly(3), data)[0], COLOR)


def test_jpeg_is_what_tensorflow_decodes() -> None:
    encoded = tf.io.encode_jpeg(COLOR)
    expected = tf.io.decode_jpeg(encoded, channels=3).numpy()
    np.testing.assert_array_equal(decode(exactly(3), encoded.numpy())[0], expected)


@pytest.mark.parametrize("stored", ["grey", "grey and alpha", "color", "color and alpha"])
@pytest.mark.parametrize("wanted", [1, 3, 4])
def test_channels(stored: str, wanted: int) -> None:
    pixels = GREY if "grey" in stored else COLOR
    color = np.repeat(GREY, 3, axis=-1) if "grey" in stored else COLOR
    opaque = np.full_like(ALPHA, 255)
    expected: npt.NDArray[Any]
    if wanted == 1:
        expected = GREY if "grey" in stored else (COLOR @ LUMA)[..., np.newaxis]
    elif wanted == 3:
        expected = color
    else:
        expected = np.concatenate([color, ALPHA if "alpha" in stored else opaque], axis=-1)
    data = png(with_alpha(pixels) if "alpha" in stored else pixels)
    np.testing.assert_allclose(decode(exactly(wanted), data)[0], expected, atol=1e-4)


def test_images_that_need_no_fitting_are_what_the_compiled_function_gives() -> None:
    jpegs = [bytes(tf.io.encode_jpeg(pixels).numpy()) for pixels in (COLOR, GREY)]
    palette = gif(RANDOM.integers(0, 128, (6, 8), np.uint8))
    images = [*jpegs, png(COLOR), png(GREY), png(with_alpha(COLOR)), bmp(COLOR), palette]
    for channels in (1, 3, 4):
        whole = InputSpec("image", (6, 8, channels), crop=1.0)  # a crop is the compiled function's
        as_they_are = decode(exactly(channels), *images)
        np.testing.assert_array_equal(as_they_are, decode(whole, *images))
        assert as_they_are.any(axis=(1, 2, 3)).all()


def test_pixels_stay_bytes_unless_one_of_the_batch_has_to_be_fitted() -> None:
    spec = InputSpec("image", (6, 8, 3))
    images = [png(np.roll(COLOR, shift, 0)) for shift in range(9)]
    decoded, faults = InputDecoder(spec).decode([*images, b"no image"])
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded[:9], [np.roll(COLOR, shift, 0) for shift in range(9)])
    assert not decoded[9].any()
    assert [fault is None for fault in faults] == [True] * 9 + [False]
    for other in (png(COLOR[:3]), png(GREY)):
        fitted, _ = InputDecoder(spec).decode([*images, other])
        assert fitted.dtype == np.float32
        np.testing.assert_array_equal(fitted[:9], decoded[:9])
        np.testing.assert_array_equal(fitted[9], decode(spec, other)[0])


def test_an_image_that_breaks_off_leaves_those_decoded_with_it_as_they_are() -> None:
    images = [png(np.roll(COLOR, shift, 0)) for shift in range(8)]
    images[3] = images[3][:-20]
    decoded, faults = InputDecoder(exactly(3), threads=1).decode(images)
    assert [row for row, fault in enumerate(faults) if fault is not None] == [3]
    expected = [
        np.roll(COLOR, shift, 0) if shift != 3 else np.zeros_like(COLOR) for shift in range(8)
    ]
    np.testing.assert_array_equal(decoded, expected)


def test_sixteen_bits_are_rescaled_not_cut() -> None:
    deep = RANDOM.integers(0, 65536, (6, 8, 3), np.uint16)
    deep[0, 0] = (65535, 0, 128)
    decoded = decode(exactly(3), png(deep))[0]
    np.testing.assert_allclose(decoded, deep / 257.0, rtol=1e-6)
    assert decoded[0, 0].tolist() == pytest.approx([255.0, 0.0, 128 / 257])


def test_a_batch_may_mix_kinds_sizes_and_depths() -> None:
    deep = COLOR.astype(np.uint16) * 257
    mixed = [png(COLOR), png(deep), bmp(COLOR), tf.io.encode_jpeg(COLOR).numpy()] * 6
    decoder = InputDecoder(InputSpec("image", (4, 4, 3)))
    together, faults = decoder.decode(mixed)
    assert faults == [None] * 24
    for row, data in enumerate(mixed):
        np.testing.assert_array_equal(together[row], decoder.decode([data])[0][0])
    np.testing.assert_allclose(together[0], together[1], rtol=1e-5)


def test_gif_gives_its_first_frame() -> None:
    indices = RANDOM.integers(0, 128, (6, 8), np.uint8)
    expected = np.stack([indices, 2 * indices, 255 - indices], axis=-1)
    animation = gif(indices, indices // 2, indices // 3)
    for data in (gif(indices), animation, animation[:-10]):  # what follows does not matter
        np.testing.assert_array_equal(decode(exactly(3), data)[0], expected)


def test_cmyk_jpeg_is_converted() -> None:
    decoded = decode(InputSpec("image", (8, 8, 3), resize="none"), CMYK_JPEG)[0]
    np.testing.assert_allclose(decoded, np.broadcast_to((200, 100, 50), (8, 8, 3)), atol=2)


def test_resize_methods() -> None:
    checks: npt.NDArray[Any] = np.zeros((12, 16, 3), np.uint8)
    checks[1::4] = 240  # one row of four
    area = decode(InputSpec("image", (3, 4, 3), resize="area"), png(checks))[0]
    np.testing.assert_allclose(area, 60.0)
    # Without antialiasing bilinear sees the two rows in the middle of each four only.
    bilinear = decode(InputSpec("image", (3, 4, 3), resize="bilinear"), png(checks))[0]
    np.testing.assert_allclose(bilinear, 120.0)
    bicubic = decode(InputSpec("image", (3, 4, 3), resize="bicubic"), png(checks))[0]
    assert 120 < bicubic.mean() < 150


def test_halving_by_bilinear_is_the_mean_of_four() -> None:
    pixels = RANDOM.integers(0, 256, (8, 12, 3), np.uint8)
    expected = pixels.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(decode(InputSpec("image", (4, 6, 3)), png(pixels))[0], expected)


def test_bicubic_stays_in_range() -> None:
    edge = np.zeros((6, 8, 3), np.uint8)
    edge[:, 4:] = 255
    decoded = decode(InputSpec("image", (24, 32, 3), resize="bicubic"), png(edge))[0]
    assert decoded.min() == 0
    assert decoded.max() == 255


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.05, 1.0))
@settings(max_examples=12, deadline=None)
def test_crop_keeps_the_centre(height: int, width: int, crop: float) -> None:
    pixels = np.arange(height * width, dtype=np.uint16).reshape(height, width, 1) * 257
    rows, columns = max(1, round(height * crop)), max(1, round(width * crop))
    top, left = (height - rows) // 2, (width - columns) // 2
    spec = InputSpec("image", (rows, columns, 1), resize="none", crop=crop)
    expected = (pixels[top : top + rows, left : left + columns] / 257.0).astype(np.float32)
    np.testing.assert_allclose(decode(spec, png(pixels))[0], expected, rtol=1e-6)


def test_boxes_follow_the_crop() -> None:
    boxes = np.array([[0, 0, 1, 1], [0.25, 0.5, 0.5, 0.75], [0, 0, 0.2, 0.2]], np.float32)
    image = png(np.zeros((12, 16, 3), np.uint8))
    cropped = InputDecoder(InputSpec("image", (4, 4, 3), crop=0.5)).placement(image).boxes(boxes)
    expected = np.array([[0, 0, 1, 1], [0, 0.5, 0.5, 1], [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(cropped, expected, atol=1e-6)
    assert cropped.dtype == np.float32
    uncropped = InputDecoder(InputSpec("image", (4, 4, 3))).placement(image).boxes(boxes)
    np.testing.assert_array_equal(uncropped, boxes)


def test_one_bad_image_costs_one_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever was in memory before, what cannot be decoded is zeros.
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float: np.full(shape, 77, dtype))
    good = png(COLOR)
    batch = [good] * 20
    batch[3], batch[11], batch[19] = good[:-20], b"text", tf.io.encode_jpeg(COLOR).numpy()[:-30]
    decoded, faults = InputDecoder(exactly(3)).decode(batch)
    bad = {row: fault.error for row, fault in enumerate(faults) if fault}
    assert bad == {3: "UndecodableImage", 11: "UndecodableImage", 19: "TruncatedImage"}
    for row in range(20):
        np.testing.assert_array_equal(decoded[row], np.zeros_like(COLOR) if row in bad else COLOR)
    assert str(faults[3]).startswith("the image cannot be decoded: Invalid PNG data")
    assert "Graph execution" not in str(faults[19])
    assert "neither JPEG, PNG, GIF, BMP, WebP nor TIFF (first bytes: 74 65 78 74)" in str(
        faults[11]
    )


def test_every_damaged_image_is_decoded_or_a_fault() -> None:
    random = np.random.default_rng(5)
    wholes = [png(COLOR), bmp(COLOR), gif(GREY[..., 0] // 2), tf.io.encode_jpeg(COLOR).numpy()]
    batch = []
    for whole in wholes:
        for _ in range(20):
            flipped = bytearray(whole)
            flipped[random.integers(len(flipped))] ^= int(random.integers(1, 256))
            batch += [bytes(flipped), whole[: random.integers(len(whole))]]
    decoded, faults = InputDecoder(InputSpec("image", (4, 4, 3))).decode(batch)
    assert np.isfinite(decoded).all()
    assert 80 <= sum(fault is not None for fault in faults) < len(batch)
    assert all(fault is not None for fault in faults[1::2])  # what is cut never passes


def test_too_many_pixels_are_refused_before_decoding() -> None:
    header = struct.pack(">4sIIBBBBB", b"IHDR", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    fault = fault_of(InputSpec("image", (4, 4, 3)), bomb)
    assert fault.error == "TooManyPixels"
    assert "declares 100000 x 100000 pixels, more than limits.max_pixels (67108864)" in str(fault)
    assert (
        fault_of(dataclasses.replace(exactly(3), max_pixels=47), png(COLOR)).error
        == "TooManyPixels"
    )
    decode(dataclasses.replace(exactly(3), max_pixels=48), png(COLOR))


def test_without_resizing_the_shape_must_be_right() -> None:
    fault = fault_of(InputSpec("image", (8, 6, 3), resize="none"), png(COLOR))
    assert fault.error == "WrongShape"
    assert "is 6 x 8 pixels, the model takes 8 x 6, and source.input.resize is 'none'" in str(fault)
    fault = fault_of(InputSpec("image", (6, 8, 3), resize="none", crop=0.5), png(COLOR))
    assert "is 3 x 4 pixels after the crop" in str(fault)


def test_raw_pixels_as_an_image_point_to_the_tensor_kind() -> None:
    fault = fault_of(exactly(3), COLOR.tobytes())
    assert fault.error == "UndecodableImage"
    assert "source.input.kind: tensor" in str(fault)


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "uint8", "int16", ">i2", "float16", "bool"]
)
def test_raw_tensors(dtype: str) -> None:
    spec = InputSpec("tensor", (2, 3), dtype=dtype)
    values = RANDOM.integers(0, 2, (4, 2, 3)).astype(spec.raw_dtype)
    inputs = [row.tobytes() for row in values]
    np.testing.assert_array_equal(decode(spec, *inputs), values.astype(np.float32))
    kept = np.uint8 if dtype == "uint8" else np.float32
    assert InputDecoder(spec).decode(inputs)[0].dtype == kept
    decoded, faults = InputDecoder(spec).decode([inputs[0][:-1], inputs[1]])
    assert faults[0] is not None
    assert faults[0].error == "WrongLength"
    assert faults[1] is None
    np.testing.assert_array_equal(decoded[1], values[1].astype(np.float32))


def test_numeric_rows() -> None:
    values = RANDOM.normal(size=(5, 6))
    decoded, faults = InputDecoder(InputSpec("tensor", (2, 3))).decode(values)
    assert faults == [None] * 5
    np.testing.assert_array_equal(decoded, values.reshape(5, 2, 3).astype(np.float32))
    with pytest.raises(ValueError, match=r"rows of \(6,\) are not inputs of \(5,\)"):
        InputDecoder(InputSpec("tensor", (5,))).decode(values)


def test_what_is_not_finite_is_a_fault() -> None:
    values = np.zeros((3, 2), np.float32)
    values[1, 0], values[2, 1] = np.nan, np.inf
    spec = InputSpec("tensor", (2,))
    for inputs in (values, [row.tobytes() for row in values]):
        decoded, faults = InputDecoder(spec).decode(inputs)
        assert [fault and fault.error for fault in faults] == [None, "NotFinite", "NotFinite"]
        assert not decoded.any()


def test_numeric_rows_of_pixels_are_cropped_like_images() -> None:
    spec = InputSpec("image", (6, 8, 3), crop=0.5)
    rows = COLOR.reshape(1, -1)
    decoded, faults = InputDecoder(spec).decode(rows)
    assert faults == [None]
    np.testing.assert_allclose(decoded, decode(spec, png(COLOR)), rtol=1e-6)
    whole, _ = InputDecoder(exactly(3)).decode(rows)
    np.testing.assert_array_equal(whole[0], COLOR)
    unresized = InputSpec("image", (6, 8, 3), resize="none", crop=0.5)
    _, (fault,) = InputDecoder(unresized).decode(rows)
    assert fault is not None
    assert fault.error == "WrongShape"


@pytest.mark.parametrize("inputs", [(), np.zeros((0, 48))])
def test_no_inputs(inputs: Any) -> None:
    decoded, faults = InputDecoder(InputSpec("image", (4, 4, 3), crop=0.5)).decode(inputs)
    assert decoded.shape == (0, 4, 4, 3)
    assert faults == []


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_pixels_costs_itself_alone(height: int, width: int) -> None:
    header = struct.pack(">4sIIBBBBB", b"IHDR", width, height, 8, 2, 0, 0, 0)
    empty = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    fault = fault_of(InputSpec("image", (5, 5, 3)), empty)
    assert fault.error == "UndecodableImage"
    assert f"it declares {height} x {width} pixels" in str(fault)


def test_threads_change_nothing() -> None:
    spec = InputSpec("image", (5, 5, 3), crop=0.9)
    images = [tf.io.encode_jpeg(np.roll(COLOR, i, axis=1)).numpy() for i in range(19)]
    one = decode(spec, *images, threads=1)
    for threads in (2, 7):
        np.testing.assert_array_equal(decode(spec, *images, threads=threads), one)


def test_a_fault_survives_pickling() -> None:
    fault = pickle.loads(pickle.dumps(fault_of(exactly(3), b"text")))  # noqa: S301 - our own
    assert (fault.stage, fault.error) == ("decode", "UndecodableImage")


def progressive_jpeg(last_scans: int = 1) -> bytes:
    """A progressive JPEG whose last scan is there so many times."""
    whole = bytes(tf.io.encode_jpeg(np.tile(COLOR, (8, 8, 1)), progressive=True).numpy())
    start = whole.rindex(b"\xff\xda")
    return whole[:start] + whole[start:-2] * last_scans + whole[-2:]


def test_a_jpeg_of_many_scans_is_refused() -> None:
    spec = InputSpec("image", (6, 8, 3))
    for repeated in (1, 23):  # with the 9 before it, 10 and 32
        decode(spec, progressive_jpeg(repeated))
    fault = fault_of(spec, progressive_jpeg(24))
    assert fault.error == "TooManyScans"
    assert str(fault) == "the JPEG has 33 scans, more than 32; encoders make about 10"


def test_a_jpeg_without_its_end_is_refused() -> None:
    spec = InputSpec("image", (6, 8, 3))
    whole = progressive_jpeg()
    preview = b"\xff\xe1" + struct.pack(">H", len(whole) + 2) + whole  # as cameras embed it
    assert fault_of(spec, whole[:2] + preview + whole[2:-2]).error == "TruncatedImage"
    for cut in (whole[:-2], whole[: len(whole) // 2]):
        fault = fault_of(spec, cut)
        assert fault.error == "TruncatedImage"
        assert str(fault) == "the JPEG has no end mark: it is cut short"
    np.testing.assert_array_equal(decode(spec, whole + b"trailer"), decode(spec, whole))


def test_large_images_decode_as_small_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = InputSpec("image", (4, 4, 3))
    images = [png(np.roll(COLOR, shift, 0)) for shift in range(5)] + [progressive_jpeg()]
    expected = decode(spec, *images)
    monkeypatch.setattr("transforms.formats.images.decoding._LARGE_PIXELS", 48)
    np.testing.assert_array_equal(decode(spec, *images), expected)
