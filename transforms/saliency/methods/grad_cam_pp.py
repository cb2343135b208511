"""Grad-CAM++: a layer's activations, weighed by what is positive in each place's gradient.

    A = ReLU(sum_k w_k A_k),  w_k = sum_ij a_k,ij ReLU(dY/dA_k,ij)

    a_k,ij = d2Y/dA_k,ij^2 / (2 d2Y/dA_k,ij^2 + sum_ab A_k,ab d3Y/dA_k,ij^3)

Chattopadhay, Sarkar, Howlader, Balasubramanian 2018, arXiv 1710.11063, equations 5, 10 and 19, with
Y = exp(g) as in section 3.2. With the gradient d of g by A_k,ij the derivatives of Y are exp(g) d,
exp(g) d^2 and exp(g) d^3, so that a = 1 / (2 + d sum_ab A_k,ab); where that has no value, it is 0.
The factor exp(g) scales a map as a whole, and overflows beyond g = 88: it is left out. One gradient
per map; layer, size and sign are as of `grad_cam`.
"""

from __future__ import annotations

import dataclasses

from transforms.saliency.attribution import Attribution
from transforms.saliency.contract.layer_method import LayerMethod, weighed_activations
from transforms.saliency.contract.method import State


@dataclasses.dataclass(frozen=True)
class GradCamPPMethod(LayerMethod):
    """Activations weighed by positive gradients."""

    def begin(self, first: Attribution) -> State:
        """The weighed activations, (N, K, h, w)."""
        import tensorflow as tf

        gradients, activations = first.gradients, first.activations
        sums = tf.reduce_sum(activations, axis=[1, 2], keepdims=True)[:, tf.newaxis]
        positive = tf.nn.relu(gradients)
        shares = tf.math.divide_no_nan(positive, 2.0 + gradients * sums)
        weights = tf.reduce_sum(shares, axis=[2, 3])
        return (weighed_activations(weights, activations),)


METHOD = GradCamPPMethod
