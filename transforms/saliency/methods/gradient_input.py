"""Gradient x input: the gradient of a class's score by the input, times the input.

    A_ijc = x_ijc dg/dx_ijc

Shrikumar, Greenside, Shcherbina, Kundaje 2016, arXiv 1605.01713, section 3. Inputs are unscaled
ones: of an image the values 0..255. One gradient per map; maps have a sign, channels are added.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from transforms.saliency.contract.method import Method, State

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class GradientInputMethod(Method):
    """Gradients times inputs."""

    uses_inputs: ClassVar[bool] = True

    def finish(
        self, state: State, inputs: tf.Tensor | None, scores: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The products; see `Method`."""
        import tensorflow as tf

        del scores
        assert inputs is not None  # noqa: S101 - as `uses_inputs` says
        return state[0] * inputs[:, tf.newaxis], {}


METHOD = GradientInputMethod
