"""Grad-CAM: a layer's activations, weighed by the mean gradient of each of its channels.

    A = ReLU(sum_k a_k A_k),  a_k = 1/(h w) sum_ij dg/dA_k,ij

Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, arXiv 1610.02391, section 3, equations 1 and
2. One gradient per map, by the layer that `explain.layer` names; without it by the last one that
has places. Maps have no channels; they are the layer's, brought to the input's size by bilinear
interpolation, as in the paper's code. The sign is taken before: `explain.sign: signed` leaves out
the ReLU.
"""

from __future__ import annotations

import dataclasses

from transforms.saliency.attribution import Attribution
from transforms.saliency.contract.layer_method import LayerMethod, weighed_activations
from transforms.saliency.contract.method import State


@dataclasses.dataclass(frozen=True)
class GradCamMethod(LayerMethod):
    """Activations weighed by mean gradients."""

    def begin(self, first: Attribution) -> State:
        """The weighed activations, (N, K, h, w)."""
        import tensorflow as tf

        weights = tf.reduce_mean(first.gradients, axis=[2, 3])
        return (weighed_activations(weights, first.activations),)


METHOD = GradCamMethod
