"""Explainers that take no gradients. Arguments are named as Xplique documents them.

What Xplique 2.0.2 does otherwise: its occlusion adds up what overlapping patches cost, so that
places covered by more patches have more; its RISE divides by how often its masks let a place
through, where the paper divides by how often they are expected to, and its masks are not seeded.
"""

from __future__ import annotations

from transforms.formats.source import Channels
from transforms.saliency.explainers.explainer import (
    ExplainedModel,
    Explainer,
    OneOrPerChannel,
    in_channels,
)
from transforms.saliency.methods.occlusion import OcclusionMethod
from transforms.saliency.methods.rise import RiseMethod
from transforms.saliency.scores.operators import Operator


class Occlusion(Explainer):
    """Occlusion: how much of a class's score goes when a patch of the input is covered.

    A_p = mean over the patches that cover p of g(x) - g(x with the patch covered)
    (Zeiler, Fergus 2013, arXiv 1311.2901).

    Overlapping patches are averaged; Xplique 2.0.2 adds them up.

    >>> import tensorflow as tf
    >>> Occlusion(model, patch_size=4, patch_stride=2).explain(images, tf.one_hot([3, 0], 4)).shape
    TensorShape([2, 12, 12, 1])
    """

    def __init__(  # noqa: PLR0917 - in Xplique's order
        self,
        model: ExplainedModel,
        batch_size: int | None = 32,
        operator: str | Operator | None = None,
        patch_size: int | tuple[int, int] = 3,
        patch_stride: int | tuple[int, int] = 3,
        occlusion_value: OneOrPerChannel = 0.0,
        *,
        output_layer: str | int | None = None,
        channels: Channels | None = None,
    ) -> None:
        """Prepares an explainer.

        Args:
          model: As `Explainer` takes it; it needs no gradient.
          batch_size: The same; all of them have one patch at a time.
          operator: As `Explainer` takes it.
          patch_size: (rows, columns) of a patch, or one number for both.
          patch_stride: The same from patch to patch.
          occlusion_value: What covers: one number, or one per channel.
          output_layer: As `Explainer` takes it.
          channels: The same.
        """
        super().__init__(
            model,
            OcclusionMethod(patch_size, patch_stride, in_channels(occlusion_value)),
            output_layer=output_layer,
            batch_size=batch_size,
            operator=operator,
            channels=channels,
        )


class Rise(Explainer):
    """RISE: the mean score of randomly masked inputs, wherever the mask lets the input through.

    A_p = 1 / (E[M] n) sum_i g(x M_i) M_i(p) (Petsiuk, Das, Saenko 2018, arXiv 1806.07421).

    Masks are seeded, unlike in Xplique 2.0.2, and the same for all examples.

    >>> import tensorflow as tf
    >>> Rise(model, nb_samples=8, grid_size=3).explain(images, tf.one_hot([3, 0], 4)).shape
    TensorShape([2, 12, 12, 1])
    """

    def __init__(  # noqa: PLR0917 - in Xplique's order
        self,
        model: ExplainedModel,
        batch_size: int | None = 32,
        operator: str | Operator | None = None,
        nb_samples: int = 4000,
        grid_size: int | tuple[int, int] = 7,
        preservation_probability: float = 0.5,
        mask_value: OneOrPerChannel = 0.0,
        *,
        seed: int = 0,
        output_layer: str | int | None = None,
        channels: Channels | None = None,
    ) -> None:
        """Prepares an explainer.

        Args:
          model: As `Explainer` takes it; it needs no gradient.
          batch_size: The same; all of them have one mask at a time.
          operator: As `Explainer` takes it.
          nb_samples: Masks.
          grid_size: Cells of a mask down and across, or one number for both.
          preservation_probability: Of a cell to let the input through, above 0 and at most 1.
          mask_value: What is put where it does not: one number, or one per channel.
          seed: What the masks depend on.
          output_layer: As `Explainer` takes it.
          channels: The same.
        """
        value = in_channels(mask_value)
        super().__init__(
            model,
            RiseMethod(nb_samples, grid_size, preservation_probability, value, seed),
            output_layer=output_layer,
            batch_size=batch_size,
            operator=operator,
            channels=channels,
        )
