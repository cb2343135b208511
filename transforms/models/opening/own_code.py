"""Whether a Keras model runs code that is neither in its file nor in Keras."""

from __future__ import annotations

import json
from typing import Any

from transforms.models.layers import list_layers
from transforms.models.opening.keras2 import is_keras_2

_KERAS = ("keras", "tf_keras")


def uses_registered_code(model: Any) -> bool:
    """Whether a Keras model is made of classes or functions that are not Keras's own.

    Whatever has been imported may have registered them with Keras: the modules that `model.imports`
    names, and those of the program that calls this package.

    Args:
      model: A Keras model, or one of `tf_keras`; None stands for a model of another kind.

    Returns:
      Also True where something is registered, and the model does not say what it is made of.
    """
    if model is None:
        return False
    layers = (model, *(each.layer for each in list_layers(model)))
    if any(type(each).__module__.partition(".")[0] not in _KERAS for each in layers):
        return True
    if is_keras_2(model):
        import tf_keras as keras
    else:
        import keras
    registered = keras.saving.get_custom_objects()
    if not registered:
        return False
    try:
        described = model.to_json()
    except Exception:  # whatever a user's layers can raise
        return True
    return any(json.dumps(name) in described for name in registered)
