from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.saliency.reducers import (
    Reducer,
    check_reducer,
    largest_magnitudes,
    reduce_channels,
)

VALUES = tf.constant([[[[1.0, -4.0, 2.0], [0.0, 0.5, -0.25]]]])
"""(1, 1, 2, 3): one image of two pixels."""


@pytest.mark.parametrize(
    ("reducer", "expected"),
    [
        ("max", [2.0, 0.5]),
        ("mean", [-1.0 / 3, 0.25 / 3]),
        ("min", [-4.0, -0.25]),
        ("sum", [-1.0, 0.25]),
    ],
)
def test_values_are_reduced_over_channels(reducer: Reducer, expected: list[float]) -> None:
    reduced = reduce_channels(VALUES, reducer)

    assert reduced.shape == (1, 1, 2, 1)
    np.testing.assert_allclose(np.ravel(reduced), expected, rtol=1e-6)


def test_no_reducer_keeps_channels() -> None:
    np.testing.assert_array_equal(reduce_channels(VALUES, "none"), VALUES)


@pytest.mark.parametrize("reducer", ["max", "mean", "min", "sum", "none"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 3)])
def test_only_images_have_channels(reducer: Reducer, shape: tuple[int, ...]) -> None:
    values = tf.reshape(VALUES, shape)

    np.testing.assert_array_equal(reduce_channels(values, reducer), values)


def test_no_name_is_none() -> None:
    assert check_reducer(None) == check_reducer("none") == "none"


def test_unknown_reducer_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="'maximum' is unknown; choose one of max, mean"):
        check_reducer("maximum")


def test_the_largest_magnitude_is_infinite_where_a_value_is_not_finite() -> None:
    nan, inf, largest = np.nan, np.inf, np.finfo(np.float32).max
    values = [[1, -4, 2], [nan, 1, 0], [0, nan, 1], [0, 1, nan], [-inf, 0, 1], [0, -largest, 1]]
    found = largest_magnitudes(tf.constant(values, tf.float32))
    np.testing.assert_array_equal(found, [[4], [inf], [inf], [inf], [inf], [largest]])
