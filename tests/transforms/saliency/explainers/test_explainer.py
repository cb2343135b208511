"""Maps against gradients computed by hand, in float64 NumPy, from the definition."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.saliency import Saliency

Array = npt.NDArray[np.float64]

CLASSES, HIDDEN = 3, 5


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def one_hot(labels: list[int], classes: int = CLASSES) -> Array:
    return np.eye(classes)[labels]


class DenseNet:
    """softmax(relu(flat(x) W1 + b1) W2 + b2), and its gradients by x."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        width = int(np.prod(shape))
        self.shape = shape
        self.first = random(width, HIDDEN, seed=1), random(HIDDEN, seed=2)
        self.second = random(HIDDEN, CLASSES, seed=3), random(CLASSES, seed=4)

    def layers(self, softmax: bool) -> list[keras.Layer]:
        layers = [
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(HIDDEN, activation="relu", name="hidden"),
            keras.layers.Dense(CLASSES, name="logits"),
        ]
        return [*layers, keras.layers.Softmax(name="probabilities")] if softmax else layers

    def model(self, softmax: bool = False) -> keras.Sequential:
        model = keras.Sequential([keras.Input(self.shape), *self.layers(softmax)])
        self.set_weights(model)
        return model

    def set_weights(self, model: keras.Model) -> None:
        model.set_weights([*self.first, *self.second])

    def logits(self, inputs: Array) -> Array:
        hidden = inputs.reshape(len(inputs), -1) @ self.first[0] + self.first[1]
        logits: Array = np.maximum(hidden, 0) @ self.second[0] + self.second[1]
        return logits

    def gradient(self, inputs: Array, by_logits: Array) -> Array:
        """Gradient by x, given that by the logits: the chain rule, layer by layer."""
        hidden = inputs.reshape(len(inputs), -1) @ self.first[0] + self.first[1]
        by_hidden = (by_logits @ self.second[0].T) * (hidden > 0)
        gradient: Array = (by_hidden @ self.first[0].T).reshape(inputs.shape)
        return gradient

    def hidden_gradient(self, inputs: Array, unit: int) -> Array:
        hidden = inputs.reshape(len(inputs), -1) @ self.first[0] + self.first[1]
        by_hidden = np.eye(HIDDEN)[[unit] * len(inputs)] * (hidden > 0)
        gradient: Array = (by_hidden @ self.first[0].T).reshape(inputs.shape)
        return gradient

    def softmax_gradient(self, inputs: Array, targets: Array) -> Array:
        exponentials = np.exp(self.logits(inputs))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        score = (probabilities * targets).sum(axis=1, keepdims=True)
        return self.gradient(inputs, score * (targets - probabilities))


def convolution_gradient(
    inputs: Array, kernel: Array, bias: Array, dense: Array, label: int
) -> Array:
    """Gradient of dense(flat(relu(conv(x)))) at `label` by one image x (H, W, C).

    Stride 1 and zero padding to the same size, written as sums over output positions.
    """
    height, width, channels = inputs.shape
    size, _, _, filters = kernel.shape
    reach = size // 2
    padded = np.zeros((height + 2 * reach, width + 2 * reach, channels))
    padded[reach : reach + height, reach : reach + width] = inputs
    by_output = dense[:, label].reshape(height, width, filters)
    by_padded = np.zeros_like(padded)
    for row in range(height):
        for column in range(width):
            window = padded[row : row + size, column : column + size]
            for number in range(filters):
                if (window * kernel[..., number]).sum() + bias[number] > 0:
                    by_padded[row : row + size, column : column + size] += (
                        by_output[row, column, number] * kernel[..., number]
                    )
    return by_padded[reach : reach + height, reach : reach + width]


@pytest.mark.parametrize("shape", [(7,), (4, 3), (4, 5, 3), (4, 5, 1)])
def test_dense_model_of_every_rank_equals_the_hand_gradient(shape: tuple[int, ...]) -> None:
    net = DenseNet(shape)
    inputs, targets = random(4, *shape, seed=7), one_hot([0, 2, 1, 2])

    maps = Saliency(net.model(), batch_size=2)(inputs, targets)

    expected = np.abs(net.gradient(inputs, targets))
    if len(shape) == 3:
        expected = expected.max(axis=-1, keepdims=True)
    assert maps.dtype == tf.float32
    assert maps.shape == expected.shape
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5)


