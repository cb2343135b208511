"""Explainers of a layer's activations. Arguments are named as Xplique documents them.

What Xplique 2.0.2 does otherwise: it ignores `output_layer` and `operator`, looks for layers in the
outermost model alone, and interpolates with cubes, which makes negative values of maps that have
none. Its Grad-CAM++ takes the mean of the activations where the paper has their sum.
"""

from __future__ import annotations

from typing import ClassVar

from transforms.formats.source import Channels
from transforms.saliency.activations import LayerName
from transforms.saliency.contract.layer_method import LayerMethod
from transforms.saliency.explainers.explainer import ExplainedModel, Explainer
from transforms.saliency.methods.grad_cam import GradCamMethod
from transforms.saliency.methods.grad_cam_pp import GradCamPPMethod
from transforms.saliency.scores.operators import Operator


class _LayerExplainer(Explainer):
    """The weighed activations of a layer, brought to the inputs' size."""

    _kind: ClassVar[type[LayerMethod]]

    def __init__(
        self,
        model: ExplainedModel,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: str | Operator | None = None,
        conv_layer: LayerName = None,
        *,
        channels: Channels | None = None,
    ) -> None:
        """Prepares an explainer.

        Args:
          model: A Keras model.
          output_layer: As `Explainer` takes it.
          batch_size: The same.
          operator: The same.
          conv_layer: Name, path (`submodel/name`) or index of the layer whose activations are
            explained; None is the last one that returns (N, h, w, c), is larger than 1 x 1 and
            changes the score.
          channels: As `Explainer` takes it.
        """
        super().__init__(
            model,
            self._kind(),
            output_layer=output_layer,
            batch_size=batch_size,
            operator=operator,
            channels=channels,
            conv_layer=conv_layer,
        )


class GradCAM(_LayerExplainer):
    """Grad-CAM: a layer's activations, weighed by the mean gradient of each channel.

    A = ReLU(sum_k a_k A_k), a_k = 1/(h w) sum_ij dg/dA_k,ij
    (Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, arXiv 1610.02391).

    `output_layer` and `operator` are honoured, and layers of nested models found, unlike in Xplique
    2.0.2. Maps are interpolated bilinearly, as the paper's code does it.

    >>> import tensorflow as tf
    >>> GradCAM(model, "logits").explain(images, tf.one_hot([3, 0], 4)).shape
    TensorShape([2, 12, 12, 1])
    """

    _kind = GradCamMethod


class GradCAMPP(_LayerExplainer):
    """Grad-CAM++: a layer's activations, weighed by what is positive in each place's gradient.

    A = ReLU(sum_k w_k A_k), w_k = sum_ij ReLU(d_k,ij) / (2 + d_k,ij sum_ab A_k,ab), d = dg/dA
    (Chattopadhay, Sarkar, Howlader, Balasubramanian 2018, arXiv 1710.11063).

    The formula is the paper's, with the sum of the activations; Xplique 2.0.2 takes their mean.
    `output_layer` and `operator` are honoured, and layers of nested models found.

    >>> import tensorflow as tf
    >>> GradCAMPP(model, "logits").explain(images, tf.one_hot([3, 0], 4)).shape
    TensorShape([2, 12, 12, 1])
    """

    _kind = GradCamPPMethod
