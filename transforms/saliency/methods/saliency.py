"""Saliency: the absolute gradient of a class's score by the input.

    A_ij = max_c |dg/dx_ijc|

Simonyan, Vedaldi, Zisserman 2013, arXiv 1312.6034, section 3.1. It needs one gradient per map; maps
have no sign unless `explain.sign` asks for it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from transforms.saliency.contract.method import Method, Sign, State
from transforms.saliency.reducers import Reducer

if TYPE_CHECKING:
    import tensorflow as tf

DEFAULT_REDUCER: Reducer = "max"
"""What the paper does."""


@dataclasses.dataclass(frozen=True)
class SaliencyMethod(Method):
    """Magnitudes of gradients, reduced over the channels of images."""

    signs: ClassVar[tuple[Sign, ...]] = ("absolute", "positive", "signed")
    reducer: ClassVar[Reducer | None] = DEFAULT_REDUCER
    finishes_gradients: ClassVar[bool] = True

    def finish(
        self, state: State, inputs: tf.Tensor | None, scores: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The gradients; see `Method`."""
        del inputs, scores
        return state[0], {}


METHOD = SaliencyMethod
