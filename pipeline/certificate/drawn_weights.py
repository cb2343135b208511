"""Weights drawn anew, layer by layer from the output: what maps of the model should depend on.

Each kernel (a variable of at least two axes) is drawn from a normal distribution with its own mean
and standard deviation, so that activations keep their size. Biases and what normalises stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from transforms.models.layers import NamedLayer, is_model, list_layers

MOST_STEPS = 5
"""Layers are drawn in so many groups of the same size at most."""

_SEED = 0
_KERNEL_AXES = 2
_NORMALISING = frozenset(
    {
        "BatchNormalization",
        "GroupNormalization",
        "LayerNormalization",
        "Normalization",
        "RMSNormalization",
    }
)
"""Classes of layers, by name as Keras 2 has its own; of several axes, their scales have them."""


def layers_with_kernels(keras_model: Any) -> list[NamedLayer]:
    """The layers that have a kernel, from the output to the input; each once.

    Args:
      keras_model: The Keras model; layers of a model in it count, not that model.
    """
    found: dict[int, NamedLayer] = {}
    for named in list_layers(keras_model):
        if is_model(named.layer) or type(named.layer).__name__ in _NORMALISING:
            continue
        if _kernels(named.layer):
            found.setdefault(id(named.layer), named)
    return list(found.values())[::-1]


def draw_weights(layers: list[NamedLayer]) -> Iterator[int]:
    """Draws kernels anew in at most `MOST_STEPS` steps, and keeps those of the steps before.

    Yields:
      How many layers have new weights.
    """
    generator = np.random.Generator(np.random.Philox(_SEED))
    drawn = 0
    for group in np.array_split(np.arange(len(layers)), min(MOST_STEPS, len(layers))):
        for number in group:
            for kernel in _kernels(layers[number].layer):
                values = np.asarray(kernel)
                new = generator.normal(values.mean(), values.std(), values.shape)
                kernel.assign(new.astype(values.dtype))
        drawn += len(group)
        yield drawn


def _kernels(layer: Any) -> list[Any]:
    return [each for each in layer.weights if len(each.shape) >= _KERNEL_AXES]
