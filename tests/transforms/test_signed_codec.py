"""Maps with a sign: what is stored of them, and that the device stores the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.codec import SMALLEST_NORMAL, StoredCodec, decode, encode, stored_codec
from transforms.saliency.quantize import quantize

Maps = npt.NDArray[np.float32]
SIGNED: tuple[StoredCodec, ...] = ("int8", "float16", "float32")
LARGEST = float(np.finfo(np.float32).max)

signed_maps = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=5),
    elements=st.floats(-LARGEST, LARGEST, width=32) | st.floats(-1, 1, width=32),
)


def test_int8_codes_are_rounded_square_roots_with_the_sign() -> None:
    codes, scales = encode(np.array([[-16, 4, -1, 0]], np.float32), "int8", signed=True)
    # 127 * sqrt(4 / 16) = 63.5 (to even), 127 * sqrt(1 / 16) = 31.75.
    np.testing.assert_array_equal(codes, [[-127, 64, -32, 0]])
    assert codes.dtype == np.int8
    np.testing.assert_array_equal(scales, [16])
    expected = [[-16, (64 / 127) ** 2 * 16, -((32 / 127) ** 2) * 16, 0]]
    np.testing.assert_allclose(decode(codes, scales), expected, rtol=1e-6)


@given(signed_maps)
def test_int8_error_is_at_most_half_a_level(maps: Maps) -> None:
    codes, scales = encode(maps, "int8", signed=True)
    values = np.where(np.abs(maps) < SMALLEST_NORMAL, 0, maps).astype(np.float64)
    maxima = np.abs(values).reshape(len(maps), -1).max(axis=1)
    np.testing.assert_array_equal(scales, maxima)
    shares = values / np.where(maxima > 0, maxima, 1).reshape(-1, *[1] * (maps.ndim - 1))
    error = np.abs(codes / 127 - np.sign(shares) * np.sqrt(np.abs(shares)))
    assert error.max() <= 0.5 / 127 + 1e-7


@given(signed_maps)
def test_signs_are_kept_and_there_is_no_negative_zero(maps: Maps) -> None:
    for codec in SIGNED:
        codes, scales = encode(maps, codec, signed=True)
        decoded = decode(codes, scales)
        assert (decoded * np.sign(maps) >= 0).all()
        assert not np.signbit(codes[codes == 0].astype(np.float32)).any()
        again, scales_again = encode(-maps, codec, signed=True)
        np.testing.assert_array_equal(again, -codes)
        np.testing.assert_array_equal(scales_again, scales)


@given(signed_maps)
def test_float32_keeps_its_precision(maps: Maps) -> None:
    codes, scales = encode(maps, "float32", signed=True)
    normal = np.where(np.abs(maps) < SMALLEST_NORMAL, 0, maps)
    largest = np.abs(normal).max(initial=0)
    np.testing.assert_allclose(decode(codes, scales), normal, rtol=3e-7, atol=largest * 2e-38)


@pytest.mark.parametrize("codec", SIGNED)
def test_the_device_stores_the_same(codec: StoredCodec) -> None:
    generator = np.random.default_rng(2)
    maps = (generator.normal(size=(4, 16, 13)) * generator.lognormal(0, 3, (4, 16, 13))).astype(
        np.float32
    )
    maps[1], maps[2] = 0, maps[2] * 1e-37
    codes, scales = quantize(tf.constant(maps), codec, signed=True)
    expected, expected_scales = encode(maps, codec, signed=True)
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(scales, expected_scales)
    assert (expected < 0).any()


def test_codecs_of_the_other_kind_are_refused() -> None:
    maps = np.ones((1, 2), np.float32)
    assert [stored_codec("uint8", signed=each) for each in (False, True)] == ["uint8", "int8"]
    with pytest.raises(ValueError, match="codec 'uint8' cannot hold maps with a sign"):
        encode(maps, "uint8", signed=True)
    with pytest.raises(ValueError, match="codec 'int8' cannot hold maps without a sign"):
        quantize(tf.constant(maps), "int8")
