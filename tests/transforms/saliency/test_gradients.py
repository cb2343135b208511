from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.saliency.gradients import input_gradient
from transforms.saliency.scores.operators import classification


def test_gradient_and_scores_of_a_quadratic() -> None:
    inputs = tf.constant([[1.0, -2.0], [3.0, 0.5]])

    gradient, scores = input_gradient(lambda x: x**2, classification, inputs, [[1, 0], [0, 1]])

    np.testing.assert_array_equal(gradient, [[2.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(scores, [1.0, 0.25])


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_results_are_float32(dtype: tf.DType) -> None:
    inputs = tf.constant([[1.0, -2.0]], dtype)

    gradient, scores = input_gradient(lambda x: x * 3, classification, inputs, [[1, 0]])

    assert (gradient.dtype, scores.dtype) == (tf.float32, tf.float32)
    np.testing.assert_array_equal(gradient, [[3.0, 0.0]])


def test_gathered_inputs_give_a_dense_gradient() -> None:
    inputs = tf.constant([[1.0, 2.0], [3.0, 4.0]])

    gradient, _ = input_gradient(
        lambda x: tf.gather(x, [1, 0]), classification, inputs, [[1, 0], [0, 1]]
    )

    np.testing.assert_array_equal(gradient, [[0.0, 1.0], [1.0, 0.0]])


def test_integer_inputs_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="inputs are uint8, which have no gradient"):
        input_gradient(lambda x: x, classification, tf.zeros((2, 3), tf.uint8), [[1, 0, 0]] * 2)


@pytest.mark.parametrize("model", [tf.ones_like, tf.round])
def test_scores_without_gradient_are_refused(model: object) -> None:
    with pytest.raises(ConfigurationError, match="does not depend on the inputs"):
        input_gradient(model, classification, tf.zeros((1, 3)), [[1, 0, 0]])  # type: ignore[arg-type]
