from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.saliency.reducers import Reducer, check_reducer, reduce_channels

GRADIENTS = tf.constant([[[[1.0, -4.0, 2.0], [0.0, 0.5, -0.25]]]])
"""(1, 1, 2, 3): one image of two pixels."""


@pytest.mark.parametrize(
    ("reducer", "expected"),
    [
        ("max", [4.0, 0.5]),
        ("mean", [7.0 / 3, 0.25]),
        ("min", [1.0, 0.0]),
        ("sum", [7.0, 0.75]),
    ],
)
def test_magnitudes_are_reduced_over_channels(reducer: Reducer, expected: list[float]) -> None:
    maps = reduce_channels(GRADIENTS, reducer)

    assert maps.shape == (1, 1, 2, 1)
    np.testing.assert_allclose(np.ravel(maps), expected, rtol=1e-6)


@pytest.mark.parametrize("reducer", ["none", None])
def test_no_reducer_keeps_channels(reducer: Reducer | None) -> None:
    np.testing.assert_array_equal(reduce_channels(GRADIENTS, reducer), np.abs(GRADIENTS))


@pytest.mark.parametrize("reducer", ["max", "mean", "min", "sum", "none"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 3)])
def test_only_images_have_channels(reducer: Reducer, shape: tuple[int, ...]) -> None:
    gradients = tf.reshape(GRADIENTS, shape)

    np.testing.assert_array_equal(reduce_channels(gradients, reducer), np.abs(gradients))


def test_unknown_reducer_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="'maximum' is unknown; choose one of max, mean"):
        check_reducer("maximum")
