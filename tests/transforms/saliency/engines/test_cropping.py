"""Cropping before a convolution: the values of cropping after it, without the crop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from gradients import gradient_of, plain

from transforms.saliency.engines.engine import EngineSpec, find_engine
from transforms.saliency.engines.rewriting.cropping import slice_early
from transforms.saliency.engines.rewriting.freezing import inference_graph, without_calls

layers = keras.layers
SHAPE = (11, 8, 3)
IMAGES = np.random.default_rng(0).normal(size=(2, 6, 7, 3)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(3, 2, 3, 2)).astype(np.float32)

_PADDED: dict[str, tuple[Callable[[], list[keras.layers.Layer]], int]] = {
    # as MobileNet and EfficientNet pad by one row and one column
    "depthwise strided": (
        lambda: [layers.ZeroPadding2D(((0, 1), (0, 1))), layers.DepthwiseConv2D(3, strides=2)],
        0,
    ),
    "depthwise": (lambda: [layers.ZeroPadding2D(1), layers.DepthwiseConv2D(3)], 0),
    "depthwise multiplied": (
        lambda: [layers.ZeroPadding2D(1), layers.DepthwiseConv2D(3, depth_multiplier=2)],
        1,
    ),
    "convolution": (
        lambda: [layers.ZeroPadding2D(((2, 0), (1, 2))), layers.Conv2D(4, 3, use_bias=True)],
        0,
    ),
    "more padding than windows reach": (
        lambda: [layers.ZeroPadding2D(3), layers.Conv2D(4, 3)],
        1,
    ),
    "pooling": (lambda: [layers.ZeroPadding2D(1), layers.MaxPooling2D(3, strides=2)], 1),
}


def _gradient(name: str) -> Any:
    keras.utils.set_random_seed(3)
    first = layers.Conv2D(3, 3, padding="same", activation="relu")
    rest = [layers.Flatten(), layers.Activation("tanh"), layers.Dense(3)]
    model = keras.Sequential([keras.Input(SHAPE), first, *_PADDED[name][0](), *rest])
    return gradient_of(lambda inputs: model(inputs, training=False), SHAPE)


@pytest.mark.parametrize("name", _PADDED)
def test_padding_is_not_cut_off_again(name: str) -> None:
    graph = inference_graph(without_calls(_gradient(name).trace(2)))
    left = [node for node in graph.definition.node if node.op == "Slice"]
    assert len(left) == _PADDED[name][1]


@pytest.mark.parametrize("precision", ["float32", "mixed"])
@pytest.mark.parametrize("name", _PADDED)
def test_gradients_are_those_of_tensorflow(name: str, precision: Any) -> None:
    pytest.importorskip("openvino")
    function = _gradient(name)
    expected = plain(function).gradients
    compiled = find_engine("openvino").compile(function, EngineSpec("openvino", precision, 2))
    generator = np.random.default_rng(0)  # as `plain` draws inputs
    inputs = generator.normal(size=(2, *SHAPE)).astype(np.float32)
    found = compiled.run(inputs, np.arange(2, dtype=np.int32)).gradients
    scale = np.abs(expected).max()
    assert scale > 0
    error = 2e-5 if precision == "float32" else 2e-2  # bfloat16 has 8 bits
    np.testing.assert_allclose(found, expected, rtol=0, atol=error * scale)


def _sliced(
    make: Callable[[Any], Any], begin: tuple[int, ...], size: tuple[int, ...]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """A slice as it is, and made early; None where it is left as it is."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        late = tf.slice(make(tf.constant(IMAGES)), begin, size)
        early = slice_early(late.op, *late.op.inputs)
        if early is None:
            return session.run(late), None
        assert early.shape == late.shape
        assert early.op.type != "Slice"
        results: list[npt.NDArray[Any]] = session.run([late, early])
    return results[0], results[1]


def _padded_convolution(images: Any) -> Any:
    padded = tf.pad(images, [[0, 0], [2, 1], [1, 3], [0, 0]])
    return tf.cast(tf.nn.conv2d(padded, KERNEL, 1, "VALID"), tf.float64)  # (2, 7, 10, 2)


@pytest.mark.parametrize("begin", [(0, 0), (2, 1), (1, 0)])
@pytest.mark.parametrize("end", [(0, 0), (1, 3), (0, 2)])
def test_slices_are_made_of_less_padding(begin: tuple[int, int], end: tuple[int, int]) -> None:
    size = (2, 7 - begin[0] - end[0], 10 - begin[1] - end[1], -1)
    late, early = _sliced(_padded_convolution, (0, *begin, 0), size)
    assert early is not None
    np.testing.assert_allclose(early, late, rtol=0, atol=1e-6)


def test_windows_may_be_dilated() -> None:
    def dilated(images: Any) -> Any:
        padded = tf.pad(images, [[0, 0], [2, 1], [1, 3], [0, 0]])
        return tf.nn.conv2d(padded, KERNEL, 1, "VALID", dilations=[2, 3])  # (2, 5, 8, 2)

    late, early = _sliced(dilated, (0, 1, 1, 0), (-1, 3, 5, -1))
    assert early is not None
    np.testing.assert_allclose(early, late, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("begin", "size"),
    [
        ((0, 3, 0, 0), (2, 4, 10, 2)),  # more than was padded before
        ((0, 0, 0, 0), (2, 7, 6, 2)),  # more than was padded after
        ((0, 0, 0, 1), (2, 7, 10, 1)),  # channels
        ((1, 0, 0, 0), (1, 7, 10, 2)),  # images
    ],
)
def test_other_slices_are_left(begin: tuple[int, ...], size: tuple[int, ...]) -> None:
    assert _sliced(_padded_convolution, begin, size)[1] is None


def test_convolutions_that_move_by_more_than_one_are_left() -> None:
    def strided(images: Any) -> Any:
        return tf.nn.conv2d(tf.pad(images, [[0, 0], [2, 1], [1, 3], [0, 0]]), KERNEL, 2, "VALID")

    assert _sliced(strided, (0, 1, 0, 0), (2, 2, 5, 2))[1] is None


def test_padding_by_anything_but_zeros_is_left() -> None:
    def padded(images: Any) -> Any:
        return tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=2.0)

    assert _sliced(padded, (0, 1, 0, 0), (2, 7, 9, 3))[1] is None
