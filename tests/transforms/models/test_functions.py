from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.models.functions import KerasFunction, ModelFunction, check_floating, trace
from transforms.models.inputs import ModelInput

layers = keras.layers


def sequential(*stack: keras.layers.Layer) -> keras.Sequential:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, name="logits"), *stack])


@pytest.mark.parametrize(
    ("stack", "layer", "layer_before"),
    [
        ([layers.Softmax(name="end")], "end", "logits"),
        ([layers.Activation("softmax", name="end")], "end", "logits"),
        ([layers.Softmax(name="end"), layers.Reshape((3,), name="shape")], "shape", "logits"),
        ([layers.Reshape((1, 3)), layers.Softmax(), layers.Flatten(name="end")], "end", "reshape"),
        ([layers.Dense(2, activation="softmax", name="end")], "end", None),
        ([layers.Softmax(dtype="float16", name="end")], "end", "logits"),
        ([keras.Sequential([layers.Softmax(name="inside")], name="end")], "end", "logits"),
        ([keras.Sequential([layers.ReLU(), layers.Softmax()], name="end")], "end", "end/re_lu"),
    ],
)
def test_softmax_at_the_end_is_found(
    stack: list[keras.layers.Layer], layer: str, layer_before: str | None
) -> None:
    traced = trace(KerasFunction(sequential(*stack)), (4,))

    assert traced.layer == layer
    assert traced.softmax is not None
    assert traced.softmax.layer == layer
    before = traced.softmax.layer_before
    # Layers that were not named get numbers that depend on the tests before.
    assert before == layer_before or (before or "").startswith(f"{layer_before}_")
    assert ("(output_layer: " in traced.softmax.advice) == (layer_before is not None)


@pytest.mark.parametrize(
    "stack",
    [
        [],
        [layers.Softmax(), layers.Dense(2)],
        [layers.Softmax(), layers.ReLU()],
        [layers.Activation("log_softmax")],
    ],
)
def test_other_ends_are_no_softmax(stack: list[keras.layers.Layer]) -> None:
    assert trace(KerasFunction(sequential(*stack)), (4,)).softmax is None


def test_softmax_of_a_plain_function_and_of_one_it_calls() -> None:
    for softmax in (tf.nn.softmax, tf.function(tf.nn.softmax)):
        traced = trace(ModelFunction(softmax, "function", ModelInput()), (4,))

        assert traced.softmax is not None
        assert traced.softmax.layer_before is None
        assert traced.softmax.advice.startswith("its output ends in softmax")


def test_chosen_layer_before_softmax_is_none() -> None:
    traced = trace(KerasFunction(sequential(layers.Softmax()), "logits"), (4,))

    assert (traced.layer, traced.output_shape, traced.softmax) == ("logits", (3,), None)


def test_input_is_described() -> None:
    image = keras.Input((None, 8, 3), name="image")
    model = keras.Model({"image": image}, layers.GlobalAveragePooling2D()(image))

    function = KerasFunction(model)

    assert function.input == ModelInput("image", (None, 8, 3), "float32")
    assert function.input.fits((5, 8, 3))
    assert not function.input.fits((5, 9, 3))
    assert not function.input.fits((8, 3))
    np.testing.assert_array_equal(function(tf.ones((2, 4, 8, 3))), np.ones((2, 3)))


def two_inputs() -> keras.Model:
    first, second = keras.Input((4,), name="image"), keras.Input((4,), name="mask")
    return keras.Model([first, second], layers.Add()([first, second]))


def two_outputs() -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(
        inputs, [layers.Dense(2, name="boxes")(inputs), layers.ReLU(name="r")(inputs)]
    )


def integers() -> keras.Model:
    inputs = keras.Input((4,), dtype="int32", name="tokens")
    return keras.Model(inputs, layers.Embedding(5, 2)(inputs))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (two_inputs, r"has 2 inputs \(image, mask\), but one is explained"),
        (two_outputs, r"has 2 outputs \(boxes, r\), but one is explained; choose one by output_l"),
        (integers, r"takes int32 inputs \('tokens'\), which have no gradient"),
    ],
)
def test_models_that_cannot_be_explained(build: Callable[[], keras.Model], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_floating(KerasFunction(build()))


def test_one_of_two_outputs_is_chosen_by_output_layer() -> None:
    assert trace(KerasFunction(two_outputs(), "boxes"), (4,)).output_shape == (2,)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: {"a": x, "b": x}, r"has 2 outputs \(a, b\)"),
        (lambda x: (x, x), "has 2 outputs, but one"),
        (tf.reduce_sum, r"returns \(\) for 1 input"),
        (lambda x: tf.reshape(x, (2, 2)), r"returns \(2, 2\) for 1 input"),
        (lambda x: tf.linalg.matmul(x, tf.ones((5, 2))), r"cannot be applied to .*ValueError"),
    ],
)
def test_functions_that_do_not_return_a_row_an_input(
    function: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        trace(ModelFunction(function, "function", ModelInput()), (4,))


def test_shape_that_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"shape \(5,\) do not fit .* takes \(4,\)"):
        trace(KerasFunction(sequential()), (5,))
