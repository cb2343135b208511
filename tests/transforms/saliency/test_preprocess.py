from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.formats.source import ChannelScale
from transforms.saliency.preprocess import apply_scale, scale_slope


@dataclasses.dataclass(frozen=True)
class Scale:
    """What `apply_scale` reads of a ChannelScale."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


INPUTS = np.array([[[[0.0, 51.0], [127.5, 255.0]]]], np.float32)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("none", [0.0, 51.0, 127.5, 255.0]),
        ("unit", [0.0, 0.2, 0.5, 1.0]),
        ("symmetric", [-1.0, -0.6, 0.0, 1.0]),
        (Scale((100.0, 51.0), (50.0, 2.0)), [-2.0, 0.0, 0.55, 102.0]),
        (Scale((51.0,), (51.0,)), [-1.0, 0.0, 1.5, 4.0]),
    ],
)
def test_values(scale: Any, expected: list[float]) -> None:
    scaled = apply_scale(tf.constant(INPUTS), scale)

    assert scaled.shape == INPUTS.shape
    assert scaled.dtype == tf.float32
    np.testing.assert_allclose(np.ravel(scaled), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ("zscore", "source.input.scale 'zscore' is unknown"),
        (Scale((1.0, 2.0, 3.0), (1.0, 1.0)), r"scale.mean has 3 values for 2 channels"),
        (Scale((1.0, 2.0), (1.0, 1.0, 1.0)), r"scale.std has 3 values for 2 channels"),
    ],
)
def test_scales_that_do_not_fit_are_refused(scale: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        apply_scale(tf.constant(INPUTS), scale)


@pytest.mark.parametrize(
    "scale", ["none", "unit", "symmetric", ChannelScale((1.0, 2.0, 3.0), (4.0, 5.0, 0.5))]
)
def test_the_slope_is_what_a_unit_more_changes(scale: Any) -> None:
    inputs = tf.constant(np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3))
    change = apply_scale(inputs + 1, scale) - apply_scale(inputs, scale)
    np.testing.assert_allclose(change, np.broadcast_to(scale_slope(scale), (1, 2, 2, 3)), rtol=1e-3)
