from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.codec import CODECS, SMALLEST_NORMAL, CodecName, decode, encode

Maps = npt.NDArray[np.float32]

LARGEST = float(np.finfo(np.float32).max)

maps_of_any_size = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5),
    elements=st.floats(0, LARGEST, width=32) | st.floats(0, 1, width=32),
)


def fractions_of_maximum(maps: Maps) -> npt.NDArray[np.float64]:
    """A / max A in float64, subnormal values taken as zero."""
    values = np.where(maps < SMALLEST_NORMAL, 0, maps).astype(np.float64)
    maxima = values.max(axis=tuple(range(1, maps.ndim)), keepdims=True)
    return np.asarray(values / np.where(maxima > 0, maxima, 1))


def test_uint8_codes_are_rounded_square_roots() -> None:
    maps = np.array([[[0, 1], [4, 16]], [[8, 8], [8, 2]]], np.float32)
    codes, scales = encode(maps, "uint8")
    # 255 * sqrt(1 / 16) = 63.75, 255 * sqrt(4 / 16) = 127.5 (to even), 255 * sqrt(2 / 8) likewise.
    np.testing.assert_array_equal(codes, [[[0, 64], [128, 255]], [[255, 255], [255, 128]]])
    np.testing.assert_array_equal(scales, [16, 8])
    np.testing.assert_allclose(decode(codes, scales)[0, 0, 1], (64 / 255) ** 2 * 16, rtol=1e-6)


@pytest.mark.parametrize("codec", CODECS)
def test_codes_have_the_codecs_dtype_and_the_maps_shape(codec: CodecName) -> None:
    codes, scales = encode(np.ones((2, 3, 4, 5), np.float32), codec)
    assert (codes.dtype, codes.shape) == (np.dtype(codec), (2, 3, 4, 5))
    assert (scales.dtype, scales.shape) == (np.dtype("float32"), (2,))
    assert decode(codes, scales).dtype == np.float32


@given(maps_of_any_size)
def test_uint8_error_is_at_most_half_a_level(maps: Maps) -> None:
    codes, scales = encode(maps, "uint8")
    error = np.abs(codes / 255 - np.sqrt(fractions_of_maximum(maps)))
    assert error.max() <= 0.5 / 255 + 1e-7
    np.testing.assert_array_equal(
        scales, np.where(maps < SMALLEST_NORMAL, 0, maps).reshape(len(maps), -1).max(axis=1)
    )


@given(maps_of_any_size)
def test_float_codes_keep_their_precision(maps: Maps) -> None:
    exact = fractions_of_maximum(maps)
    for codec, relative, smallest in (("float16", 2**-11, 2**-25), ("float32", 2**-24, 2**-126)):
        codes, _ = encode(maps, codec)  # type: ignore[arg-type]
        error = np.abs(codes.astype(np.float64) - exact)
        assert (error <= np.maximum(exact * relative * 1.001, smallest)).all()


@given(maps_of_any_size)
def test_decoded_uint8_maps_encode_to_the_same_codes(maps: Maps) -> None:
    codes, scales = encode(maps, "uint8")
    decoded = decode(codes, scales)
    # Below 2**-110 the first level's value, 2**-16 of the maximum, is subnormal and so zero.
    kept = (scales == 0) | (scales >= 2.0**-110)
    again, scales_again = encode(decoded[kept], "uint8")
    np.testing.assert_array_equal(again, codes[kept])
    np.testing.assert_array_equal(scales_again, scales[kept])


@given(maps_of_any_size)
def test_decoding_gives_value_times_scale(maps: Maps) -> None:
    for codec in CODECS:
        codes, scales = encode(maps, codec)
        values: Any = codes.astype(np.float64)
        if codec == "uint8":
            values = (values / 255) ** 2
        expected = values * scales.astype(np.float64).reshape(-1, *[1] * (maps.ndim - 1))
        np.testing.assert_allclose(decode(codes, scales), expected, rtol=3e-7, atol=2.0**-149)


@pytest.mark.parametrize("codec", CODECS)
def test_maps_without_a_normal_value_are_zero(codec: CodecName) -> None:
    maps = np.zeros((2, 3, 3), np.float32)
    maps[1, 0, 0] = 1e-40
    codes, scales = encode(maps, codec)
    assert not codes.any()
    assert not scales.any()
    assert not decode(codes, scales).any()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("value", [1e-45, float(SMALLEST_NORMAL), 1.0, LARGEST])
def test_one_pixel(codec: CodecName, value: float) -> None:
    maps = np.full((1, 1, 1), value, np.float32)
    expected = maps if value >= SMALLEST_NORMAL else np.zeros_like(maps)
    np.testing.assert_array_equal(decode(*encode(maps, codec)), expected)


def test_no_maps() -> None:
    codes, scales = encode(np.zeros((0, 4, 4), np.float32), "uint8")
    assert codes.shape == (0, 4, 4)
    assert decode(codes, scales).shape == (0, 4, 4)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_unfit_values_are_refused_by_map(value: float) -> None:
    maps = np.ones((3, 2, 2), np.float32)
    maps[1, 0, 1] = value
    with pytest.raises(ValueError, match="map 1 has negative or non-finite values"):
        encode(maps, "uint8")


def test_unknown_codecs_are_refused() -> None:
    maps = np.ones((1, 2), np.float32)
    with pytest.raises(ValueError, match="uint8, int8, float16, float32, not 'uint16'"):
        encode(maps, "uint16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not int32"):
        decode(np.ones((1, 2), np.int32), np.ones(1, np.float32))
    with pytest.raises(ValueError, match="float32, not"):
        encode(np.ones((1, 2)), "uint8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="as many scales"):
        decode(np.ones((2, 2), np.uint8), np.ones(1, np.float32))
