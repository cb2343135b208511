"""Code that a Keras model runs, and that neither its file nor Keras has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import pytest

from transforms.models.opening.own_code import uses_registered_code


class Twice(keras.layers.Layer):
    """A layer of one's own."""

    def call(self, inputs: Any) -> Any:
        return 2 * inputs


def thrice(inputs: Any) -> Any:
    return 3 * inputs


class Silent(keras.layers.Dense):
    """A layer that does not say what it is made of."""

    __module__ = "keras.layers"

    def get_config(self) -> Any:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    registered = keras.saving.get_custom_objects()
    before = dict(registered)
    keras.saving.register_keras_serializable("own", "Twice")(Twice)
    keras.saving.register_keras_serializable("own", "thrice")(thrice)
    yield
    registered.clear()
    registered.update(before)


def model_of(*layers: Any) -> keras.Model:
    return keras.Sequential([keras.Input((4, 2)), *layers])


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda: None, False),
        (lambda: model_of(keras.layers.Dense(2, activation="relu")), False),
        (lambda: model_of(model_of(keras.layers.Dense(2))), False),
        (lambda: model_of(Twice()), True),
        (lambda: model_of(model_of(Twice())), True),
        (lambda: model_of(keras.layers.TimeDistributed(Twice())), True),
        (lambda: model_of(keras.layers.Dense(2, activation=thrice)), True),
        (lambda: model_of(Silent(2)), True),
    ],
    ids=["none", "keras", "nested", "layer", "nested layer", "inside", "function", "silent"],
)
def test_what_is_not_keras_s_own_is_seen(model: Any, expected: bool) -> None:
    assert uses_registered_code(model()) is expected


def test_layers_need_not_be_registered() -> None:
    keras.saving.get_custom_objects().clear()
    assert uses_registered_code(model_of(Twice()))
    assert not uses_registered_code(model_of(keras.layers.Dense(2)))
