"""The tensorflow engine: frozen, in other precisions, by XLA."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from gradients import batch_of, gradient_of, plain, run_engine

from transforms.saliency.engines.engine import EngineSpec, find_engine
from transforms.saliency.engines.rewriting import freezing
from transforms.saliency.engines.tensorflow_engine import TensorFlowEngine

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(5)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(8, 3, activation="relu"),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )


def test_frozen_gradients_are_the_same(model: keras.Model) -> None:
    function = gradient_of(model, SHAPE)
    expected, found = plain(function), run_engine("tensorflow", function)
    for before, after in zip(expected.fields, found.fields, strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-7)


def test_freezing_takes_the_variables_away(model: keras.Model) -> None:
    frozen = freezing.freeze(gradient_of(model, SHAPE).trace(2))
    assert not frozen.graph.variables
    assert "ReadVariableOp" not in {each.type for each in frozen.graph.get_operations()}


def test_what_is_too_large_runs_unfrozen(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezing, "_MOST_BYTES", 100)
    function = gradient_of(model, SHAPE)
    compiled = find_engine("tensorflow").compile(function, EngineSpec())
    (note,) = compiled.notes
    assert note.startswith("the gradient is not frozen: the variables have 0.0 GB")
    result, expected = compiled.run(*batch_of(SHAPE)), plain(function)
    np.testing.assert_allclose(result.gradients, expected.gradients, rtol=1e-3, atol=1e-8)


def test_what_asserts_still_asserts() -> None:
    def picky(inputs: tf.Tensor) -> tf.Tensor:
        tf.debugging.assert_less(inputs, 50.0)
        return tf.reshape(inputs**2, (-1, 192))

    compiled = find_engine("tensorflow").compile(gradient_of(picky, SHAPE), EngineSpec())
    assert compiled.notes == (
        "the gradient is not frozen: operation Assert has an effect or a state",
    )
    inputs, labels = batch_of(SHAPE)
    compiled.run(inputs, labels)
    with pytest.raises(tf.errors.InvalidArgumentError):
        compiled.run(inputs + 60, labels)


def test_xla_makes_the_same_gradients(model: keras.Model) -> None:
    # On a CPU, as tests have no GPU; there it is used.
    function = gradient_of(model, SHAPE)
    compiled = TensorFlowEngine(xla=True).compile(function, EngineSpec())
    assert compiled.notes == ()
    result = compiled.run(*batch_of(SHAPE))
    expected = plain(function)
    np.testing.assert_allclose(result.gradients, expected.gradients, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(result.targets, expected.targets)


def test_what_xla_lacks_runs_without_it() -> None:
    def unusual(inputs: tf.Tensor) -> tf.Tensor:
        codes = tf.strings.length(tf.strings.as_string(inputs[:, :2, 0, 0]))
        return inputs[:, :2, 0, 0] * tf.cast(codes, tf.float32)

    function = gradient_of(unusual, SHAPE)
    compiled = TensorFlowEngine(xla=True).compile(function, EngineSpec())
    (note,) = compiled.notes
    assert note.startswith("XLA does not compile this model: ")
    result = compiled.run(*batch_of(SHAPE))
    np.testing.assert_array_equal(result.gradients, plain(function).gradients)


@pytest.mark.parametrize(("precision", "error"), [("bfloat16", 2**-6), ("float16", 2**-9)])
def test_matrix_products_in_another_precision(
    model: keras.Model, precision: str, error: float
) -> None:
    function = gradient_of(model, SHAPE)
    spec = EngineSpec(precision=precision)  # type: ignore[arg-type] # a literal, from the list
    expected, found = plain(function), run_engine("tensorflow", function, spec)
    scale = np.abs(expected.gradients).max()
    largest = np.abs(found.gradients - expected.gradients).max() / scale
    assert 0 < largest < 4 * error
    assert found.gradients.dtype == np.float32


def test_small_gradients_survive_float16() -> None:
    weights = tf.constant(np.full((192, 2), 2e-6, np.float32))

    def faint(inputs: tf.Tensor) -> tf.Tensor:
        hidden = tf.reshape(inputs, (-1, 192)) @ tf.eye(192)
        return hidden @ weights * 1e-3  # 2e-9: below float16's smallest number, 6e-8

    function = gradient_of(faint, SHAPE)
    found = run_engine("tensorflow", function, EngineSpec(precision="float16"))
    np.testing.assert_allclose(found.gradients, plain(function).gradients, rtol=0.02)
