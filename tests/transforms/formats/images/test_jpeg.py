"""JPEGs decoded outside TensorFlow: its pixels and Pillow's, and libjpeg's warnings beside them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
import tensorflow as tf
from PIL import Image

from transforms.formats.images import decoding
from transforms.formats.images.decoding import InputDecoder
from transforms.formats.images.files.headers import jpeg_is_complete, read_header
from transforms.formats.source import InputSpec

RANDOM = np.random.default_rng(5)
HEIGHT, WIDTH = 37, 50
_ROWS, _COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
PHOTOGRAPH = np.stack(
    [127 + 90 * np.sin(_COLUMNS / 6 + shift) * np.cos(_ROWS / 9) for shift in range(3)], axis=-1
)
PHOTOGRAPH = (PHOTOGRAPH + RANDOM.normal(0, 10, PHOTOGRAPH.shape)).clip(0, 255).astype(np.uint8)
FITS: dict[str, dict[str, Any]] = {
    "stretch": {},
    "crop": {"crop": 0.8, "resize": "bicubic", "antialias": True},
    "pad": {"fit": "pad", "resize": "area"},
    "shorter side": {"fit": "shorter_side", "crop": 0.875},
}


def jpeg(mode: str = "RGB", quality: int = 85, **options: Any) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(PHOTOGRAPH).convert(mode).save(sink, "JPEG", quality=quality, **options)
    return sink.getvalue()


def variants() -> list[bytes]:
    kinds: list[dict[str, Any]] = [{"subsampling": each} for each in range(3)]
    kinds += [{"progressive": True}, {"restart_marker_blocks": 2}, {"keep_rgb": True}]
    rare = [simplejpeg.encode_jpeg(PHOTOGRAPH, 85, "RGB", each) for each in ("440", "411")]
    return rare + [jpeg(mode, **kind) for kind in kinds for mode in ("RGB", "L")]


def flipped(count: int) -> list[bytes]:
    """JPEGs of several kinds, each with one bit of its file flipped."""
    wholes = [jpeg(), jpeg(progressive=True), jpeg("L"), jpeg("CMYK")]
    damaged = []
    for number in range(count):
        data = bytearray(wholes[number % len(wholes)])
        place = int(RANDOM.integers(8 * len(data)))
        data[place // 8] ^= 1 << place % 8
        damaged.append(bytes(data))
    return damaged


def without_last_scans(scans: int) -> bytes:
    whole = jpeg(progressive=True)
    starts = [place for place in range(len(whole)) if whole[place : place + 2] == b"\xff\xda"]
    return whole[: starts[scans]] + b"\xff\xd9"


def of_rare_sampling() -> bytes:
    """A sound JPEG of 16 x 16 grey pixels, of which Cr has twice as many columns as Cb."""
    sink = io.BytesIO()
    Image.new("RGB", (16, 16), (128, 128, 128)).save(sink, "JPEG", subsampling=0)
    data = sink.getvalue()
    frame = data.index(b"\xff\xc0")
    factors = bytearray(data)
    factors[frame + 11 : frame + 20 : 3] = b"\x22\x11\x21"
    scan = data.index(b"\xff\xda") + 14
    # Of the usual codes: 4 blocks of luma, 3 of chroma, each no difference and an end; padding.
    blocks = int("001010" * 4 + "0000" * 3 + "1111", 2).to_bytes(5, "big")
    return bytes(factors[:scan]) + blocks + b"\xff\xd9"


def strict_warning(data: bytes) -> bool:
    """Whether simplejpeg by itself finds anything to say of a JPEG."""
    colors = {1: "GRAY", 3: "RGB", 4: "CMYK"}[read_header(data).components]
    try:
        simplejpeg.decode_jpeg(data, colors, strict=True)
    except ValueError:
        return True
    return False


def of_tensorflow(data: bytes) -> npt.NDArray[np.uint8] | None:
    try:
        pixels: npt.NDArray[np.uint8] = tf.io.decode_jpeg(data, channels=3).numpy()
    except tf.errors.InvalidArgumentError:
        return None
    return pixels


def test_pixels_are_tensorflows() -> None:
    images = variants()
    found = InputDecoder(InputSpec("image", (HEIGHT, WIDTH, 3))).decode_batch(images)
    assert found.faults == [None] * len(images)
    assert found.warnings == [None] * len(images)
    assert found.sizes.tolist() == [[HEIGHT, WIDTH]] * len(images)
    for data, values in zip(images, found.values, strict=True):
        np.testing.assert_array_equal(values, of_tensorflow(data))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("channels", [1, 3])
def test_fitted_pixels_are_those_of_tensorflows_decoder(fit: str, channels: int) -> None:
    decoder = InputDecoder(InputSpec("image", (16, 24, channels), **FITS[fit]))
    images = variants()
    found = decoder.decode_batch(images)
    assert found.faults == [None] * len(images)
    claimed = decoder._claims.of_batch(images)
    assert claimed.is_plain.all()
    expected = decoder._graphs.of_files(
        images, claimed.sixteen_bit, claimed.steps_of(np.arange(len(images)))
    )
    np.testing.assert_array_equal(found.values, expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_pillows_where_those_are_asked_for(channels: int) -> None:
    spec = InputSpec("image", (HEIGHT, WIDTH, channels), decoder="pillow")
    images = variants()
    found = InputDecoder(spec).decode_batch(images)
    assert found.faults == [None] * len(images)
    assert found.warnings == [None] * len(images)
    for data, values in zip(images, found.values, strict=True):
        image = Image.open(io.BytesIO(data)).convert("RGB" if channels == 3 else "L")
        np.testing.assert_array_equal(values, np.asarray(image).reshape(values.shape))


@pytest.mark.parametrize("decoder", ["tensorflow", "pillow"])
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH, 3), (16, 16, 1)])
def test_warnings_are_told_and_change_neither_pixels_nor_faults(
    decoder: Any, shape: tuple[int, int, int]
) -> None:
    images = flipped(96)
    spec = InputSpec("image", shape, decoder=decoder)
    found = InputDecoder(spec, threads=2).decode_batch(images)
    told = 0
    for data, values, fault, warning in zip(
        images, found.values, found.faults, found.warnings, strict=True
    ):
        if fault is not None:
            assert warning is None
            assert not values.any()
            continue
        assert (warning is not None) == strict_warning(data)
        told += warning is not None
        if decoder == "tensorflow" and shape[2] == 3:
            np.testing.assert_array_equal(values, of_tensorflow(data))
    assert 5 < told < 60
    assert any(fault is not None for fault in found.faults)
    if decoder == "tensorflow":
        accepted = [of_tensorflow(data) is not None for data in images]
        refused = {"TruncatedImage", "TooManyScans", "WrongShape"}
        for fault, accept in zip(found.faults, accepted, strict=True):
            assert (fault is None) == accept or (fault is not None and fault.error in refused)


def test_a_warning_is_libjpegs_own() -> None:
    whole = jpeg()
    cut = whole[: len(whole) * 3 // 4] + b"\xff\xd9"
    found = InputDecoder(InputSpec("image", (8, 8, 3))).decode_batch([whole, cut, b"no image"])
    assert found.warnings == [None, "Corrupt JPEG data: premature end of data segment", None]
    assert found.sizes.tolist() == [[HEIGHT, WIDTH], [HEIGHT, WIDTH], [0, 0]]


@pytest.mark.parametrize("scans", [1, 2, 5, 8])
def test_what_libjpeg_makes_up_is_left_to_tensorflow(scans: int) -> None:
    data = without_last_scans(scans)
    assert not jpeg_is_complete(data)
    found = InputDecoder(InputSpec("image", (HEIGHT, WIDTH, 3))).decode_batch([data])
    np.testing.assert_array_equal(found.values[0], of_tensorflow(data))
    assert found.warnings == [None]


def test_complete_is_what_holds_all_bits() -> None:
    assert all(map(jpeg_is_complete, variants()))
    whole = jpeg(progressive=True)
    assert not any(jpeg_is_complete(whole[:cut]) for cut in range(0, whole.index(b"\xff\xda"), 7))


@pytest.mark.parametrize("orientation", ["stored", "exif"])
def test_wherever_a_jpeg_is_cut_it_is_a_fault(orientation: Any) -> None:
    whole = jpeg(progressive=True)
    head = whole.index(b"\xff\xda") + 20
    found = InputDecoder(InputSpec("image", (8, 8, 3), orientation=orientation)).decode_batch(
        [whole[:cut] for cut in range(head)]
    )
    assert all(fault is not None for fault in found.faults)


def test_what_pillow_does_not_know_is_the_same_fault_each_time() -> None:
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 4] = 12  # bits
    decoder = InputDecoder(InputSpec("image", (8, 8, 3), decoder="pillow"))
    faults = [str(decoder.decode([bytes(data)])[1][0]) for _ in range(2)]
    assert faults == ["the image cannot be decoded: Pillow makes out no JPEG in it"] * 2


@pytest.mark.parametrize("decoder", ["tensorflow", "pillow"])
@pytest.mark.parametrize("side", [8, 16])
def test_a_rare_sampling_is_no_damage(decoder: Any, side: int) -> None:
    data = of_rare_sampling()
    assert strict_warning(data)  # The interface to libjpeg refuses what libjpeg decodes.
    found = InputDecoder(InputSpec("image", (side, side, 3), decoder=decoder)).decode_batch([data])
    assert (found.faults, found.warnings) == ([None], [None])
    np.testing.assert_array_equal(found.values, np.full((1, side, side, 3), 128))


def test_threads_hold_few_pixels_of_jpegs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images = variants()
    decoder = InputDecoder(InputSpec("image", (8, 8, 3)), threads=1)
    expected = decoder.decode_batch(images)
    most = 3 * HEIGHT * WIDTH
    monkeypatch.setattr(decoding, "_LARGE_PIXELS", most)
    counts: list[int] = []
    fit_jpegs = InputDecoder._fit_jpegs

    def counted(self: InputDecoder, batch: Any, rows: Any, decoded: Any) -> Any:
        counts.append(int(batch.pixels[rows].sum()))
        return fit_jpegs(self, batch, rows, decoded)

    monkeypatch.setattr(InputDecoder, "_fit_jpegs", counted)
    found = decoder.decode_batch(images)
    assert max(counts) == most
    assert sum(counts) == len(images) * HEIGHT * WIDTH
    np.testing.assert_array_equal(found.values, expected.values)


def test_memory_at_which_nobody_looks_is_written_over() -> None:
    spec = InputSpec("image", (HEIGHT, WIDTH, 3))
    decoder = InputDecoder(spec)
    images = [jpeg(), jpeg(quality=50), b"no image", jpeg("L"), jpeg(quality=30)]
    first = decoder.decode_batch(images[:2]).values
    seen = first.copy()
    assert not np.shares_memory(decoder.decode_batch(images[:2]).values, first)
    np.testing.assert_array_equal(first, seen)
    decoder.reuse(first)
    fresh = InputDecoder(spec).decode_batch(images).values
    again = decoder.decode_batch(images[1:2]).values
    assert np.shares_memory(again, first)
    np.testing.assert_array_equal(again, fresh[1:2].astype(np.uint8))
    decoder.reuse(again)
    both = decoder.decode_batch(images[2:0:-1]).values  # one of which is nothing, where one was
    assert np.shares_memory(both, first)
    np.testing.assert_array_equal(both, fresh[2:0:-1])
    decoder.reuse(both)
    more = decoder.decode_batch(images)  # more than there is memory for
    np.testing.assert_array_equal(more.values, fresh)
    assert not np.shares_memory(more.values, first)


def test_memory_of_other_numbers_is_no_memory_for_pixels() -> None:
    fitted = InputDecoder(InputSpec("image", (16, 16, 3)))
    found = fitted.decode_batch([jpeg()] * 2).values
    assert found.dtype == np.float32
    fitted.reuse(found)
    raw = InputDecoder(InputSpec("tensor", (4, 4, 3), dtype="uint8"))
    one = raw.decode_batch([bytes(range(48))]).values
    raw.reuse(one)
    other = raw.decode_batch([bytes(48)]).values
    np.testing.assert_array_equal(one.reshape(-1), np.arange(48))
    np.testing.assert_array_equal(fitted.decode_batch([jpeg()] * 2).values, found)
    assert not other.any()
