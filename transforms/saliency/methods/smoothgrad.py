"""SmoothGrad: the mean gradient at noisy copies of the input.

    A = 1/n sum_i dg/dx(x + n_i),  n_i normal

Smilkov, Thorat, Kim, Viegas, Wattenberg 2017, arXiv 1706.03825, section 2. `samples` gradients per
map, and one to choose the target. Maps have a sign; channels are averaged.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from transforms.saliency.attribution import Attribution
from transforms.saliency.contract.method import State
from transforms.saliency.perturbing.noise import NoiseMethod

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class SmoothGradMethod(NoiseMethod):
    """Mean gradients."""

    def accumulate(
        self, state: State, step: tf.Tensor, keys: tf.Tensor, result: Attribution
    ) -> State:
        """Adds a copy's gradient."""
        del step, keys
        return (state[0] + result.gradients,)


METHOD = SmoothGradMethod
