"""Models of several inputs: one is explained, the others are held at constants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.storage import LocalStorage

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype(np.float32)
CONSTANTS = (("age", 2.0), ("site", 1.0))


def make(as_dictionary: bool) -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((4, 4, 2), name="image")
    age = keras.Input((1,), name="age")
    site = keras.Input((1,), dtype="int32", name="site")
    embedded = layers.Flatten()(layers.Embedding(3, 5)(site))
    hidden = layers.Concatenate()([layers.Flatten()(image), embedded])
    hidden = layers.Dense(6, "tanh")(hidden) * age
    inputs = {"site": site, "image": image, "age": age}
    outputs = layers.Dense(3)(hidden)
    return keras.Model(inputs if as_dictionary else list(inputs.values()), outputs)


def expected(model: keras.Model, as_dictionary: bool, values: tf.Tensor) -> tf.Tensor:
    given = {"site": tf.ones((3, 1), tf.int32), "image": values, "age": tf.fill((3, 1), 2.0)}
    return model(given if as_dictionary else list(given.values()), training=False)


def load(path: Path, **changes: Any) -> LoadedModel:
    given = {"explained_input": "image", "constants": CONSTANTS, **changes}
    return load_model(ModelSpec(str(path), **given), LocalStorage())


@pytest.mark.parametrize("as_dictionary", [True, False])
@pytest.mark.parametrize("name", ["model.keras", "exported"])
def test_one_is_explained_beside_constants(name: str, as_dictionary: bool, tmp_path: Path) -> None:
    model = make(as_dictionary)
    if name == "exported":
        model.export(tmp_path / name, verbose=False)
    else:
        model.save(tmp_path / name)

    loaded = load(tmp_path / name)

    assert (loaded.input_shape, loaded.output_shape) == ((4, 4, 2), (3,))
    gradients = []
    for call in (loaded, lambda values: expected(model, as_dictionary, values)):
        with tf.GradientTape() as tape:
            inputs = tf.constant(IMAGES)
            tape.watch(inputs)
            outputs = call(inputs)
            score = outputs[:, 1]
        gradients.append((outputs.numpy(), tape.gradient(score, inputs).numpy()))
    np.testing.assert_allclose(gradients[0][0], gradients[1][0], atol=1e-6)
    np.testing.assert_allclose(gradients[0][1], gradients[1][1], atol=1e-6)
    other = load(tmp_path / name, constants=(("age", 3.0), ("site", 1.0)))
    assert np.abs(other(tf.constant(IMAGES)) - gradients[0][0]).max() > 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"explained_input": None}, r"has 3 inputs \(.*\), but one .*; name it by model.inputs"),
        ({"explained_input": "picture"}, "explained is 'picture', but .* takes .*; name one of"),
        ({"constants": (("age", 1.0),)}, "names age, but beside 'image' .* takes age, site; give"),
        ({"constants": (*CONSTANTS, ("x", 1.0))}, "names age, site, x, but .* takes age, site"),
    ],
)
def test_names_that_are_not_those_of_the_model(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    make(True).save(tmp_path / "model.keras")
    with pytest.raises(ConfigurationError, match=message):
        load(tmp_path / "model.keras", **changes)
