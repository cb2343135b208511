"""Saliency: the absolute gradient of a class's score by the input.

    A_ij = max_c |dg/dx_ijc|

Simonyan, Vedaldi, Zisserman 2013, arXiv 1312.6034, section 3.1. It needs one gradient per map; maps
have no sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transforms.saliency.reducers import Reducer, reduce_channels

if TYPE_CHECKING:
    import tensorflow as tf

DEFAULT_REDUCER: Reducer = "max"
"""What the paper does."""


class SaliencyMethod:
    """Magnitudes of gradients, reduced over the channels of images."""

    def maps(self, gradients: tf.Tensor, reducer: Reducer) -> tf.Tensor:
        """Maps >= 0 of M gradients; see `Method`."""
        import tensorflow as tf

        return reduce_channels(tf.abs(gradients), reducer)


METHOD = SaliencyMethod()
