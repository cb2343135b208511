"""What a model puts out for decoded inputs, a bounded number of them at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from transforms.formats.source import InputSpec
from transforms.models.loading import LoadedModel
from transforms.saliency.preprocess import apply_scale

if TYPE_CHECKING:
    import tensorflow as tf

_BATCH_ELEMENTS = 64 * 224 * 224 * 3  # What one call of the model is given at most.


def predictor(
    model: LoadedModel, spec: InputSpec
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """A function from inputs as they are decoded to the model's outputs.

    Args:
      model: The model, taking channels wherever it does.
      spec: How its inputs are scaled.

    Returns:
      (N, *decoded shape) float32, images in 0..255 -> (N, outputs) float32.
    """
    import tensorflow as tf

    taking = model.with_channels(spec.channels)

    @tf.function(reduce_retracing=True)
    def outputs(inputs: tf.Tensor) -> tf.Tensor:
        return taking(tf.cast(apply_scale(inputs, spec.scale), model.input_dtype))

    def predict(inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        size = max(1, _BATCH_ELEMENTS // spec.elements)
        parts = [
            outputs(tf.constant(inputs[start : start + size])).numpy()
            for start in range(0, len(inputs), size)
        ]
        return np.concatenate(parts).astype(np.float32)

    return predict
