"""Explainers that take gradients by the input. Arguments are named as Xplique documents them.

What Xplique 2.0.2 does otherwise: its `output_layer` has no effect, as it differentiates the model
it was given; its noise comes from an unseeded generator, so two calls differ.
"""

from __future__ import annotations

from typing import ClassVar

from transforms.formats.source import Channels
from transforms.saliency.explainers.explainer import (
    ExplainedModel,
    Explainer,
    OneOrPerChannel,
    in_channels,
)
from transforms.saliency.methods.gradient_input import GradientInputMethod
from transforms.saliency.methods.integrated_gradients import IntegratedGradientsMethod
from transforms.saliency.methods.saliency import DEFAULT_REDUCER, SaliencyMethod
from transforms.saliency.methods.smoothgrad import SmoothGradMethod
from transforms.saliency.methods.squaregrad import SquareGradMethod
from transforms.saliency.methods.vargrad import VarGradMethod
from transforms.saliency.perturbing.noise import NoiseMethod
from transforms.saliency.scores.operators import Operator

_NOISE = 0.2
"""Xplique's standard deviation, for inputs of about 0..1."""


class Saliency(Explainer):
    """Saliency maps: the absolute gradient of a class's score by the input.

    A_ij = max_c |dg/dx_ijc| (Simonyan, Vedaldi, Zisserman 2013, arXiv 1312.6034).

    `output_layer` is honoured, unlike in Xplique 2.0.2.

    With a Keras `model` of four classes and `images`, (2, 12, 12, 3):

    >>> import tensorflow as tf
    >>> explainer = Saliency(model, output_layer="logits", batch_size=32)
    >>> explainer.explain(images, tf.one_hot([3, 0], 4)).shape
    TensorShape([2, 12, 12, 1])
    """

    def __init__(
        self,
        model: ExplainedModel,
        output_layer: str | int | None = None,
        batch_size: int | None = 64,
        operator: str | Operator | None = None,
        reducer: str | None = DEFAULT_REDUCER,
        *,
        channels: Channels | None = None,
    ) -> None:
        """Prepares an explainer; the arguments are those of `Explainer`."""
        super().__init__(
            model,
            SaliencyMethod(),
            output_layer=output_layer,
            batch_size=batch_size,
            operator=operator,
            reducer=reducer,
            channels=channels,
        )


class GradientInput(Explainer):
    """Gradient x input: the gradient of a class's score, times the input.

    A_ij = sum_c x_ijc dg/dx_ijc (Shrikumar, Greenside, Shcherbina, Kundaje 2016, arXiv 1605.01713).

    Channels are added, as a pixel's channels share what it adds to the score; `reducer="mean"` is
    what Xplique does. `output_layer` is honoured, unlike in Xplique 2.0.2.

    >>> import tensorflow as tf
    >>> GradientInput(model, "logits").explain(images, tf.one_hot([3, 0], 4)).shape
    TensorShape([2, 12, 12, 1])
    """

    def __init__(
        self,
        model: ExplainedModel,
        output_layer: str | int | None = None,
        batch_size: int | None = 64,
        operator: str | Operator | None = None,
        reducer: str | None = "sum",
        *,
        channels: Channels | None = None,
    ) -> None:
        """Prepares an explainer; the arguments are those of `Explainer`."""
        super().__init__(
            model,
            GradientInputMethod(),
            output_layer=output_layer,
            batch_size=batch_size,
            operator=operator,
            reducer=reducer,
            channels=channels,
        )


