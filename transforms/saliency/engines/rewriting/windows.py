"""Windows that slide over images, and what spreads values back over them.

Convolution and pooling read windows of `size` elements, `dilation` apart, that move by `stride`.
Their gradients go the other way: from windows back to the elements in them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Window:
    """A sliding window along one axis.

    Attributes:
      length: Elements of the axis.
      size: Elements in the window.
      stride: From one window to the next.
      dilation: From one element in the window to the next.
      before: Elements of padding before the axis.
      count: Windows.
    """

    length: int
    size: int
    stride: int
    dilation: int
    before: int
    count: int

    @property
    def reach(self) -> int:
        """How far a window's last element is from its first."""
        return (self.size - 1) * self.dilation

    @property
    def after(self) -> int:
        """Padding after the axis; negative where windows do not come to its end."""
        return (self.count - 1) * self.stride + self.reach + 1 - self.before - self.length


def windows(
    operation: Any, lengths: tuple[int, int], sizes: tuple[int, int], counts: tuple[int, int]
) -> tuple[Window, Window] | None:
    """The windows of an operation on (N, H, W, C), over rows and over columns.

    Args:
      operation: A convolution or pooling, with TensorFlow's attributes.
      lengths: H and W of what the windows move over.
      sizes: Rows and columns of a window.
      counts: Windows, by rows and by columns.

    Returns:
      None where it is of another layout.
    """
    attributes = operation.node_def.attr
    if attributes["data_format"].s not in (b"NHWC", b""):
        return None
    strides = list(attributes["strides"].list.i)[1:3]
    dilations = list(attributes["dilations"].list.i)[1:3] or [1, 1]
    explicit = list(attributes["explicit_paddings"].list.i)[2:6:2]
    padding = attributes["padding"].s
    found = []
    for axis in (0, 1):
        reach = (sizes[axis] - 1) * dilations[axis]
        needed = (counts[axis] - 1) * strides[axis] + reach + 1 - lengths[axis]
        before = {b"SAME": max(needed, 0) // 2, b"VALID": 0}.get(padding)
        found.append(
            Window(
                length=lengths[axis],
                size=sizes[axis],
                stride=strides[axis],
                dilation=dilations[axis],
                before=explicit[axis] if before is None else before,
                count=counts[axis],
            )
        )
    return found[0], found[1]


def spread(
    values: tf.Tensor,
    strides: tuple[int, int],
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> tf.Tensor:
    """Puts stride - 1 zeros between the elements of (N, H, W, C), and zeros around them.

    Args:
      values: What to spread.
      strides: How far apart rows and columns are in the result.
      rows: Zeros before the first row and after the last; negative numbers cut.
      columns: Zeros before the first column and after the last; negative numbers cut.
    """
    import tensorflow as tf

    batch, height, width, channels = values.shape
    # Nothing lies between a single element and the next; OpenVINO stumbles over such axes.
    down, across = (
        1 if length == 1 else stride
        for length, stride in zip((height, width), strides, strict=True)
    )
    if (down, across) != (1, 1):
        # Channels are innermost: what is appended to them lies between columns, and what is
        # appended to a row lies between rows.
        wide = tf.pad(values, [[0, 0], [0, 0], [0, 0], [0, (across - 1) * channels]])
        lines = tf.reshape(wide, (batch, height, width * across * channels))
        apart = tf.pad(lines, [[0, 0], [0, 0], [0, (down - 1) * lines.shape[-1]]])
        values = tf.reshape(apart, (batch, height * down, width * across, channels))
    # The last element has its zeros already. Cutting them off to pad again would cost an engine
    # three copies of the largest tensors, and its fusing of the padding.
    return pad_rows_and_columns(
        values, (rows[0], rows[1] - (down - 1)), (columns[0], columns[1] - (across - 1))
    )


def take_apart(values: tf.Tensor, strides: tuple[int, int]) -> list[list[tf.Tensor]]:
    """The phases of (N, H, W, C): phase (i, j) has every stride-th row from i and column from j.

    Args:
      values: H and W are multiples of the strides.
      strides: How many phases rows and columns have.
    """
    import tensorflow as tf

    batch, height, width, channels = values.shape
    down, across = strides
    if strides == (1, 1):
        return [[values]]
    line = width * channels
    lines = tf.reshape(values, (batch, height // down, down * line))
    return [
        [
            tf.reshape(
                lines[:, :, row * line : (row + 1) * line],
                (batch, height // down, width // across, across * channels),
            )[..., column * channels : (column + 1) * channels]
            for column in range(across)
        ]
        for row in range(down)
    ]


def put_together(phases: Sequence[Sequence[tf.Tensor]]) -> tf.Tensor:
    """Undoes `take_apart`."""
    import tensorflow as tf

    down, across = len(phases), len(phases[0])
    if (down, across) == (1, 1):
        return phases[0][0]
    batch, height, width, channels = phases[0][0].shape
    lines = [
        tf.reshape(tf.concat(line, -1), (batch, height, width * across * channels))
        for line in phases
    ]
    return tf.reshape(tf.concat(lines, -1), (batch, height * down, width * across, channels))


def pad_rows_and_columns(
    values: tf.Tensor, rows: tuple[int, int], columns: tuple[int, int], constant: float = 0.0
) -> tf.Tensor:
    """Pads (N, H, W, C) by (before, after); negative numbers cut."""
    import tensorflow as tf

    _, height, width, _ = values.shape
    if min(*rows, *columns) < 0:
        values = values[
            :,
            max(-rows[0], 0) : height - max(-rows[1], 0),
            max(-columns[0], 0) : width - max(-columns[1], 0),
        ]
    padding = [[0, 0], [max(e, 0) for e in rows], [max(e, 0) for e in columns], [0, 0]]
    return tf.pad(values, padding, constant_values=constant) if np.any(padding) else values