def test_convolution_equals_the_hand_gradient() -> None:
    height, width, channels, filters = 5, 6, 2, 3
    kernel, bias = random(3, 3, channels, filters, seed=1), random(filters, seed=2)
    dense = random(height * width * filters, CLASSES, seed=3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((height, width, channels)),
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(CLASSES, use_bias=False),
        ]
    )
    model.set_weights([kernel, bias, dense])
    images, labels = random(3, height, width, channels, seed=4), [1, 0, 2]

    maps = Saliency(model, batch_size=2)(images, one_hot(labels))

    expected = np.stack(
        [
            np.abs(convolution_gradient(image, kernel, bias, dense, label)).max(axis=-1)
            for image, label in zip(images, labels, strict=True)
        ]
    )
    np.testing.assert_allclose(maps[..., 0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("output_layer", ["logits", 2, -2])
def test_output_layer_gives_that_layers_gradient(output_layer: str | int) -> None:
    net = DenseNet((7,))
    inputs, targets = random(4, 7, seed=7), one_hot([0, 2, 1, 2])
    model = net.model(softmax=True)

    of_logits = Saliency(model, output_layer)(inputs, targets)
    of_softmax = Saliency(model)(inputs, targets)

    expected = np.abs(net.gradient(inputs, targets))
    np.testing.assert_allclose(of_logits, expected, rtol=0, atol=1e-5)
    expected = np.abs(net.softmax_gradient(inputs, targets))
    np.testing.assert_allclose(of_softmax, expected, rtol=0, atol=1e-5)
    assert np.abs(of_logits - of_softmax).max() > 0.1


def test_output_layer_in_the_middle_is_explained_by_its_own_units() -> None:
    net = DenseNet((7,))
    inputs = random(4, 7, seed=7)

    maps = Saliency(net.model(), "hidden")(inputs, one_hot([1] * 4, HIDDEN))

    np.testing.assert_allclose(maps, np.abs(net.hidden_gradient(inputs, 1)), rtol=0, atol=1e-5)


class Subclassed(keras.Model):  # type: ignore[misc,unused-ignore]
    """The dense net as a subclassed model that holds a sequential one."""

    def __init__(self, net: DenseNet) -> None:
        super().__init__(name="subclassed")
        self.body = keras.Sequential(net.layers(softmax=False), name="body")
        self.head = keras.layers.Softmax(name="head")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.head(self.body(inputs))


def nested(net: DenseNet) -> keras.Model:
    body = keras.Sequential([keras.Input(net.shape), *net.layers(softmax=False)], name="body")
    inputs = keras.Input(net.shape)
    return keras.Model(inputs, keras.layers.Softmax(name="head")(body(inputs)))


def subclassed(net: DenseNet) -> keras.Model:
    model = Subclassed(net)
    model(np.zeros((1, *net.shape)))
    return model


@pytest.mark.parametrize("build", [nested, subclassed])
@pytest.mark.parametrize("output_layer", ["body", "body/logits", "logits", -2])
def test_layers_of_nested_and_subclassed_models(
    build: Callable[[DenseNet], keras.Model], output_layer: str | int
) -> None:
    net = DenseNet((4, 3))
    model = build(net)
    net.set_weights(model)
    inputs, targets = random(3, 4, 3, seed=7), one_hot([0, 2, 1])

    of_layer = Saliency(model, output_layer, batch_size=2)(inputs, targets)
    of_model = Saliency(model, batch_size=2)(inputs, targets)

    expected = np.abs(net.gradient(inputs, targets))
    np.testing.assert_allclose(of_layer, expected, rtol=0, atol=1e-5)
    expected = np.abs(net.softmax_gradient(inputs, targets))
    np.testing.assert_allclose(of_model, expected, rtol=0, atol=1e-5)


def test_subclassed_model_that_was_never_called() -> None:
    net = DenseNet((7,))
    maps = Saliency(Subclassed(net), "logits")(random(2, 7), one_hot([0, 1]))

    assert maps.shape == (2, 7)
    assert np.all(np.isfinite(maps))


def test_dropout_and_batch_normalisation_are_in_inference_mode() -> None:
    class Trains(keras.Model):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.drop = keras.layers.Dropout(0.9)
            self.dense = keras.layers.Dense(CLASSES, kernel_initializer="ones")

        def call(self, inputs: tf.Tensor, training: bool = True) -> tf.Tensor:
            return self.dense(self.drop(inputs, training=training))

    maps = Saliency(Trains())(random(3, 6), one_hot([0, 1, 2]))

    np.testing.assert_array_equal(maps, np.ones((3, 6)))


def test_wrapper_with_its_own_call_as_xplique_documents_it() -> None:
    class Wrapper(keras.Model):  # type: ignore[misc,unused-ignore]
        def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
            return tf.stack([tf.reduce_sum(inputs * 3.0, -1)] * CLASSES, -1)

    maps = Saliency(Wrapper())(random(2, 4), one_hot([0, 1]))

    np.testing.assert_array_equal(maps, np.full((2, 4), 3.0))


def test_maps_follow_the_weights() -> None:
    net = DenseNet((7,))
    model = net.model()
    inputs, targets = random(3, 7, seed=7), one_hot([0, 2, 1])
    explainer = Saliency(model, batch_size=2)
    before = explainer(inputs, targets)

    net.first = random(7, HIDDEN, seed=11), random(HIDDEN, seed=12)
    net.set_weights(model)

    expected = np.abs(net.gradient(inputs, targets))
    np.testing.assert_allclose(explainer(inputs, targets), expected, rtol=0, atol=1e-5)
    assert np.abs(before - expected).max() > 0.1


def squared_logit(model: Any, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(model(inputs) * tf.cast(targets, tf.float32), -1) ** 2


def test_custom_operator_is_the_one_differentiated() -> None:
    net = DenseNet((7,))
    inputs, targets = random(4, 7, seed=7), one_hot([0, 2, 1, 2])

    maps = Saliency(net.model(), operator=squared_logit)(inputs, targets)

    logit = (net.logits(inputs) * targets).sum(axis=1, keepdims=True)
    expected = np.abs(2 * logit * net.gradient(inputs, targets))
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-5)


def test_custom_operator_may_do_without_targets() -> None:
    net = DenseNet((7,))
    inputs = random(4, 7, seed=7)

    maps = Saliency(net.model(), operator=lambda model, x, _: tf.reduce_sum(model(x), -1))(inputs)

    expected = np.abs(net.gradient(inputs, np.ones((4, CLASSES))))
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5)


def test_operator_that_branches_on_tensors() -> None:
    @tf.function
    def doubled_if_positive(model: Any, inputs: tf.Tensor, _: Any) -> tf.Tensor:
        scores = tf.reduce_sum(model(inputs), -1)
        if tf.reduce_sum(inputs) > 0:
            scores = scores * 2
        return scores

    explainer = Saliency(lambda x: x * 3, operator=doubled_if_positive)

    np.testing.assert_array_equal(explainer(np.ones((2, 4))), np.full((2, 4), 6.0))
    np.testing.assert_array_equal(explainer(-np.ones((2, 4))), np.full((2, 4), 3.0))


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (
            lambda model, x, _: model(x),
            r"returns \(2, 3\) for 2 examples; it must return one score",
        ),
        (lambda model, x, _: tf.argmax(model(x), -1), "does not depend on the inputs"),
    ],
)
def test_operators_that_cannot_be_explained(operator: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Saliency(DenseNet((7,)).model(), operator=operator)(random(2, 7))


@pytest.mark.parametrize("reducer", ["max", "mean", "min", "sum", "none", None])
def test_reducer_of_images(reducer: str | None) -> None:
    net = DenseNet((4, 5, 3))
    inputs, targets = random(3, 4, 5, 3, seed=7), one_hot([0, 2, 1])

    maps = Saliency(net.model(), reducer=reducer)(inputs, targets)

    expected = np.abs(net.gradient(inputs, targets))
    if reducer not in (None, "none"):
        expected = getattr(np, str(reducer))(expected, axis=-1, keepdims=True)
    assert maps.shape == expected.shape
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4, 10, 64, None])
def test_batch_size_changes_nothing_and_is_traced_once(batch_size: int | None) -> None:
    net = DenseNet((7,))
    inputs, targets = random(10, 7, seed=7), one_hot([0, 2, 1, 2, 0, 1, 1, 0, 2, 2])
    shapes = []

    def watched(model: Any, batch: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        shapes.append(batch.shape)  # Python runs when TensorFlow traces
        return squared_logit(model, batch, targets)

    maps = Saliency(net.model(), batch_size=batch_size, operator=watched)(inputs, targets)

    assert shapes == [(min(batch_size or 10, 10), 7)]
    logit = (net.logits(inputs) * targets).sum(axis=1, keepdims=True)
    expected = np.abs(2 * logit * net.gradient(inputs, targets))
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["float16", "mixed_float16", "bfloat16"])
def test_half_precision_models_give_float32_maps(policy: str) -> None:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(CLASSES, kernel_initializer="ones", dtype=policy)]
    )
    maps = Saliency(model)(random(2, 4), one_hot([0, 1]))

    assert maps.dtype == tf.float32
    np.testing.assert_array_equal(maps, np.ones((2, 4)))


def test_softmax_is_warned_of_once_a_model(caplog: pytest.LogCaptureFixture) -> None:
    net = DenseNet((7,))
    model = net.model(softmax=True)
    inputs, targets = random(2, 7), one_hot([0, 1])

    with caplog.at_level(logging.WARNING):
        Saliency(model, "logits")(inputs, targets)
        assert caplog.messages == []
        Saliency(model)(inputs, targets)
        Saliency(model)(inputs, targets)

    (message,) = caplog.messages
    assert "'probabilities' ends in softmax" in message
    assert "output_layer: logits" in message


def test_importing_the_explainer_does_not_import_tensorflow() -> None:
    program = (
        "import sys; from transforms.saliency import Saliency; import transforms.models.loading; "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - our own program
