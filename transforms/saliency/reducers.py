"""Reducers: from the gradient of every channel to one value a position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from transforms.errors import ConfigurationError

if TYPE_CHECKING:
    import tensorflow as tf

Reducer = Literal["max", "mean", "min", "sum", "none"]

REDUCERS: tuple[Reducer, ...] = ("max", "mean", "min", "sum", "none")

_IMAGE_RANK = 4


def check_reducer(reducer: str | None) -> Reducer:
    """The reducer a name stands for; None is `none`.

    Raises:
      ConfigurationError: There is none of that name.
    """
    for known in REDUCERS:
        if known == (reducer or "none"):
            return known
    raise ConfigurationError(f"reducer {reducer!r} is unknown; choose one of {', '.join(REDUCERS)}")


def reduce_channels(gradients: tf.Tensor, reducer: Reducer | None) -> tf.Tensor:
    """Absolute gradients, reduced over the channels of images.

    Simonyan, Vedaldi, Zisserman 2013, arXiv 1312.6034, take the maximum.

    Args:
      gradients: (N, H, W, C); or (N, T, W) or (N, W), which have no channels.
      reducer: How channels become one; `none` or None keeps them.

    Returns:
      (N, H, W, 1), or the gradients' own shape; all values >= 0.
    """
    import tensorflow as tf

    magnitudes = tf.abs(gradients)
    reducer = check_reducer(reducer)
    if reducer == "none" or magnitudes.shape.rank != _IMAGE_RANK:
        return magnitudes
    reductions = {
        "max": tf.reduce_max,
        "mean": tf.reduce_mean,
        "min": tf.reduce_min,
        "sum": tf.reduce_sum,
    }
    # Channels first: TensorFlow's CPU kernels reduce three innermost values at half the speed.
    by_channel = tf.transpose(magnitudes, [3, 0, 1, 2])
    return reductions[reducer](by_channel, axis=0)[..., tf.newaxis]
