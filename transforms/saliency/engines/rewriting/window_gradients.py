"""Gradients of convolution and pooling, as inference operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.saliency.engines.rewriting.graph_copy import Rewrite
from transforms.saliency.engines.rewriting.windows import (
    Window,
    pad_rows_and_columns,
    put_together,
    spread,
    take_apart,
    windows,
)

if TYPE_CHECKING:
    import tensorflow as tf


_SELECTIONS = frozenset({"ConcatV2", "Pad", "PadV2", "Relu", "Relu6"})
"""Cheap operations that round nothing: done twice they give the same bits."""


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


def _convolution(operation: Any, _: tf.Tensor, kernel: tf.Tensor, gradient: tf.Tensor) -> Any:
    """The transposed convolution as a forward one, which engines compute faster and fuse more."""
    height, width, channels = operation.outputs[0].shape[1:]
    if kernel.shape[2] != channels:  # in groups
        return None
    sizes = tuple(kernel.shape[:2])
    found = windows(operation, (height, width), sizes, tuple(gradient.shape[1:3]))
    if found is None:
        return None
    rows, columns = found
    if rows.stride == columns.stride == 1:
        return _transposed_unstrided(gradient, kernel, rows, columns)
    if rows.size == columns.size == 1:
        return _transposed_pixels(gradient, kernel, rows, columns)
    if rows.dilation == columns.dilation == 1:
        return _transposed_by_phases(gradient, kernel, rows, columns)
    return None


def _transposed_unstrided(
    gradient: tf.Tensor, kernel: tf.Tensor, rows: Window, columns: Window
) -> tf.Tensor:
    """Every element has the same windows over it: the kernel flipped."""
    import tensorflow as tf

    padded = pad_rows_and_columns(
        gradient,
        (rows.reach - rows.before, rows.reach - rows.after),
        (columns.reach - columns.before, columns.reach - columns.after),
    )
    back = tf.transpose(_flipped(kernel), [0, 1, 3, 2])
    return tf.nn.conv2d(padded, back, 1, "VALID", dilations=[rows.dilation, columns.dilation])


def _transposed_pixels(
    gradient: tf.Tensor, kernel: tf.Tensor, rows: Window, columns: Window
) -> tf.Tensor:
    """Between the elements that a strided 1 x 1 kernel sees there are some that it does not."""
    import tensorflow as tf

    seen = tf.nn.conv2d(gradient, tf.transpose(kernel, [0, 1, 3, 2]), 1, "VALID")
    return spread(
        seen,
        (rows.stride, columns.stride),
        (-rows.before, -rows.after),
        (-columns.before, -columns.after),
    )


def _transposed_by_phases(
    gradient: tf.Tensor, kernel: tf.Tensor, rows: Window, columns: Window
) -> tf.Tensor:
    """Elements a stride apart have the same part of the kernel over them.

    Each of the stride x stride parts is a small unstrided convolution. They are computed as one
    with so many times the channels, whose results are interleaved (sub-pixel convolution, Shi et
    al. 2016). With padding b before it, element h has phase p = (h + b) mod s and place
    q = (h + b) div s, and its gradient is the sum over t of g[q - t] w[p + t s].
    """
    import tensorflow as tf

    batch, count_rows, count_columns, outputs = gradient.shape
    channels = kernel.shape[2]
    (down, across), axes = (rows.stride, columns.stride), (rows, columns)
    taps = [-(-axis.size // axis.stride) for axis in axes]
    places = [-(-(axis.length + axis.before) // axis.stride) for axis in axes]
    missing = [tap * axis.stride - axis.size for tap, axis in zip(taps, axes, strict=True)]
    whole = tf.pad(kernel, [[0, missing[0]], [0, missing[1]], [0, 0], [0, 0]])
    parts = tf.reshape(whole, (taps[0], down, taps[1], across, channels, outputs))
    ordered = tf.transpose(parts, [0, 2, 5, 1, 3, 4])
    phases = tf.reshape(ordered, (*taps, outputs, down * across * channels))
    padded = pad_rows_and_columns(
        gradient,
        (taps[0] - 1, places[0] - count_rows),
        (taps[1] - 1, places[1] - count_columns),
    )
    found = tf.nn.conv2d(padded, _flipped(phases), 1, "VALID")
    apart = tf.reshape(found, (batch, *places, down, across * channels))
    interleaved = tf.reshape(
        tf.transpose(apart, [0, 1, 3, 2, 4]),
        (batch, places[0] * down, places[1] * across, channels),
    )
    return interleaved[
        :, rows.before : rows.before + rows.length, columns.before : columns.before + columns.length
    ]


def _flipped(kernel: tf.Tensor) -> tf.Tensor:
    """A kernel with rows and columns reversed, one after the other: OpenVINO cannot do both."""
    import tensorflow as tf

    return tf.reverse(tf.reverse(kernel, [0]), [1])


def _transposed_depthwise(
    gradient: tf.Tensor, kernel: tf.Tensor, rows: Window, columns: Window
) -> tf.Tensor:
    import tensorflow as tf

    padded = spread(
        gradient,
        (rows.stride, columns.stride),
        (rows.reach - rows.before, rows.reach - rows.after),
        (columns.reach - columns.before, columns.reach - columns.after),
    )
    return tf.nn.depthwise_conv2d(
        padded, _flipped(kernel), [1, 1, 1, 1], "VALID", dilations=[rows.dilation, columns.dilation]
    )


def _max_pool(operation: Any, values: tf.Tensor, maxima: tf.Tensor, gradient: tf.Tensor) -> Any:
    """Each window's gradient goes to the first of its elements that is the maximum.

    All elements at the same place in their windows lie a stride apart: they are a part of one of
    stride x stride phases, which are taken apart once and put together once.
    """
    import tensorflow as tf

    found = _pooling_windows(operation, values.shape, gradient.shape)
    if found is None:
        return None
    rows, columns = found
    strides = (rows.stride, columns.stride)
    places = tuple(axis.count + (axis.size - 1) // axis.stride for axis in found)
    after = [
        place * axis.stride - axis.before - axis.length
        for place, axis in zip(places, found, strict=True)
    ]
    padded = pad_rows_and_columns(
        _made_again(values),
        (rows.before, after[0]),
        (columns.before, after[1]),
        values.dtype.min,
    )
    phases = take_apart(padded, strides)
    totals: list[list[tf.Tensor | None]] = [[None] * columns.stride for _ in range(rows.stride)]
    free: tf.Tensor | None = None  # 1 where no element has been chosen yet
    for row in range(rows.size):
        down, row_phase = divmod(row, rows.stride)
        for column in range(columns.size):
            across, column_phase = divmod(column, columns.stride)
            elements = phases[row_phase][column_phase][
                :, down : down + rows.count, across : across + columns.count
            ]
            chosen = tf.cast(tf.equal(elements, maxima), maxima.dtype)
            if free is not None:
                chosen *= free
            free = 1.0 - chosen if free is None else free - chosen
            placed = pad_rows_and_columns(
                gradient * chosen,
                (down, places[0] - rows.count - down),
                (across, places[1] - columns.count - across),
            )
            total = totals[row_phase][column_phase]
            totals[row_phase][column_phase] = placed if total is None else total + placed
    none = tf.zeros((gradient.shape[0], *places, gradient.shape[-1]), gradient.dtype)
    # Where windows are smaller than their stride, some elements are in none of them.
    whole = put_together([[none if part is None else part for part in line] for line in totals])
    return pad_rows_and_columns(whole, (-rows.before, -after[0]), (-columns.before, -after[1]))


def _made_again(values: tf.Tensor) -> tf.Tensor:
    """The same values, made once more where that is cheap and exact.

    Pooling reads images with channels first in OpenVINO, parts of rows are taken with channels
    last. Where both read one tensor, it is transposed there and back; that was a third of the
    gradient of a small network. Each reads its own here, which OpenVINO makes one of again, once
    it has found their layouts.
    """
    import tensorflow as tf

    made_by = values.op
    if made_by.type not in _SELECTIONS:
        return values
    again: tf.Tensor = (
        tf.compat.v1.get_default_graph()
        .create_op(
            made_by.type,
            list(made_by.inputs),
            [values.dtype],
            attrs=dict(made_by.node_def.attr),
            name=made_by.name,
        )
        .outputs[0]
    )
    return again


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
    "Conv2DBackpropInput": _convolution,
    "DepthwiseConv2dNativeBackpropInput": _depthwise,
    "MaxPoolGrad": _max_pool,
}
