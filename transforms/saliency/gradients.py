"""Input gradients: how an example's score changes with each of its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transforms.errors import ConfigurationError
from transforms.saliency.scores.operators import Operator, scores_of

if TYPE_CHECKING:
    import tensorflow as tf


def input_gradient(
    model: Callable[[tf.Tensor], tf.Tensor],
    operator: Operator,
    inputs: tf.Tensor,
    targets: Any,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradient of the operator by its inputs, and its value.

    Simonyan, Vedaldi, Zisserman 2013, arXiv 1312.6034, section 3.

    Args:
      model: f; a function of (N, ...) inputs.
      operator: g(model, inputs, targets) -> (N,).
      inputs: (N, ...), floating-point.
      targets: What the operator takes, such as (N, outputs) one-hot.

    Returns:
      Gradient dg/dx of the inputs' shape and scores (N,), both float32.

    Raises:
      ConfigurationError: The inputs are integers, the operator does not return one score an
        example, or its score does not depend on the inputs in a differentiable way.
    """
    import tensorflow as tf

    if not inputs.dtype.is_floating:
        raise ConfigurationError(
            f"inputs are {inputs.dtype.name}, which have no gradient; convert them to float32"
        )
    # Only the inputs are watched: gradients by the weights are never asked for.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        scores = scores_of(model, operator, inputs, targets)
    # The gradient of the scores' sum is each example's own: a score depends on its example alone.
    gradient = tape.gradient(scores, inputs)
    if gradient is None:
        raise ConfigurationError(
            "the explained score does not depend on the inputs in a differentiable way; choose "
            "another output_layer or operator (rounding, argmax and integer casts have no gradient)"
        )
    return tf.cast(tf.convert_to_tensor(gradient), tf.float32), tf.cast(scores, tf.float32)
