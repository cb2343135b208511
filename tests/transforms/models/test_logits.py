"""`model.output: logits`: what a final softmax or sigmoid is computed of."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.models.loading import LoadedModel, ModelOutput, ModelSpec, load_model
from transforms.storage import LocalStorage

layers = keras.layers
INPUTS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def make(activation: str, path: Path, units: int = 3) -> keras.Model:
    """Saves a model whose last layer applies the activation itself; returns its logits' model."""
    keras.utils.set_random_seed(2)
    body = keras.Input((4,))
    hidden = layers.Dense(6, "relu")(body)
    model = keras.Model(body, layers.Dense(units, activation)(hidden))
    if path.suffix:
        model.save(path)
    else:
        model.export(path, verbose=False)
    logits = layers.Dense(units)
    linear = keras.Model(body, logits(hidden))
    logits.set_weights(model.layers[-1].get_weights())
    return linear


def load(path: Path, output: ModelOutput) -> LoadedModel:
    return load_model(ModelSpec(str(path), output=output), LocalStorage())


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "exported"])
def test_logits_and_their_gradients(activation: str, name: str, tmp_path: Path) -> None:
    linear = make(activation, tmp_path / name)

    loaded = load(tmp_path / name, "logits")

    assert (loaded.softmax, loaded.output_shape) == (None, (3,))
    np.testing.assert_allclose(loaded(tf.constant(INPUTS)), linear(INPUTS), atol=1e-6)
    gradients = []
    for call in (loaded, linear):
        with tf.GradientTape() as tape:
            inputs = tf.constant(INPUTS)
            tape.watch(inputs)
            scores = call(inputs)[:, 1]
        gradients.append(tape.gradient(scores, inputs).numpy())
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-6)
    assert np.abs(gradients[1]).max() > 0.1


@pytest.mark.parametrize("name", ["model.keras", "exported"])
def test_logits_of_no_activation_are_refused(name: str, tmp_path: Path) -> None:
    make("linear", tmp_path / name)
    with pytest.raises(ConfigurationError, match="ends in neither softmax nor sigmoid; leave it"):
        load(tmp_path / name, "logits")


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_warning_names_the_key(
    activation: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(activation, tmp_path / "model.keras")
    load(tmp_path / "model.keras", "as_is")
    (message,) = caplog.messages
    assert f"ends in {activation}, whose gradients vanish" in message
    assert "explain its logits (model.output: logits)" in message
