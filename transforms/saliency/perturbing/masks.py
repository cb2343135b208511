"""Masks of positions: over channels, at random, and maps that have no channels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from transforms.saliency.perturbing.random_numbers import uniform_numbers

if TYPE_CHECKING:
    import tensorflow as tf


def flattened(
    inputs: tf.Tensor, mask: tf.Tensor, value: float | tuple[float, ...]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Inputs, a mask of their positions and what goes in their place, with one axis of values.

    TensorFlow's kernels for CPUs take a third of the time where only the first axis is broadcast.

    Args:
      inputs: (N, *positions) or (N, *positions, C) float32.
      mask: (*positions).
      value: One number, or one per channel.

    Returns:
      (N, values), (values,) and (values,).
    """
    import tensorflow as tf

    shape = inputs.shape[1:]
    has_channels = shape.rank == mask.shape.rank + 1
    of_values = tf.broadcast_to(mask[..., tf.newaxis] if has_channels else mask, shape)
    values = tf.broadcast_to(tf.constant(value, tf.float32), shape)
    flat = tf.reshape(inputs, (-1, shape.num_elements()))
    return flat, tf.reshape(of_values, [-1]), tf.reshape(values, [-1])


def smooth_random_mask(
    key: tf.Tensor, grid: tuple[int, int], probability: float, positions: tuple[int, int]
) -> tf.Tensor:
    """A mask of RISE: a coarse grid of ones and zeros, upsampled and shifted.

    Petsiuk, Das, Saenko 2018, arXiv 1806.07421, section 3.2: h x w cells, each 1 with a
    probability, are upsampled bilinearly to (h + 1) C_H x (w + 1) C_W with cells of C_H x C_W
    positions, of which a part as large as the input is taken, shifted by less than a cell.

    Args:
      key: (3,) uint64; equal keys make equal masks.
      grid: h and w.
      probability: Of a one, in 0..1; the mean of the mask.
      positions: H and W.

    Returns:
      (H, W) float32 in 0..1.
    """
    import tensorflow as tf

    cells = math.prod(grid)
    height, width = (math.ceil(side / count) for side, count in zip(positions, grid, strict=True))
    numbers = uniform_numbers(key, cells + 2)
    ones = tf.cast(numbers[:cells] < probability, tf.float32)
    size = ((grid[0] + 1) * height, (grid[1] + 1) * width)
    large = tf.image.resize(tf.reshape(ones, (*grid, 1)), size)[..., 0]
    top = tf.cast(numbers[cells] * height, tf.int32)
    left = tf.cast(numbers[cells + 1] * width, tf.int32)
    part = large[top : top + positions[0], left : left + positions[1]]
    return tf.ensure_shape(part, positions)
