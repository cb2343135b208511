"""Gradients for several targets of each example, with one forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from transforms.errors import ConfigurationError
from transforms.saliency.scores.operators import Operator, scores_of

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class TargetGradients:
    """What explaining N examples for K targets each gives, before any reduction.

    Attributes:
      outputs: (N, C) float32, the model's.
      targets: (N, K) int32, the classes explained.
      scores: (N, K) float32, the operator's values.
      gradients: (N, K, ...) float32, each score's gradient by its inputs.
    """

    outputs: tf.Tensor
    targets: tf.Tensor
    scores: tf.Tensor
    gradients: tf.Tensor

    @property
    def fields(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """All of it, in order."""
        return self.outputs, self.targets, self.scores, self.gradients


def target_gradients(
    model: Callable[[tf.Tensor], tf.Tensor],
    operator: Operator,
    inputs: tf.Tensor,
    choose: Callable[[tf.Tensor], tf.Tensor],
    loss_scale: float = 1.0,
) -> TargetGradients:
    """Gradients of the operator, one for each target that the outputs lead to.

    Simonyan, Vedaldi, Zisserman 2013, arXiv 1312.6034, section 3. The forward pass that tells which
    classes to explain is the one that is differentiated: an operator that calls the model on the
    same inputs gets the same outputs, not a second pass.

    Args:
      model: f; returns (N, C) for (N, ...) inputs.
      operator: g(model, inputs, targets) -> (N,), targets one-hot (N, C).
      inputs: (N, ...), floating-point.
      choose: Gives the (N, K) classes to explain from the (N, C) outputs; K is static.
      loss_scale: What is differentiated is the score times this, and divided by it afterwards, so
        that small gradients do not vanish where some operations have few bits.

    Raises:
      ConfigurationError: The operator does not return one score an example, or its score does
        not depend on the inputs in a differentiable way.
    """
    import tensorflow as tf

    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs = model(inputs)

        def remembered(values: tf.Tensor) -> tf.Tensor:
            return outputs if values is inputs else model(values)

        targets = choose(outputs)
        scores = [
            scores_of(remembered, operator, inputs, tf.one_hot(column, outputs.shape[-1]))
            for column in tf.unstack(targets, axis=1)
        ]
    gradients = []
    for score in scores:
        # The gradient of the sum is each example's own: a score depends on its example alone.
        seed = loss_scale * tf.ones_like(score)
        gradient = tape.gradient(score, inputs, output_gradients=seed)
        if gradient is None:
            raise ConfigurationError(
                "the explained score does not depend on the inputs in a differentiable way; choose "
                "another output_layer or operator (rounding and argmax have no gradient)"
            )
        gradients.append(tf.cast(tf.convert_to_tensor(gradient), tf.float32) / loss_scale)
    return TargetGradients(
        outputs=tf.cast(outputs, tf.float32),
        targets=targets,
        scores=tf.cast(tf.stack(scores, axis=1), tf.float32),
        gradients=tf.stack(gradients, axis=1),
    )
