from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.models.devices import configure_threads
from transforms.models.files import model_digest
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.saliency import Saliency
from transforms.storage import LocalStorage

layers = keras.layers

INPUTS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
TARGETS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]


def load(path: Path | str, output_layer: str | int | None = None) -> LoadedModel:
    return load_model(ModelSpec(str(path), output_layer), LocalStorage())


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((4,), name="features"),
            layers.Dense(6, activation="relu", name="hidden"),
            layers.Dropout(0.5),
            layers.Dense(3, name="logits"),
            layers.Softmax(name="probabilities"),
        ]
    )


@pytest.mark.parametrize("extension", ["keras", "h5", "hdf5"])
@pytest.mark.parametrize("output_layer", [None, "logits", -2])
def test_keras_files_round_trip(
    model: keras.Model, tmp_path: Path, extension: str, output_layer: str | int | None
) -> None:
    model.save(tmp_path / f"model.{extension}")

    loaded = load(tmp_path / f"model.{extension}", output_layer)

    expected = keras.Model(model.inputs[0], model.get_layer("logits").output)(INPUTS)
    if output_layer is None:
        expected = tf.nn.softmax(expected)
    np.testing.assert_allclose(loaded(tf.constant(INPUTS)), expected, atol=1e-6)
    assert (loaded.input_shape, loaded.output_shape, loaded.outputs) == ((4,), (3,), 3)
    assert loaded.explained_layer == ("probabilities" if output_layer is None else "logits")
    assert (loaded.softmax is None) == (output_layer is not None)
    maps = Saliency(loaded)(INPUTS, TARGETS)
    np.testing.assert_allclose(maps, Saliency(model, output_layer)(INPUTS, TARGETS), atol=1e-6)


def test_saved_model_round_trip(model: keras.Model, tmp_path: Path) -> None:
    model.export(tmp_path / "exported", verbose=False)

    loaded = load(tmp_path / "exported")

    np.testing.assert_allclose(loaded(tf.constant(INPUTS)), model(INPUTS), atol=1e-6)
    assert (loaded.input_shape, loaded.outputs, loaded.batch) == ((4,), 3, None)
    assert loaded.explained_layer == "output_0"
    assert loaded.softmax is not None
    maps = Saliency(loaded, batch_size=2)(INPUTS, TARGETS)
    np.testing.assert_allclose(maps, Saliency(model)(INPUTS, TARGETS), atol=1e-6)


class Signatures(tf.Module):  # type: ignore[misc,unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.reshape(tf.range(8.0), (4, 2)))

    @tf.function(input_signature=[tf.TensorSpec((2, 4), name="features")])
    def both(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = features @ self.weight
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    @tf.function(input_signature=[tf.TensorSpec((None, 4), name=name) for name in "ab"])
    def two_inputs(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return {"sum": (a + b) @ self.weight}


def test_outputs_of_a_signature_and_its_fixed_batch(tmp_path: Path) -> None:
    module = Signatures()
    tf.saved_model.save(module, str(tmp_path / "saved"), {"serving_default": module.both})

    loaded = load(tmp_path / "saved", "logits")

    assert (loaded.batch, loaded.softmax, loaded.explained_layer) == (2, None, "logits")
    maps = Saliency(loaded)(INPUTS, np.eye(2)[[0, 1, 1, 0, 1]])
    weight = module.weight.numpy()
    np.testing.assert_array_equal(maps, weight.T[[0, 1, 1, 0, 1]])
    with pytest.raises(ConfigurationError, match=r"2 outputs \(logits, probabilities\)"):
        load(tmp_path / "saved")
    with pytest.raises(ConfigurationError, match="must be one of its outputs: logits, prob"):
        load(tmp_path / "saved", "dense")


def test_signatures_that_cannot_be_explained(tmp_path: Path) -> None:
    module = Signatures()
    tf.saved_model.save(module, str(tmp_path / "two"), {"serving_default": module.two_inputs})
    tf.saved_model.save(module, str(tmp_path / "named"), {"classify": module.both})

    with pytest.raises(ConfigurationError, match=r"2 inputs \(a, b\), but one is explained"):
        load(tmp_path / "two")
    with pytest.raises(ConfigurationError, match=r"no signature 'serving_default' .*classify"):
        load(tmp_path / "named")


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):  # type: ignore[misc,unused-ignore]
    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.body = layers.Dense(6, activation="relu", name="body")
        self.logits = layers.Dense(3, name="logits")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(self.logits(self.body(inputs)))


def test_subclassed_model_round_trip(tmp_path: Path) -> None:
    model = Subclassed()
    outputs = model(INPUTS)
    model.save(tmp_path / "model.keras")

    loaded = load(tmp_path / "model.keras")
    logits = load(tmp_path / "model.keras", "logits")

    assert loaded.input_shape == (4,)
    np.testing.assert_allclose(loaded(tf.constant(INPUTS)), outputs, atol=1e-6)
    assert loaded.softmax is not None
    assert loaded.softmax.layer_before == "logits"
    assert (logits.softmax, logits.explained_layer) == (None, "logits")
    np.testing.assert_allclose(
        Saliency(logits)(INPUTS, TARGETS),
        Saliency(model, "logits")(INPUTS, TARGETS),
        atol=1e-6,
    )


def test_input_shape_is_checked_and_fills_in_what_is_open(tmp_path: Path) -> None:
    path = str(tmp_path / "model.keras")
    keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(2, 1), layers.GlobalMaxPooling2D()]
    ).save(path)

    assert load(path).input_shape == (None, None, 3)
    assert load_model(ModelSpec(path, input_shape=(8, 9, 3)), LocalStorage()).input_shape == (
        8,
        9,
        3,
    )
    with pytest.raises(ConfigurationError, match=r"\(8, 9, 1\) do not fit .* \(None, None, 3\)"):
        load_model(ModelSpec(path, input_shape=(8, 9, 1)), LocalStorage())


