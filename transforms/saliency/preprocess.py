"""Preprocessing in the compiled function: from decoded values to what the model was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from transforms.errors import ConfigurationError

if TYPE_CHECKING:
    import tensorflow as tf

    from transforms.formats.source import ChannelScale, NamedScale

_BYTE_MAXIMUM = 255.0


def apply_scale(
    inputs: tf.Tensor, scale: Literal["none", "unit", "symmetric"] | ChannelScale
) -> tf.Tensor:
    """Scales decoded inputs.

    Args:
      inputs: (N, ..., C) float32; images are in 0..255.
      scale: `none`; `unit`, x / 255, so 0..1; `symmetric`, x / 127.5 - 1, so -1..1; or
        (x - mean) / std for each channel, in the units of `inputs`.

    Returns:
      Inputs of the same shape and dtype.

    Raises:
      ConfigurationError: The scale is unknown, or has another number of channels.
    """
    import tensorflow as tf

    if isinstance(scale, str):
        if scale == "none":
            return inputs
        if scale == "unit":
            return inputs / _BYTE_MAXIMUM
        if scale == "symmetric":
            return inputs / (_BYTE_MAXIMUM / 2) - 1.0
        raise ConfigurationError(
            f"source.input.scale {scale!r} is unknown; choose none, unit, symmetric or mean and std"
        )
    channels = inputs.shape[-1]
    for name, values in (("mean", scale.mean), ("std", scale.std)):
        if len(values) not in (1, channels):
            raise ConfigurationError(
                f"source.input.scale.{name} has {len(values)} values for {channels} channels; "
                f"give {channels}, or one for all"
            )
    mean = tf.constant(scale.mean, inputs.dtype)
    return (inputs - mean) / tf.constant(scale.std, inputs.dtype)


def scale_slope(scale: NamedScale | ChannelScale) -> float | npt.NDArray[np.float32]:
    """By how much scaled values change per unit of unscaled ones: one number, or one per channel.

    >>> scale_slope("none"), scale_slope("unit") * 255
    (1.0, 1.0)
    """
    if isinstance(scale, str):
        return {"none": 1.0, "unit": 1 / _BYTE_MAXIMUM, "symmetric": 2 / _BYTE_MAXIMUM}[scale]
    slopes: npt.NDArray[np.float32] = np.float32(1) / np.array(scale.std, np.float32)
    return slopes
