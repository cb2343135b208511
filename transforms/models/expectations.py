"""What a model's own layers say of the values that it was made for.

A `Rescaling` at its beginning says which range it brings to 0..1 or -1..1. A `Normalization`, or
the first batch normalisation, holds the mean and the variance of what it was trained on, so what it
is given now can be held against that.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.models.layers import NamedLayer, list_layers, recorded_inputs

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_FEWEST_VALUES = 16
"""A mean or a variance of fewer says little."""

_OTHER_SPREAD = 10.0
"""Standard deviations that differ by this factor are of values in other units."""

_FAR = 10.0
"""So many of the trained standard deviations away, a mean is of values in other units."""

_SMALLEST_VARIANCE = 1e-8
"""A channel that varied less was dead in training, and says nothing."""

_PASSING = ("InputLayer", "Dropout", "GaussianNoise", "Identity", "Reshape")
"""Kinds of layers that hand on what they are given when they do not train."""


@dataclasses.dataclass(frozen=True)
class Rescaled:
    """A model's first layer, where it is a `Rescaling`.

    Attributes:
      layer: Its path.
      scale: What it multiplies by.
      offset: What it adds.
    """

    layer: str
    scale: float
    offset: float

    def doubt(self, lowest: float, highest: float) -> str | None:
        """What is to be said of inputs in a range; None where they may be what it was made for.

        >>> by_bytes = Rescaled("rescaling", 1 / 255, 0.0)
        >>> by_bytes.doubt(0.0, 255.0) is None, by_bytes.doubt(0.0, 1.0) is None
        (True, False)
        """
        is_for_bytes = 0 < self.scale < 1 / 64
        if not is_for_bytes or highest - lowest <= 0 or max(abs(lowest), abs(highest)) > 2:  # noqa: PLR2004
            return None
        return (
            f"the model's layer {self.layer!r} multiplies its inputs by {self.scale:.3g}, as for "
            f"values up to 255, but the first examples' are {lowest:.3g} to {highest:.3g}"
        )


@dataclasses.dataclass(frozen=True)
class LayerMoments:
    """What a normalising layer was trained on, beside what it is given.

    Attributes:
      layer: Its path.
      trained_mean: (C,) by channel.
      trained_variance: (C,).
      mean: (C,) of the first examples.
      variance: (C,).
      values: How many values each of the two is of.
    """

    layer: str
    trained_mean: npt.NDArray[np.float64]
    trained_variance: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]
    values: int

    def doubt(self) -> str | None:
        """What is to be said where what it is given is not what it was trained on; else None."""
        alive = self.trained_variance > _SMALLEST_VARIANCE
        untrained = not self.trained_mean.any() and (self.trained_variance == 1).all()
        finite = np.isfinite(self.mean).all() and np.isfinite(self.variance).all()
        if self.values < _FEWEST_VALUES or not alive.any() or untrained or not finite:
            return None
        deviation = np.sqrt(self.trained_variance[alive])
        spread = float(np.median(np.sqrt(self.variance[alive]) / deviation))
        away = float(np.median(np.abs(self.mean - self.trained_mean)[alive] / deviation))
        what = f"what the model's layer {self.layer!r} is given of the first examples"
        if spread < 1 / _OTHER_SPREAD or spread > _OTHER_SPREAD:
            return f"{what} varies {spread:.3g} times as much as what it was trained on"
        if away > _FAR:
            return f"{what} is {away:.3g} standard deviations from what it was trained on"
        return None


def first_rescaling(model: keras.Model | None) -> Rescaled | None:
    """The `Rescaling` that inputs meet first; None where they meet something else."""
    import keras

    for named in list_layers(model) if model is not None else ():
        layer = named.layer
        if isinstance(layer, keras.Model) or type(layer).__name__ in _PASSING:
            continue
        if not isinstance(layer, keras.layers.Rescaling):
            return None
        scale, offset = np.ravel(layer.scale), np.ravel(layer.offset)
        return Rescaled(named.path, float(scale[0]), float(offset[0]))
    return None


class MomentsRecorder:
    """Takes the moments of what a model's first normalising layer is given, in the model's graph.

    Args:
      model: A Keras model; None, or a model without such a layer, records nothing.
    """

    def __init__(self, model: keras.Model | None) -> None:
        self._layer = None if model is None else _first_normalizing(model)

    @contextlib.contextmanager
    def listening(self) -> Iterator[Mapping[str, Any]]:
        """Gives what the layer is given by calls of the model made meanwhile."""
        with recorded_inputs([] if self._layer is None else [self._layer]) as given:
            yield given

    def moments(self, given: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """`mean` (C,), `variance` (C,) and `values` (), as tensors of the graph that is traced.

        Empty where there is nothing to tell, or where it was computed in a graph of its own.
        """
        import tensorflow as tf

        if self._layer is None or self._layer.path not in given:
            return {}
        inputs = given[self._layer.path]
        here = tf.compat.v1.get_default_graph()
        if not tf.is_symbolic_tensor(inputs) or inputs.graph is not here:
            return {}
        axis = _channel_axis(self._layer.layer, inputs.shape.rank)
        if axis is None:
            return {}
        others = [each for each in range(inputs.shape.rank) if each != axis]
        mean, variance = tf.nn.moments(tf.cast(inputs, tf.float32), others)
        return {"mean": mean, "variance": variance, "values": tf.size(inputs) // tf.size(mean)}

    def result(self, moments: Mapping[str, Any]) -> LayerMoments | None:
        """What `moments` gave, computed, beside what the layer was trained on."""
        if self._layer is None or not moments:
            return None
        layer: Any = self._layer.layer
        is_batch = hasattr(layer, "moving_mean")
        mean, variance = (
            (layer.moving_mean, layer.moving_variance) if is_batch else (layer.mean, layer.variance)
        )
        return LayerMoments(
            self._layer.path,
            np.ravel(np.asarray(mean)).astype(np.float64),
            np.ravel(np.asarray(variance)).astype(np.float64),
            np.asarray(moments["mean"]).astype(np.float64),
            np.asarray(moments["variance"]).astype(np.float64),
            int(moments["values"]),
        )


def _first_normalizing(model: keras.Model) -> NamedLayer | None:
    import keras

    kinds = (keras.layers.Normalization, keras.layers.BatchNormalization)
    for named in list_layers(model):
        if isinstance(named.layer, kinds) and not getattr(named.layer, "invert", False):
            return named
    return None


def _channel_axis(layer: Any, rank: int) -> int | None:
    """The one axis that the layer keeps statistics of; None where it is not one."""
    axis = layer.axis
    axes = tuple(axis) if isinstance(axis, list | tuple) else (axis,)
    return axes[0] % rank if len(axes) == 1 and axes[0] is not None else None
