"""Makes a model under Keras's JAX backend, and takes its gradients there.

    ENVIRONMENT/bin/python jax_maker.py make MODEL.keras
    ENVIRONMENT/bin/python jax_maker.py gradient MODEL.keras INPUTS.npy CLASS GRADIENTS.npy

It needs Keras and JAX, and nothing of the project: the environment is one of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

SHAPE = (32, 32, 3)


def make(path: str) -> None:
    """Saves a small convolutional classifier with random weights."""
    import keras

    keras.utils.set_random_seed(3)
    k = keras.layers
    inputs = keras.Input(SHAPE)
    hidden = k.BatchNormalization()(k.Conv2D(8, 3, strides=2, activation="gelu")(inputs))
    hidden = hidden + k.Conv2D(8, 3, padding="same", activation="silu")(hidden)
    pooled = k.GlobalAveragePooling2D()(k.LayerNormalization()(hidden))
    keras.Model(inputs, k.Dense(3)(pooled)).save(path)


def gradient(path: str, inputs: str, number: str, gradients: str) -> None:
    """Writes the gradients of a class's outputs by the inputs, as JAX takes them."""
    import jax
    import keras
    import numpy as np

    model = keras.models.load_model(path)
    variables = [
        [each.value for each in group]
        for group in (model.trainable_variables, model.non_trainable_variables)
    ]

    def score(values: Any) -> Any:
        outputs, _ = model.stateless_call(*variables, values, training=False)
        return outputs[:, int(number)].sum()

    np.save(gradients, np.asarray(jax.grad(score)(np.load(inputs))))


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "jax"
    commands: dict[str, Callable[..., None]] = {"make": make, "gradient": gradient}
    commands[sys.argv[1]](*sys.argv[2:])
