"""Integrated gradients: gradients along the straight line from a baseline x' to the input.

    A_i = (x_i - x'_i) integral_0^1 dg/dx_i(x' + a (x - x')) da

Sundararajan, Taly, Yan 2017, arXiv 1703.01365, section 3. The integral is the trapezoidal rule at
`steps` points, both ends among them: that many gradients per map. Maps have a sign, and channels
are added, as a pixel's channels share what it adds to the score.

All values together are the score less the score at the baseline (completeness, proposition 1). By
how much the sum of the points misses that is stored as `completeness_error`: the sum of the values
less the difference of the scores, in units of the score. It falls with the number of steps.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from transforms.formats.source import InputSpec
from transforms.saliency.attribution import Attribution
from transforms.saliency.contract.method import Method, State, SteppedMethod
from transforms.saliency.contract.parameters import as_numbers, check_channels, require_count
from transforms.statistics.columns import COMPLETENESS_ERROR

if TYPE_CHECKING:
    import tensorflow as tf

_FEWEST_STEPS = 2  # both ends
_NAME = "integrated_gradients"


@dataclasses.dataclass(frozen=True)
class IntegratedGradientsMethod(SteppedMethod):
    """Gradients added up along a line.

    Attributes:
      steps: Points on the line, from 2.
      baseline: Where it begins, in unscaled input units: one number, or one per channel.
    """

    steps: int = 50
    baseline: float | tuple[float, ...] = 0.0

    columns: ClassVar[tuple[str, ...]] = (COMPLETENESS_ERROR,)
    uses_inputs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count(_NAME, "steps", self.steps, _FEWEST_STEPS)
        object.__setattr__(self, "baseline", as_numbers(_NAME, "baseline", self.baseline))

    @property
    def calls(self) -> int:
        """The points; the first is the input itself."""
        return self.steps

    def of_inputs(self, inputs: InputSpec) -> Method:
        """Refuses a baseline of another number of channels."""
        check_channels(_NAME, "baseline", self.baseline, inputs.decoded_shape)
        return self

    def begin(self, first: Attribution) -> State:
        """Half the input's gradient, as the rule weighs an end; and its score."""
        return first.gradients / 2, first.scores

    def perturb(self, inputs: tf.Tensor, step: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """The point of a step: from the input towards the baseline, which is the last."""
        import tensorflow as tf

        del keys
        done = tf.cast(step, tf.float32) / (self.steps - 1)
        baseline = tf.constant(self.baseline, tf.float32)
        return inputs + done * (baseline - inputs)

    def accumulate(
        self, state: State, step: tf.Tensor, keys: tf.Tensor, result: Attribution
    ) -> State:
        """Adds the gradient of a point, half of it at the baseline; and keeps its score."""
        import tensorflow as tf

        del keys
        weight = tf.where(step == self.steps - 1, 0.5, 1.0)
        return state[0] + weight * result.gradients, result.scores

    def finish(
        self, state: State, inputs: tf.Tensor | None, scores: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The mean gradient times the way from the baseline; see `Method`."""
        import tensorflow as tf

        assert inputs is not None  # noqa: S101 - as `uses_inputs` says
        gradients, score_at_baseline = state
        way = inputs - tf.constant(self.baseline, tf.float32)
        values = way[:, tf.newaxis] * (gradients / (self.steps - 1))
        total = tf.reduce_sum(values, axis=list(range(2, values.shape.rank)))
        return values, {COMPLETENESS_ERROR: total - (scores - score_at_baseline)}


METHOD = IntegratedGradientsMethod
