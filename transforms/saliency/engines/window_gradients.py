"""Gradients of convolution and pooling, as inference operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.saliency.engines.replay import Rewrite
from transforms.saliency.engines.windows import Window, pad_rows_and_columns, spread, windows

if TYPE_CHECKING:
    import tensorflow as tf


def _depthwise(operation: Any, _: tf.Tensor, kernel: tf.Tensor, gradient: tf.Tensor) -> Any:
    """The transposed convolution as a forward one.

    Its kernel is flipped, and its input is the gradient with stride - 1 zeros between elements and
    as many around them as windows reach.
    """
    import tensorflow as tf

    height, width, channels = operation.outputs[0].shape[1:]
    rows, columns, _, multiplier = kernel.shape
    found = windows(operation, (height, width), (rows, columns), tuple(gradient.shape[1:3]))
    if found is None:
        return None
    flat = tf.reshape(kernel, (rows, columns, channels * multiplier, 1))
    spread_back = _transposed_depthwise(gradient, flat, *found)
    if multiplier == 1:
        return spread_back
    batch = gradient.shape[0]
    return tf.reduce_sum(
        tf.reshape(spread_back, (batch, height, width, channels, multiplier)), axis=-1
    )


def _pointwise(operation: Any, _: tf.Tensor, kernel: tf.Tensor, gradient: tf.Tensor) -> Any:
    """A 1 x 1 convolution transposed is one with the kernel transposed, which engines fuse more."""
    import tensorflow as tf

    rows, columns, channels, _ = kernel.shape
    attributes = operation.node_def.attr
    if (rows, columns, channels) != (1, 1, operation.outputs[0].shape[-1]) or (
        list(attributes["strides"].list.i) != [1, 1, 1, 1] or attributes["data_format"].s != b"NHWC"
    ):
        return None
    return tf.nn.conv2d(gradient, tf.transpose(kernel, [0, 1, 3, 2]), 1, "VALID")


def _transposed_depthwise(
    gradient: tf.Tensor, kernel: tf.Tensor, rows: Window, columns: Window
) -> tf.Tensor:
    import tensorflow as tf

    padded = pad_rows_and_columns(
        spread(gradient, (rows.stride, columns.stride)),
        (rows.reach - rows.before, rows.reach - rows.after),
        (columns.reach - columns.before, columns.reach - columns.after),
    )
    # One axis at a time: OpenVINO has no reversal of two.
    flipped = tf.reverse(tf.reverse(kernel, [0]), [1])
    return tf.nn.depthwise_conv2d(
        padded, flipped, [1, 1, 1, 1], "VALID", dilations=[rows.dilation, columns.dilation]
    )


def _max_pool(operation: Any, values: tf.Tensor, maxima: tf.Tensor, gradient: tf.Tensor) -> Any:
    """Each window's gradient goes to the first of its elements that is the maximum."""
    import tensorflow as tf

    found = _pooling_windows(operation, values.shape, gradient.shape)
    if found is None:
        return None
    rows, columns = found
    lowest = values.dtype.min
    padded = pad_rows_and_columns(
        values, (rows.before, rows.after), (columns.before, columns.after), lowest
    )
    _, height, width, _ = padded.shape
    total: tf.Tensor | None = None
    free: tf.Tensor | None = None  # 1 where no element has been chosen yet
    for row in range(rows.size):
        for column in range(columns.size):
            last_row = row + (rows.count - 1) * rows.stride + 1
            last_column = column + (columns.count - 1) * columns.stride + 1
            elements = padded[
                :, row : last_row : rows.stride, column : last_column : columns.stride
            ]
            chosen = tf.cast(tf.equal(elements, maxima), maxima.dtype)
            if free is not None:
                chosen *= free
            free = 1.0 - chosen if free is None else free - chosen
            placed = pad_rows_and_columns(
                spread(gradient * chosen, (rows.stride, columns.stride)),
                (row, height - last_row),
                (column, width - last_column),
            )
            total = placed if total is None else total + placed
    return pad_rows_and_columns(
        total, (-rows.before, -rows.after), (-columns.before, -columns.after)
    )


def _average_pool(operation: Any, _: tf.Tensor, gradient: tf.Tensor) -> Any:
    """Each window's gradient goes to all of its elements; padding is none of them."""
    import tensorflow as tf

    shape = operation.outputs[0].shape
    found = _pooling_windows(operation, shape, gradient.shape)
    if found is None:
        return None
    members = np.multiply.outer(*map(_members, found))
    # For every channel: OpenVINO takes a (1, 3, 3, 1) before a 3 x 3 kernel for its weights.
    shares = np.repeat((1.0 / members)[np.newaxis, :, :, np.newaxis], shape[-1], axis=-1)
    ones = tf.ones((found[0].size, found[1].size, shape[-1], 1), gradient.dtype)
    return _transposed_depthwise(gradient * shares.astype(np.float32), ones, *found)


def _pooling_windows(operation: Any, shape: Any, pooled: Any) -> tuple[Window, Window] | None:
    sizes = list(operation.node_def.attr["ksize"].list.i)
    return windows(operation, tuple(shape[1:3]), (sizes[1], sizes[2]), tuple(pooled[1:3]))


def _members(window: Window) -> npt.NDArray[np.int64]:
    """How many of each window's elements are not padding."""
    firsts = np.arange(window.count) * window.stride - window.before
    lasts = np.minimum(firsts + window.size, window.length)
    members: npt.NDArray[np.int64] = lasts - np.maximum(firsts, 0)
    return members


WINDOW_REWRITES: dict[str, Rewrite] = {
    "AvgPoolGrad": _average_pool,
    "Conv2DBackpropInput": _pointwise,
    "DepthwiseConv2dNativeBackpropInput": _depthwise,
    "MaxPoolGrad": _max_pool,
}