class IntegratedGradients(Explainer):
    """Integrated gradients: gradients from a baseline to the input, by the trapezoidal rule.

    A_i = (x_i - x'_i) integral_0^1 dg/dx_i(x' + a (x - x')) da
    (Sundararajan, Taly, Yan 2017, arXiv 1703.01365).

    Channels are added, so that a map's sum is what the score differs by; `reducer="mean"` is what
    Xplique does. `output_layer` is honoured, unlike in Xplique 2.0.2.

    >>> import tensorflow as tf
    >>> explainer = IntegratedGradients(model, "logits", steps=4)
    >>> explainer.explain(images, tf.one_hot([3, 0], 4)).shape
    TensorShape([2, 12, 12, 1])
    """

    def __init__(  # noqa: PLR0917 - in Xplique's order
        self,
        model: ExplainedModel,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: str | Operator | None = None,
        reducer: str | None = "sum",
        steps: int = 50,
        baseline_value: OneOrPerChannel = 0.0,
        *,
        channels: Channels | None = None,
    ) -> None:
        """Prepares an explainer.

        Args:
          model: As `Explainer` takes it.
          output_layer: The same.
          batch_size: The same; all of them are at one point of the way at a time.
          operator: As `Explainer` takes it.
          reducer: The same.
          steps: Points on the way, both ends among them; at least 2.
          baseline_value: Where it begins: one number, or one per channel.
          channels: As `Explainer` takes it.
        """
        super().__init__(
            model,
            IntegratedGradientsMethod(steps, in_channels(baseline_value)),
            output_layer=output_layer,
            batch_size=batch_size,
            operator=operator,
            reducer=reducer,
            channels=channels,
        )


class _NoiseExplainer(Explainer):
    """A statistic of the gradients at noisy copies of the input."""

    _kind: ClassVar[type[NoiseMethod]]

    def __init__(  # noqa: PLR0917 - in Xplique's order
        self,
        model: ExplainedModel,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: str | Operator | None = None,
        reducer: str | None = "mean",
        nb_samples: int = 50,
        noise: float = _NOISE,
        *,
        seed: int = 0,
        channels: Channels | None = None,
    ) -> None:
        """Prepares an explainer.

        Args:
          model: As `Explainer` takes it.
          output_layer: The same.
          batch_size: The same; each of them is one copy at a time.
          operator: As `Explainer` takes it.
          reducer: The same.
          nb_samples: Noisy copies of each input.
          noise: Standard deviation of the noise, in the inputs' own units: for images of 0..255,
            38.25 is what the paper advises.
          seed: What the noise depends on, beside an example's position among the inputs.
          channels: As `Explainer` takes it.
        """
        super().__init__(
            model,
            self._kind(nb_samples, noise, seed),
            output_layer=output_layer,
            batch_size=batch_size,
            operator=operator,
            reducer=reducer,
            channels=channels,
        )


class SmoothGrad(_NoiseExplainer):
    """SmoothGrad: the mean gradient at noisy copies of the input.

    A = 1/n sum_i dg/dx(x + n_i)
    (Smilkov, Thorat, Kim, Viegas, Wattenberg 2017, arXiv 1706.03825).

    The noise is seeded, and `output_layer` is honoured, unlike in Xplique 2.0.2.

    >>> import tensorflow as tf
    >>> explainer = SmoothGrad(model, "logits", nb_samples=4, noise=38.25, seed=1)
    >>> explainer.explain(images, tf.one_hot([3, 0], 4)).shape
    TensorShape([2, 12, 12, 1])
    """

    _kind = SmoothGradMethod


class SquareGrad(_NoiseExplainer):
    """SquareGrad: the mean squared gradient at noisy copies of the input.

    A = 1/n sum_i (dg/dx(x + n_i))^2 (Hooker, Erhan, Kindermans, Kim 2018, arXiv 1806.10758).

    The noise is seeded, and `output_layer` is honoured, unlike in Xplique 2.0.2.

    >>> import tensorflow as tf
    >>> explainer = SquareGrad(model, "logits", nb_samples=4, noise=38.25)
    >>> explainer.explain(images, tf.one_hot([3, 0], 4)).shape
    TensorShape([2, 12, 12, 1])
    """

    _kind = SquareGradMethod


class VarGrad(_NoiseExplainer):
    """VarGrad: the variance of the gradient over noisy copies of the input.

    A = 1/(n-1) sum_i (dg/dx(x + n_i) - mean)^2
    (Adebayo, Gilmer, Goodfellow, Kim 2018, arXiv 1810.03307).

    The noise is seeded, and `output_layer` is honoured, unlike in Xplique 2.0.2.

    >>> import tensorflow as tf
    >>> explainer = VarGrad(model, "logits", nb_samples=4, noise=38.25)
    >>> explainer.explain(images, tf.one_hot([3, 0], 4)).shape
    TensorShape([2, 12, 12, 1])
    """

    _kind = VarGradMethod
