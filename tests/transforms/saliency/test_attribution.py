"""The differentiation, padding and refusals that `Saliency` and runs share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.saliency.attribution import (
    Attribution,
    attribute,
    check_inputs,
    check_targets,
    pad,
)
from transforms.saliency.scores.operators import classification
from transforms.saliency.scores.targets import Targets


def attribution_of(model: Any, inputs: tf.Tensor, *targets: Any, **options: Any) -> Attribution:
    return attribute(model, classification, inputs, lambda _: Targets(targets), **options)


def test_gradient_and_scores_of_a_quadratic() -> None:
    inputs = tf.constant([[1.0, -2.0], [3.0, 0.5]])

    found = attribution_of(lambda x: x**2, inputs, [[1, 0], [0, 1]], [[0, 1], [1, 0]])

    np.testing.assert_array_equal(found.outputs, [[1.0, 4.0], [9.0, 0.25]])
    np.testing.assert_array_equal(
        found.gradients, [[[2.0, 0.0], [0.0, -4.0]], [[0.0, 1.0], [6.0, 0.0]]]
    )
    np.testing.assert_array_equal(found.scores, [[1.0, 4.0], [0.25, 9.0]])


def test_targets_are_chosen_from_the_outputs_that_are_differentiated() -> None:
    calls = []

    def model(inputs: tf.Tensor) -> tf.Tensor:
        calls.append(1)
        return inputs * 3

    def choose(outputs: tf.Tensor) -> Targets:
        largest = tf.argmax(outputs, axis=1, output_type=tf.int32)
        return Targets((tf.one_hot(largest, 2),), largest[:, tf.newaxis])

    found = attribute(model, classification, tf.constant([[1.0, 2.0], [3.0, 0.0]]), choose)

    assert len(calls) == 1
    np.testing.assert_array_equal(found.targets, [[1], [0]])
    np.testing.assert_array_equal(found.gradients[:, 0], [[0.0, 3.0], [3.0, 0.0]])


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_results_are_float32(dtype: tf.DType) -> None:
    found = attribution_of(lambda x: x * 3, tf.constant([[1.0, -2.0]], dtype), [[1, 0]])

    assert {each.dtype for each in (found.outputs, found.scores, found.gradients)} == {tf.float32}
    np.testing.assert_array_equal(found.gradients[:, 0], [[3.0, 0.0]])


def test_a_loss_scale_saves_gradients_that_vanish_in_few_bits() -> None:
    def model(inputs: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.cast(inputs, tf.float16) * 1.0, tf.float32) * 1e-9

    inputs = tf.constant([[1.0, 2.0]])

    assert not np.any(attribution_of(model, inputs, [[1, 0]]).gradients)
    found = attribution_of(model, inputs, [[1, 0]], loss_scale=2.0**20)
    np.testing.assert_allclose(found.gradients[:, 0], [[1e-9, 0.0]], rtol=1e-3)


def test_gathered_inputs_give_a_dense_gradient() -> None:
    inputs = tf.constant([[1.0, 2.0], [3.0, 4.0]])

    found = attribution_of(lambda x: tf.gather(x, [1, 0]), inputs, [[1, 0], [0, 1]])

    np.testing.assert_array_equal(found.gradients[:, 0], [[0.0, 1.0], [1.0, 0.0]])


def test_integer_inputs_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="inputs are uint8, which have no gradient"):
        attribution_of(lambda x: x, tf.zeros((2, 3), tf.uint8), [[1, 0, 0]] * 2)


@pytest.mark.parametrize("model", [tf.ones_like, tf.round])
def test_scores_without_gradient_are_refused(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="does not depend on the inputs"):
        attribution_of(model, tf.zeros((1, 3)), [[1, 0, 0]])


def test_scores_that_are_integers_are_refused() -> None:
    def largest(model: Any, inputs: tf.Tensor, _: Any) -> tf.Tensor:
        return tf.argmax(model(inputs), axis=-1)

    with pytest.raises(ConfigurationError, match="does not depend on the inputs"):
        attribute(lambda x: x, largest, tf.zeros((1, 3)), lambda _: Targets((None,)))


@pytest.mark.parametrize("as_batch", [np.asarray, tf.constant])
def test_padding_is_copies_of_the_first_example(as_batch: Any) -> None:
    batch = as_batch([[1, 2], [3, 4]])

    np.testing.assert_array_equal(pad(batch, 5), [[1, 2], [3, 4], *[[1, 2]] * 3])
    assert type(pad(batch, 5)) is type(batch)
    assert pad(batch, 2) is batch


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5, 6), ()])
def test_inputs_that_are_no_table_series_or_image_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match=r"give \(N, W\), \(N, T, W\) or \(N, H, W, C\)"):
        check_inputs(tf.zeros(shape))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (None, r"targets is missing; give one-hot targets \(N, 3\)"),
        (tf.zeros((2, 4)), r"targets has shape \(2, 4\) for 2 inputs and 3 outputs"),
        (tf.zeros((1, 3)), r"targets has shape \(1, 3\) for 2 inputs"),
    ],
)
def test_targets_that_name_no_class_are_refused(targets: Any, message: str) -> None:
    check_targets(tf.zeros((2, 3)), 2, 3)
    with pytest.raises(ConfigurationError, match=message):
        check_targets(targets, 2, 3)
