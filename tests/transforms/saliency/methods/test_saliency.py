from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from transforms.saliency.contract.method import MapForm
from transforms.saliency.methods.saliency import METHOD
from transforms.saliency.reducers import Reducer

GRADIENTS = tf.constant([[[[1.0, -4.0, 2.0], [0.0, 0.5, -0.25]]]])
"""(1, 1, 2, 3): one image of two pixels."""


@pytest.mark.parametrize(
    ("reducer", "expected"),
    [
        ("max", [4.0, 0.5]),
        ("mean", [7.0 / 3, 0.25]),
        ("min", [1.0, 0.0]),
        ("sum", [7.0, 0.75]),
        ("none", [1.0, 4.0, 2.0, 0.0, 0.5, 0.25]),
    ],
)
def test_magnitudes_are_taken_before_channels_are_reduced(
    reducer: Reducer, expected: list[float]
) -> None:
    maps = METHOD().maps(GRADIENTS, MapForm("absolute", reducer, (1, 2)))

    assert maps.shape[:-1] == (1, 1, 2)
    np.testing.assert_allclose(np.ravel(maps), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 3)])
def test_tables_and_series_keep_their_shape(shape: tuple[int, ...]) -> None:
    gradients = tf.reshape(GRADIENTS, shape)

    maps = METHOD().maps(gradients, MapForm("absolute", "max", shape[1:]))
    np.testing.assert_array_equal(maps, np.abs(gradients))
