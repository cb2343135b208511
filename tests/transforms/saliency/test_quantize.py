from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from transforms.codec import CODECS, SMALLEST_NORMAL, CodecName, encode
from transforms.saliency.quantize import quantize

SHAPES = [(4, 16, 13), (4, 9, 8, 3), (4, 50), (4, 1)]


def some_maps(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Four heavy-tailed maps: ordinary, all zero, tiny with subnormal pixels, huge."""
    generator = np.random.default_rng(7)
    maps = generator.lognormal(0, 3, shape)
    maps *= np.array([1, 0, 1e-36, 1e34]).reshape(-1, *[1] * (len(shape) - 1))
    return maps.astype(np.float32)


def run(maps: npt.NDArray[np.float32], codec: CodecName, jit_compile: bool) -> tuple[Any, Any]:
    compiled = tf.function(lambda batch: quantize(batch, codec), jit_compile=jit_compile)
    codes, scales = compiled(tf.constant(maps))
    return codes.numpy(), scales.numpy()


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("codec", CODECS)
def test_twin_of_the_codec(codec: CodecName, shape: tuple[int, ...], jit_compile: bool) -> None:
    maps = some_maps(shape)
    codes, scales = run(maps, codec, jit_compile)
    expected_codes, expected_scales = encode(maps, codec)
    assert codes.dtype == expected_codes.dtype
    np.testing.assert_array_equal(scales, expected_scales)
    if not tf.config.list_physical_devices("GPU"):
        np.testing.assert_array_equal(codes, expected_codes)
    elif codec == "uint8":
        # Accelerators may round division and root otherwise: then codes differ by one at most,
        # and only where 255 * sqrt(A / max A) is next to a rounding boundary.
        differs = codes != expected_codes
        safe_scales = np.where(scales > 0, scales, 1).reshape(-1, *[1] * (maps.ndim - 1))
        levels = 255 * np.sqrt(np.where(maps < SMALLEST_NORMAL, 0, maps) / safe_scales)
        assert (np.abs(levels % 1 - 0.5)[differs] < 1e-4).all()
        assert (np.abs(codes.astype(int) - expected_codes)[differs] == 1).all()
    else:
        np.testing.assert_allclose(codes, expected_codes, rtol=2e-3 if codec == "float16" else 1e-6)


@pytest.mark.parametrize("codec", CODECS)
def test_identical_for_a_million_pixels(codec: CodecName) -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("only CPUs promise correctly rounded division and roots")
    maps = np.abs(np.random.default_rng(0).standard_normal((20, 224, 224))).astype(np.float32)
    codes, scales = run(maps, codec, jit_compile=False)
    expected_codes, expected_scales = encode(maps, codec)
    np.testing.assert_array_equal(codes, expected_codes)
    np.testing.assert_array_equal(scales, expected_scales)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_has_no_scale(codec: CodecName, value: float) -> None:
    maps = some_maps((4, 6, 5))
    expected_codes, expected_scales = encode(maps, codec)
    maps[2, 3, 1] = value
    codes, scales = run(maps, codec, jit_compile=False)
    assert np.isnan(scales[2])
    assert not codes[2].any()
    others = [0, 1, 3]
    np.testing.assert_array_equal(codes[others], expected_codes[others])
    np.testing.assert_array_equal(scales[others], expected_scales[others])


def test_unknown_codecs_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8, int8, float16, float32, not 'png'"):
        quantize(tf.ones((1, 2, 2)), "png")  # type: ignore[arg-type]
