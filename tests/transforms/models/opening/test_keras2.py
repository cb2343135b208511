"""Files of Keras 2: read by tf_keras as they were, or refused in a sentence."""

from __future__ import annotations

import importlib
import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.storage import LocalStorage

tf_keras = pytest.importorskip("tf_keras")
layers = tf_keras.layers
INPUTS = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)


def make(*last: Any) -> Any:
    tf_keras.utils.set_random_seed(3)
    inside = tf_keras.Sequential(
        [layers.DepthwiseConv2D(3, input_shape=(8, 8, 3)), layers.ReLU(name="rectified")],
        name="inside",
    )
    return tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 3)),
            layers.RandomFlip(),
            inside,
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(4, name="logits"),
            *last,
        ]
    )


def load(path: Path, **changes: Any) -> LoadedModel:
    return load_model(ModelSpec(str(path), **changes), LocalStorage())


def gradients(model: Any) -> Any:
    with tf.GradientTape() as tape:
        inputs = tf.constant(INPUTS)
        tape.watch(inputs)
        score = model(inputs)[:, 1]
    return tape.gradient(score, inputs).numpy()


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_outputs_and_gradients_are_the_models_own(name: str, tmp_path: Path) -> None:
    model = make(layers.Softmax())
    model.save(tmp_path / name)

    loaded = load(tmp_path / name)

    assert loaded.describe()["format"] == "Keras 2"
    assert (loaded.input_shape, loaded.output_shape) == ((8, 8, 3), (4,))
    np.testing.assert_allclose(
        loaded(tf.constant(INPUTS)), model(INPUTS, training=False), atol=1e-6
    )
    expected = gradients(lambda inputs: model(inputs, training=False))
    np.testing.assert_allclose(gradients(loaded), expected, atol=1e-6)
    assert np.abs(expected).max() > 1e-3
    assert loaded.softmax is not None
    assert loaded.softmax.layer_before == "logits"


def test_a_layer_inside_and_logits(tmp_path: Path) -> None:
    model = make(layers.Softmax())
    model.save(tmp_path / "model.h5")
    before = tf_keras.Model(model.input, model.get_layer("logits").output)
    expected = gradients(lambda inputs: before(inputs, training=False))
    for loaded in (
        load(tmp_path / "model.h5", output_layer="logits"),
        load(tmp_path / "model.h5", output="logits"),
    ):
        np.testing.assert_allclose(
            loaded(tf.constant(INPUTS)), before(INPUTS, training=False), atol=1e-6
        )
        np.testing.assert_allclose(gradients(loaded), expected, atol=1e-6)
    inner = load(tmp_path / "model.h5", output_layer="inside/rectified")
    assert inner.output_shape == (6, 6, 3)


def test_without_tf_keras_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make().save(tmp_path / "model.h5")
    found = importlib.util.find_spec

    def without(name: str) -> Any:
        return None if name == "tf_keras" else found(name)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    message = r"was saved by Keras 2, .*; install tf_keras, .*\[keras2\]'\), or export it"
    with pytest.raises(ConfigurationError, match=message):
        load(tmp_path / "model.h5")


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_lambda_layers_are_refused_unless_allowed(name: str, tmp_path: Path) -> None:
    make(layers.Lambda(lambda x: x * 2)).save(tmp_path / name)
    with pytest.raises(ConfigurationError, match=r"holds Python code .* model.allow_unsafe: true"):
        load(tmp_path / name)
    assert load(tmp_path / name, allow_unsafe=True).output_shape == (4,)


@pytest.mark.parametrize("module", ["os", "builtins"])
def test_a_file_cannot_name_functions_of_any_module(module: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    make(layers.Activation("relu")).save(tmp_path / "sound.keras")
    function = {"os": "system", "builtins": "eval"}[module]
    named = {"class_name": "function", "config": function, "module": module}
    with zipfile.ZipFile(tmp_path / "sound.keras") as source, zipfile.ZipFile(path, "w") as copy:
        for each in source.namelist():
            content = source.read(each)
            if each == "config.json":
                settings = json.loads(content)
                settings["config"]["layers"][-1]["config"]["activation"] = named
                content = json.dumps(settings).encode()
            copy.writestr(each, content)
    with pytest.raises(ConfigurationError, match=f"made of '{function}' of the module {module}; "):
        load(path)


def test_layers_of_ones_own_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_layers_2.py").write_text(
        "import tf_keras\n"
        "class Halving(tf_keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        return inputs / 2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = importlib.import_module("own_layers_2")
    model = make(own.Halving())
    model.save(tmp_path / "model.keras")
    with pytest.raises(ConfigurationError, match=r"'Halving'.* model\.imports"):
        load(tmp_path / "model.keras")
    loaded = load(tmp_path / "model.keras", imports=("own_layers_2",))
    np.testing.assert_allclose(
        loaded(tf.constant(INPUTS)), model(INPUTS, training=False), atol=1e-6
    )
