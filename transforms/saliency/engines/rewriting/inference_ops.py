"""Gradients written with operations that inference engines have.

TensorFlow's gradient of a network holds operations that exist for training alone. Each equals an
expression of inference operations; here they are, by type of operation. g is the gradient that
comes in, x the operation's input, y its output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.saliency.engines.rewriting.cropping import slice_early
from transforms.saliency.engines.rewriting.graph_copy import Rewrite
from transforms.saliency.engines.rewriting.window_gradients import WINDOW_REWRITES

if TYPE_CHECKING:
    import tensorflow as tf

_SELU_SCALE = 1.0507009873554805
_SELU_SCALE_ALPHA = 1.7580993408473766
_RELU6_BOUND = 6.0


def _where(condition: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.cast(condition, like.dtype)


def _leaky_relu(operation: Any, g: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    alpha = operation.get_attr("alpha")
    return g * (alpha + (1.0 - alpha) * _where(x > 0, g))


def _bias(operation: Any, g: tf.Tensor) -> Any:
    """The sum over everything but channels; that of an input, where grappler folds shapes of 1."""
    import tensorflow as tf

    if operation.get_attr("data_format") != b"NHWC":
        return None
    return tf.reduce_sum(g, axis=list(range(g.shape.rank - 1)))


def _elu(_: Any, g: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return g * (tf.minimum(y, 0.0) + 1.0)


def _selu(_: Any, g: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return g * tf.where(y < 0, y + _SELU_SCALE_ALPHA, tf.fill(y.shape, _SELU_SCALE))


def _softplus(_: Any, g: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return g * tf.sigmoid(x)


def _softsign(_: Any, g: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return g * (1.0 / tf.square(1.0 + tf.abs(x)))


def _log_softmax(_: Any, x: tf.Tensor) -> tf.Tensor:
    """Not a gradient; OpenVINO takes it along another axis after a convolution."""
    import tensorflow as tf

    shifted = x - tf.reduce_max(x, axis=-1, keepdims=True)
    return shifted - tf.math.log(tf.reduce_sum(tf.exp(shifted), axis=-1, keepdims=True))


def _batch_norm(
    operation: Any, g: tf.Tensor, _: tf.Tensor, scale: tf.Tensor, *statistics: tf.Tensor
) -> Any:
    """In inference mode normalisation is affine: its gradient does not look at x."""
    import tensorflow as tf

    if operation.get_attr("is_training") or operation.get_attr("data_format") != b"NHWC":
        return None
    variance = statistics[1]
    return g * (scale * tf.math.rsqrt(variance + operation.get_attr("epsilon")))


def _resize(operation: Any, g: tf.Tensor, *_: tf.Tensor) -> Any:
    """Resizing is linear along each axis: its gradient multiplies by the transposed matrices."""
    import tensorflow as tf

    _, height, width, _ = operation.outputs[0].shape
    rows = _resize_matrix(operation, height, g.shape[1])
    columns = _resize_matrix(operation, width, g.shape[2])
    return tf.einsum("nrsc,rh,sw->nhwc", g, rows, columns, optimize="greedy")


def _resize_matrix(operation: Any, length: int, resized: int) -> npt.NDArray[np.float32]:
    """(resized, length): what the forward operation makes of each unit vector."""
    import tensorflow as tf

    forward = {
        "ResizeNearestNeighborGrad": tf.raw_ops.ResizeNearestNeighbor,
        "ResizeBilinearGrad": tf.raw_ops.ResizeBilinear,
        "ResizeBicubicGrad": tf.raw_ops.ResizeBicubic,
    }[operation.type]
    attributes = {
        name: operation.get_attr(name) for name in ("align_corners", "half_pixel_centers")
    }
    with tf.Graph().as_default() as graph:
        # One image a unit vector: (length, length, 1, 1).
        units = tf.eye(length)[:, :, tf.newaxis, tf.newaxis]
        resized_units = forward(images=units, size=[resized, 1], **attributes)
    with tf.compat.v1.Session(graph=graph) as session:
        resized_back: npt.NDArray[np.float32] = session.run(resized_units)[:, :, 0, 0].T
    return resized_back


def _strided_slice(operation: Any, _: tf.Tensor, *arguments: tf.Tensor) -> Any:
    """Every element of the result is one of g's or 0: which, is known beforehand."""
    import tensorflow as tf

    *bounds, g = arguments
    constants = [tf.get_static_value(bound) for bound in bounds]
    shape = operation.outputs[0].shape
    if any(constant is None for constant in constants) or not shape.is_fully_defined():
        return None
    masks = {
        f"{name}_mask": operation.get_attr(f"{name}_mask")
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    begin, end, strides = constants
    with tf.Graph().as_default() as graph:
        places = tf.reshape(tf.range(shape.num_elements()), shape)
        sliced = tf.raw_ops.StridedSlice(
            input=places, begin=begin, end=end, strides=strides, **masks
        )
    with tf.compat.v1.Session(graph=graph) as session:
        taken = session.run(sliced)
    source = np.full(shape.num_elements(), taken.size, np.int32)
    source[taken.ravel()] = np.arange(taken.size)
    padded = tf.pad(tf.reshape(g, [-1]), [[0, 1]])
    return tf.reshape(tf.gather(padded, source), shape)


def _tile(operation: Any, x: tf.Tensor, _: tf.Tensor) -> Any:
    """As a broadcast, where it is one: OpenVINO moves transpositions over tiling wrongly."""
    import tensorflow as tf

    shape = operation.outputs[0].shape
    if not shape.is_fully_defined() or any(
        before not in (1, after) for before, after in zip(x.shape, shape, strict=True)
    ):
        return None
    return tf.broadcast_to(x, shape)


def _scatter(operation: Any, indices: tf.Tensor, updates: tf.Tensor, _: tf.Tensor) -> Any:
    """Onto zeros: OpenVINO keeps one of the values of a place that several go to, not their sum."""
    import tensorflow as tf

    shape = operation.outputs[0].shape
    if not shape.is_fully_defined():
        return None
    return tf.tensor_scatter_nd_add(tf.zeros(shape, updates.dtype), indices, updates)


def _sum(_: Any, x: tf.Tensor, axes: tf.Tensor) -> Any:
    """The values themselves, where there is no axis to add along: OpenVINO asks for one."""
    import tensorflow as tf

    return tf.identity(x) if tf.get_static_value(axes) is not None and axes.shape == (0,) else None


def _product(operation: Any, x: tf.Tensor, y: tf.Tensor) -> Any:
    """By what is transposed already, as weights are beforehand.

    OpenVINO 2026.4 multiplies an attention's reshaped result by the wrong elements of square
    weights that it is to transpose.
    """
    import tensorflow as tf

    of_matrices = operation.type == "MatMul"
    left, right = ("transpose_a", "transpose_b") if of_matrices else ("adj_x", "adj_y")
    if not operation.get_attr(right):
        return None
    return tf.matmul(x, tf.linalg.matrix_transpose(y), transpose_a=operation.get_attr(left))


INFERENCE_REWRITES: dict[str, Rewrite] = {
    "BatchMatMulV2": _product,
    "BatchMatMulV3": _product,
    "BiasAddGrad": _bias,
    "EluGrad": _elu,
    "FusedBatchNormGradV2": _batch_norm,
    "FusedBatchNormGradV3": _batch_norm,
    "InvGrad": lambda _, y, g: g * (-y * y),
    "LeakyReluGrad": _leaky_relu,
    "ReciprocalGrad": lambda _, y, g: g * (-y * y),
    "LogSoftmax": _log_softmax,
    "MatMul": _product,
    "Relu6Grad": lambda _, g, x: g * (_where(x > 0, g) * _where(x < _RELU6_BOUND, g)),
    "ReluGrad": lambda _, g, x: g * _where(x > 0, g),
    "ResizeBicubicGrad": _resize,
    "ResizeBilinearGrad": _resize,
    "ResizeNearestNeighborGrad": _resize,
    "RsqrtGrad": lambda _, y, g: g * (-0.5 * y * y * y),
    "ScatterNd": _scatter,
    "SeluGrad": _selu,
    "SigmoidGrad": lambda _, y, g: g * (y * (1.0 - y)),
    "Slice": slice_early,
    "SoftplusGrad": _softplus,
    "SoftsignGrad": _softsign,
    "SqrtGrad": lambda _, y, g: g * (0.5 / y),
    "StridedSliceGrad": _strided_slice,
    "Sum": _sum,
    "Tile": _tile,
    "TanhGrad": lambda _, y, g: g * (1.0 - y * y),
    **WINDOW_REWRITES,
}
"""What to put in place of an operation, by its type; a rewrite that gives None leaves it as it is.

What does not depend on g is computed on its own, before g is multiplied: the gradients of several
targets share it.
"""
