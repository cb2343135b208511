"""Every rewritten operation against TensorFlow's own gradient."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from gradients import gradient_of, plain, run_engine

from transforms.saliency.engines.rewriting.freezing import inference_graph, without_calls

pytest.importorskip("openvino")

SHAPE = (9, 8, 4)
Layers = Callable[[], list[keras.layers.Layer]]
layers = keras.layers

_ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "hard_silu", "hard_sigmoid",
    "sigmoid", "tanh", "softmax", "softplus", "softsign", "mish", "exponential", "log_softmax",
)  # fmt: skip

_LAYERS: dict[str, Layers] = {
    "conv": lambda: [layers.Conv2D(5, 3, use_bias=True)],
    "conv strided": lambda: [layers.Conv2D(5, 3, strides=2, padding="same")],
    "conv strided, with a remainder": lambda: [layers.Conv2D(5, 2, strides=3)],
    "conv dilated": lambda: [layers.Conv2D(5, 2, dilation_rate=2, padding="same")],
    "conv of one pixel": lambda: [layers.Conv2D(5, 1), layers.Conv2D(6, 1, strides=2)],
    "conv of an even kernel": lambda: [layers.Conv2D(5, (4, 1), padding="same")],
    "conv transposed": lambda: [layers.Conv2DTranspose(3, 3, strides=2, padding="same")],
    "depthwise": lambda: [layers.DepthwiseConv2D(3, padding="same")],
    "depthwise strided": lambda: [layers.DepthwiseConv2D(3, strides=2, padding="same")],
    "depthwise strided, valid": lambda: [layers.DepthwiseConv2D(2, strides=3)],
    "depthwise to one pixel": lambda: [layers.DepthwiseConv2D((9, 8), strides=2)],
    "depthwise dilated": lambda: [layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")],
    "depthwise multiplied": lambda: [
        layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", strides=2)
    ],
    "separable": lambda: [layers.SeparableConv2D(5, 3, padding="same")],
    "max pooling": lambda: [layers.MaxPooling2D(2)],
    "max pooling, overlapping": lambda: [layers.MaxPooling2D(3, strides=2, padding="same")],
    "max pooling, with a remainder": lambda: [layers.MaxPooling2D(3, strides=2)],
    "average pooling": lambda: [layers.AveragePooling2D(2)],
    "average pooling, overlapping": lambda: [layers.AveragePooling2D(3, strides=1, padding="same")],
    "average pooling, with a remainder": lambda: [layers.AveragePooling2D(3, strides=2)],
    "global average": lambda: [layers.GlobalAveragePooling2D(keepdims=True)],
    "global maximum": lambda: [layers.GlobalMaxPooling2D(keepdims=True)],
    "batch normalisation": lambda: [layers.BatchNormalization()],
    "layer normalisation": lambda: [layers.LayerNormalization()],
    "group normalisation": lambda: [layers.GroupNormalization(2)],
    "resizing": lambda: [layers.UpSampling2D(2, interpolation="bilinear")],
    "resizing to nearest": lambda: [layers.UpSampling2D(2)],
    "padding and cropping": lambda: [layers.ZeroPadding2D(2), layers.Cropping2D((1, 3))],
    "prelu": lambda: [layers.PReLU()],
    "dense": lambda: [layers.Flatten(), layers.Dense(7, "relu")],
    "convolution over time": lambda: [layers.Reshape((72, 4)), layers.Conv1D(5, 3, strides=2)],
}


def _excite(x: keras.KerasTensor) -> keras.KerasTensor:
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    squeezed = layers.Conv2D(2, 1, activation="relu")(squeezed)
    return x * layers.Conv2D(4, 1, activation="hard_sigmoid")(squeezed)


def _attention(x: keras.KerasTensor) -> keras.KerasTensor:
    tokens = layers.Reshape((72, 4))(x)
    return layers.Add()([tokens, layers.MultiHeadAttention(2, 3)(tokens, tokens)])


def _transformer(x: keras.KerasTensor) -> keras.KerasTensor:
    tokens = layers.Reshape((18, 16))(x)
    normal = layers.LayerNormalization()(tokens)
    tokens = layers.Add()([tokens, layers.MultiHeadAttention(2, 8)(normal, normal)])
    normal = layers.LayerNormalization()(tokens)
    hidden = layers.Dense(16)(layers.Dense(32, "gelu")(normal))
    return layers.LayerNormalization()(layers.Add()([tokens, hidden]))[:, 0]


def _branches(x: keras.KerasTensor) -> keras.KerasTensor:
    left = layers.Conv2D(3, 3, padding="same")(x)
    right = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    return layers.Concatenate()([left, x, right])


def _halves(x: keras.KerasTensor) -> keras.KerasTensor:
    return x[:, ::2, 1:, :2] * layers.Conv2D(2, 3)(x)[:, -5:, :1, :]


_GRAPHS = {
    "squeeze and excite": _excite,
    "attention": _attention,
    "transformer": _transformer,
    "sum along no axis": lambda x: x * keras.ops.sum(x, axis=()),
    "concatenation": _branches,
    "slices": _halves,
    "transposition": layers.Permute((3, 1, 2)),
}


def _model(body: Callable[[keras.KerasTensor], keras.KerasTensor]) -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input(SHAPE)
    # What comes before makes gradients that differ everywhere; ReLU makes ties, also for pooling.
    values = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    outputs = layers.Dense(3)(layers.Flatten()(layers.Activation("tanh")(body(values))))
    model = keras.Model(inputs, outputs)
    for weight in model.weights:  # Normalisation's moving averages too
        noise = np.random.default_rng(1).uniform(0.2, 0.6, weight.shape)
        weight.assign(weight + noise if "normalization" in weight.path else weight)
    return model


def _check(body: Callable[[keras.KerasTensor], keras.KerasTensor]) -> None:
    model = _model(body)
    function = gradient_of(lambda inputs: model(inputs, training=False), SHAPE)
    expected, found = plain(function), run_engine("openvino", function)
    assert np.abs(expected.gradients).max() > 0
    scale = np.abs(expected.gradients).max()
    np.testing.assert_allclose(found.gradients, expected.gradients, rtol=0, atol=2e-5 * scale)
    np.testing.assert_allclose(found.outputs, expected.outputs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.targets, expected.targets)


@pytest.mark.parametrize("name", _ACTIVATIONS)
def test_activation(name: str) -> None:
    _check(layers.Activation(name))


@pytest.mark.parametrize("name", _LAYERS)
def test_layer(name: str) -> None:
    _check(keras.Sequential(_LAYERS[name]()))


@pytest.mark.parametrize("name", _GRAPHS)
def test_graph(name: str) -> None:
    _check(_GRAPHS[name])


def test_pooling_and_its_gradient_read_images_of_their_own() -> None:
    model = _model(layers.MaxPooling2D(2))
    function = gradient_of(lambda inputs: model(inputs, training=False), SHAPE)
    graph = inference_graph(without_calls(function.trace(2))).definition
    (pooling,) = [node for node in graph.node if node.op == "MaxPool"]
    (pooled,) = [node for node in graph.node if node.name == pooling.input[0]]
    assert pooled.op == "Relu"
    equal = [node for node in graph.node if node.op == "Relu" and node.input == pooled.input]
    of_gradient = [node.name for node in equal if node is not pooled]
    readers = {node.op for node in graph.node if {*node.input} & {*of_gradient}}
    # It is cut and taken apart here, with channels last; OpenVINO chooses the other's layout.
    assert readers == {"StridedSlice"}
    assert "StridedSlice" not in {node.op for node in graph.node if pooled.name in node.input}
