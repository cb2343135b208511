"""What a model puts out for decoded inputs, a bounded number of them at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from transforms.formats.source import InputSpec
from transforms.models.loading import LoadedModel
from transforms.saliency.attribution import pad
from transforms.saliency.program import ProgramSpec, explained_inputs, model_inputs
from transforms.saliency.scores.operators import resolve_operator
from transforms.saliency.scores.targets import target_argument

if TYPE_CHECKING:
    import tensorflow as tf

_BATCH_ELEMENTS = 64 * 224 * 224 * 3  # What one call of the model is given at most.


def predictor(
    model: LoadedModel, spec: InputSpec
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """A function from inputs as they are decoded to the model's outputs.

    Args:
      model: The model, taking channels wherever it does.
      spec: How its inputs are scaled; a model of integers is given them rounded.

    Returns:
      (N, *decoded shape) float32, images in 0..255 -> (N, outputs) float32.
    """
    import tensorflow as tf

    taking = model.with_channels(spec.channels)

    @tf.function(reduce_retracing=True)
    def outputs(inputs: tf.Tensor) -> tf.Tensor:
        return taking(model_inputs(inputs, model, spec))

    def predict(inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        size = model.batch or max(1, _BATCH_ELEMENTS // spec.elements)
        parts = []
        for start in range(0, len(inputs), size):
            part = inputs[start : start + size]
            given = part if model.batch is None else pad(part, size)
            parts.append(outputs(tf.constant(given)).numpy()[: len(part)])
        return np.concatenate(parts).astype(np.float32)

    return predict


def scorer(model: LoadedModel, spec: ProgramSpec) -> Callable[..., tf.Tensor]:
    """A compiled function from inputs as they are decoded to what is explained of them.

    Args:
      model: As the operator of `spec` reads it.
      spec: What a run computes.

    Returns:
      ((n, *decoded shape) inputs, (n,) int32 targets, (n, ...) of each other input that is fed) ->
      (n, C) float32 probabilities of the classes; (n,) the operator's scores of the targets where
      the model returns no scores of classes.
    """
    import tensorflow as tf

    operator, classes = resolve_operator(spec.operator), model.classes
    is_probability = model.softmax is not None

    @functools.partial(tf.function, autograph=False, reduce_retracing=True)
    def scores(inputs: tf.Tensor, targets: tf.Tensor, *fed: tf.Tensor) -> tf.Tensor:
        taking, given = explained_inputs(inputs, model.feeding(fed), spec)
        if classes is None:
            return operator(taking, given, target_argument(targets, classes))
        outputs = tf.cast(taking(given), tf.float32)
        if is_probability:
            return outputs
        # A logit z is read as (-z, z), twice as far apart as those of its sigmoid.
        return tf.nn.softmax(outputs / 2 if model.is_paired else outputs)

    compiled: Callable[..., tf.Tensor] = scores
    return compiled
