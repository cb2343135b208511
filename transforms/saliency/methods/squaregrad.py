"""SquareGrad: the mean squared gradient at noisy copies of the input.

    A = 1/n sum_i (dg/dx(x + n_i))^2,  n_i normal

Hooker, Erhan, Kindermans, Kim 2018, arXiv 1806.10758, section 3 ("SmoothGrad-Squared"). `samples`
gradients per map, and one to choose the target. Maps have no sign; channels are averaged.
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
class SquareGradMethod(NoiseMethod):
    """Mean squares of gradients."""

    signs: ClassVar[tuple[Sign, ...]] = ("absolute",)

    def accumulate(
        self, state: State, step: tf.Tensor, keys: tf.Tensor, result: Attribution
    ) -> State:
        """Adds the square of a copy's gradient."""
        import tensorflow as tf

        del step, keys
        return (state[0] + tf.square(result.gradients),)


METHOD = SquareGradMethod
