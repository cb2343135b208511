from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.models.functions import KerasFunction, trace
from transforms.models.layers import find_layer, list_layers, recorded_calls

layers = keras.layers


def body(name: str) -> keras.Sequential:
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="dense"), layers.ReLU(name=f"{name}_relu")],
        name=name,
    )


@pytest.fixture
def model() -> keras.Model:
    inputs = keras.Input((4,), name="input")
    both = layers.Concatenate(name="both")([body("left")(inputs), body("right")(inputs)])
    return keras.Model(inputs, layers.Dense(2, name="logits")(both), name="twins")


def test_layers_are_listed_with_their_paths(model: keras.Model) -> None:
    assert [named.path for named in list_layers(model)] == [
        *["input", "left", "left/dense", "left/left_relu"],
        *["right", "right/dense", "right/right_relu", "both", "logits"],
    ]


@pytest.mark.parametrize(
    ("output_layer", "path"),
    [
        ("logits", "logits"),
        ("left", "left"),
        ("right/dense", "right/dense"),
        ("left_relu", "left/left_relu"),
        (-1, "logits"),
        (1, "left"),
    ],
)
def test_layers_are_found(model: keras.Model, output_layer: str | int, path: str) -> None:
    assert find_layer(model, output_layer).path == path


@pytest.mark.parametrize(
    ("output_layer", "message"),
    [
        ("logit", "'twins' has no layer 'logit'; choose one of: logits, "),
        ("right_rely", "choose one of: right/right_relu, "),
        ("dense", "names 2 layers .* by its path: left/dense, right/dense$"),
        (5, "output_layer 5 is out of range: .* 5 layers, -5 to 4: input, left, right, both"),
        (-6, "output_layer -6 is out of range"),
        (True, "output_layer True is out of range"),
    ],
)
def test_layers_that_are_not_there(
    model: keras.Model, output_layer: str | int, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        find_layer(model, output_layer)


def test_long_lists_of_layers_are_cut() -> None:
    deep = keras.Sequential([keras.Input((4,)), *[layers.ReLU() for _ in range(50)]])

    with pytest.raises(ConfigurationError, match=r"and 10 more$"):
        find_layer(deep, "none")


def test_calls_are_recorded_and_listening_ends(model: keras.Model) -> None:
    dense = find_layer(model, "left/dense")
    before = dict(vars(dense.layer))
    inputs = tf.ones((2, 4))

    with recorded_calls([dense]) as outputs:
        model(inputs)

    np.testing.assert_allclose(outputs["left/dense"], dense.layer(inputs))
    assert vars(dense.layer) == before


def test_listening_ends_after_an_error_and_keeps_an_earlier_listener(model: keras.Model) -> None:
    dense = find_layer(model, "left/dense")
    with recorded_calls([dense]) as outer:
        with pytest.raises(ZeroDivisionError), recorded_calls([dense]):
            raise ZeroDivisionError
        model(tf.ones((1, 4)))

    assert list(outer) == ["left/dense"]
    assert "call" not in vars(dense.layer)


def test_of_a_shared_layer_the_last_use_counts() -> None:
    shared = layers.Dense(4, kernel_initializer=keras.initializers.Identity(), name="shared")
    inputs = keras.Input((4,))
    doubled = layers.Rescaling(2.0)(shared(inputs))
    model = keras.Model(inputs, layers.Dense(2)(shared(doubled)))

    np.testing.assert_array_equal(KerasFunction(model, "shared")(tf.ones((1, 4))), [[2.0] * 4])


def test_layer_that_computes_nothing_is_refused(model: keras.Model) -> None:
    with pytest.raises(ConfigurationError, match="'input' computes nothing"):
        trace(KerasFunction(model, "input"), (4,))


class Compiled(keras.Model):  # type: ignore[misc,unused-ignore]
    """Runs its layer inside a tf.function of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(2, name="dense")

    @tf.function
    def inner(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.dense(inputs) + 1.0

    def call(self, inputs: tf.Tensor) -> Any:
        return self.inner(inputs)


def test_layer_inside_a_graph_of_its_own_is_refused() -> None:
    model = Compiled()
    model.dense.build((None, 4))

    with pytest.raises(ConfigurationError, match="out of reach; choose a layer outside it"):
        trace(KerasFunction(model, "dense"), (4,))
    assert trace(KerasFunction(model), (4,)).output_shape == (2,)
