"""VarGrad: the variance of the gradient over noisy copies of the input.

    A = 1/(n-1) sum_i (dg/dx(x + n_i) - mean)^2,  n_i normal

Adebayo, Gilmer, Goodfellow, Kim 2018, arXiv 1810.03307, section 2.2. `samples` gradients per map,
at least two, and one to choose the target. Maps have no sign; channels are averaged. The variance
is the sample's (n - 1), added up as deviations from the mean so far (Welford 1962), as differences
of large sums would lose their digits.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from transforms.saliency.attribution import Attribution
from transforms.saliency.contract.method import Sign, State
from transforms.saliency.perturbing.noise import NoiseMethod

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class VarGradMethod(NoiseMethod):
    """Variances of gradients."""

    signs: ClassVar[tuple[Sign, ...]] = ("absolute",)
    fewest_samples: ClassVar[int] = 2

    def begin(self, first: Attribution) -> State:
        """Mean and squared deviations of nothing: the unperturbed input is no copy."""
        import tensorflow as tf

        zeros = tf.zeros_like(first.gradients)
        return zeros, zeros

    def accumulate(
        self, state: State, step: tf.Tensor, keys: tf.Tensor, result: Attribution
    ) -> State:
        """Adds a copy's gradient, the `step`-th."""
        import tensorflow as tf

        del keys
        mean, squares = state
        difference = result.gradients - mean
        mean = mean + difference / tf.cast(step, tf.float32)
        return mean, squares + difference * (result.gradients - mean)

    def finish(
        self, state: State, inputs: tf.Tensor | None, scores: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The variance; see `Method`."""
        del inputs, scores
        return state[1] / (self.samples - 1), {}


METHOD = VarGradMethod