def test_outputs_of_another_rank_have_no_classes(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((5, 4)), layers.Dense(2, name="steps")]).save(
        tmp_path / "model.keras"
    )
    loaded = load(tmp_path / "model.keras")

    assert loaded.output_shape == (5, 2)
    with pytest.raises(ConfigurationError, match=r"'steps' of .* returns \(N, 5, 2\), but a class"):
        _ = loaded.outputs


def test_description_is_plain(model: keras.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model.keras")

    description = load(tmp_path / "model.keras").describe()

    assert json.loads(json.dumps(description)) == description
    assert description["digest"] == model_digest(str(tmp_path / "model.keras"), LocalStorage())
    assert description["input"] == {"name": "features", "shape": [4], "dtype": "float32"}
    assert description["output"] == {"layer": "probabilities", "shape": [3]}
    assert description["parameters"] == 4 * 6 + 6 + 6 * 3 + 3
    assert "logits" in description["layers"]
    assert "output_layer: logits" in description["advice"]


def test_loading_warns_of_softmax(
    model: keras.Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model.save(tmp_path / "model.keras")

    with caplog.at_level(logging.WARNING):
        load(tmp_path / "model.keras", "logits")
        assert caplog.messages == []
        loaded = load(tmp_path / "model.keras")
        Saliency(loaded)(INPUTS, TARGETS)

    assert len(caplog.messages) == 1
    assert "output_layer: logits" in caplog.messages[0]


def test_missing_layer_is_named_with_those_there_are(model: keras.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model.keras")

    with pytest.raises(ConfigurationError, match="no layer 'logitz'; choose one of: logits, "):
        load(tmp_path / "model.keras", "logitz")


def in_new_process(program: str) -> str:
    completed = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return completed.stdout


def test_threads_are_set_once_and_a_change_is_reported() -> None:
    program = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
from transforms.models.devices import configure_threads
print(configure_threads(3), configure_threads(3))
import tensorflow as tf
tf.ones(1)
print(configure_threads(3), configure_threads(None))
print(configure_threads(5), configure_threads(5))
"""
    assert in_new_process(program).splitlines() == [
        "3 3",
        "3 3",
        "explain.threads 5 has no effect: TensorFlow has started with 3 already",
        "3 3",
    ]


def test_threads_left_out_are_the_cores() -> None:
    program = """
import os
from transforms.models.devices import configure_threads
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
print(configure_threads(None) == cores)
"""
    assert in_new_process(program).strip() == "True"


@pytest.mark.parametrize("threads", [0, -2])
def test_no_threads_are_refused(threads: int) -> None:
    with pytest.raises(ConfigurationError, match=f"explain.threads is {threads}; give at least 1"):
        configure_threads(threads)
