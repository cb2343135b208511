"""Reducers: from the values of an image's channels to one value per position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from transforms.errors import ConfigurationError
from transforms.formats.source import IMAGE_RANK

if TYPE_CHECKING:
    import tensorflow as tf

Reducer = Literal["max", "mean", "min", "sum", "none"]

REDUCERS: tuple[Reducer, ...] = ("max", "mean", "min", "sum", "none")


def check_reducer(reducer: str | None) -> Reducer:
    """The reducer a name stands for; None is `none`.

    Raises:
      ConfigurationError: There is none of that name.
    """
    for known in REDUCERS:
        if known == (reducer or "none"):
            return known
    raise ConfigurationError(f"reducer {reducer!r} is unknown; choose one of {', '.join(REDUCERS)}")


def reduce_channels(values: tf.Tensor, reducer: Reducer) -> tf.Tensor:
    """Reduces over the channels of images.

    Args:
      values: (N, H, W, C); or (N, T, W) or (N, W), which have no channels.
      reducer: How channels become one; `none` keeps them.

    Returns:
      (N, H, W, 1), or the values as they are.
    """
    import tensorflow as tf

    if reducer == "none" or values.shape.rank != 1 + IMAGE_RANK:
        return values
    reductions = {
        "max": tf.reduce_max,
        "mean": tf.reduce_mean,
        "min": tf.reduce_min,
        "sum": tf.reduce_sum,
    }
    # Channels first: TensorFlow's CPU kernels reduce three innermost values at half the speed.
    by_channel = tf.transpose(values, [3, 0, 1, 2])
    return reductions[reducer](by_channel, axis=0)[..., tf.newaxis]


def largest_magnitudes(values: tf.Tensor) -> tf.Tensor:
    """The largest |v| over channels, exact wherever it is computed; infinite if one is not finite.

    A maximum of numbers and NaN is NaN for one engine and a number for another. So NaN counts as
    infinite.

    Args:
      values: (..., C) float32.

    Returns:
      (..., 1).
    """
    import tensorflow as tf

    magnitudes = tf.abs(values)
    counted = tf.where(magnitudes <= values.dtype.max, magnitudes, float("inf"))
    return tf.reduce_max(counted, axis=-1, keepdims=True)
