"""Recurrent models: maps equal the tape's, from a Keras file and from a SavedModel."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.formats.source import InputSpec
from transforms.models import signatures
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.saliency.engines.engine import EngineSpec, EngineUnavailableError, find_engine
from transforms.saliency.engines.selection import choose_engine
from transforms.saliency.program import ProgramSpec, attribution_function
from transforms.saliency.results import comparable_maps
from transforms.saliency.scores.targets import TargetSpec
from transforms.storage import LocalStorage

layers = keras.layers
SHAPE = (6, 4)
INPUTS = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)
LABELS = np.array([0, 2, 1], np.int32)
REFUSAL = "the model has a loop"

RECURRENT = {
    "lstm": lambda: layers.LSTM(5),
    "gru": lambda: layers.GRU(5),
    "both-ways": lambda: layers.Bidirectional(layers.LSTM(5)),
}


def make(kind: str, path: Path) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input(SHAPE), RECURRENT[kind](), layers.Dense(3)])
    if path.suffix == ".keras":
        model.save(path)
    else:
        model.export(path, verbose=False)
    return model


def program() -> ProgramSpec:
    inputs = InputSpec("tensor", SHAPE)
    return ProgramSpec(inputs, TargetSpec("label"), "classification", "max", "uint8", 3)


def load(path: Path) -> LoadedModel:
    return load_model(ModelSpec(str(path)), LocalStorage())


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("name", ["model.keras", "exported"])
def test_gradients_equal_the_tapes(kind: str, name: str, tmp_path: Path) -> None:
    model = make(kind, tmp_path / name)
    with tf.GradientTape() as tape:
        inputs = tf.constant(INPUTS)
        tape.watch(inputs)
        scores = tf.gather(model(inputs, training=False), LABELS, batch_dims=1)
    expected = tape.gradient(scores, inputs).numpy()

    loaded = load(tmp_path / name)
    compiled = find_engine("tensorflow").compile(
        attribution_function(loaded, program()), EngineSpec()
    )
    found = compiled.run(INPUTS, LABELS)

    np.testing.assert_allclose(found.gradients[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(found.scores[:, 0], scores, atol=1e-6)
    assert np.abs(expected).max() > 1e-3
    assert [REFUSAL in note for note in compiled.notes] == [True]


@pytest.mark.parametrize("name", ["model.keras", "exported"])
def test_openvino_says_why_not_and_auto_stays(name: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    make("gru", tmp_path / name)
    function = attribution_function(load(tmp_path / name), program())

    with pytest.raises(EngineUnavailableError, match=REFUSAL):
        find_engine("openvino").compile(function, EngineSpec("openvino"))
    choice = choose_engine(EngineSpec("auto"), function, comparable_maps(program()), INPUTS, LABELS)
    assert choice.spec.name == "tensorflow"
    assert any(note.startswith(f"openvino is not used: {REFUSAL}") for note in choice.notes)


def test_a_loop_with_too_many_variables_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("gru", tmp_path / "exported")
    monkeypatch.setattr(signatures, "MOST_CONSTANT_BYTES", 100)
    with pytest.raises(ConfigurationError, match=r"loops, has 0.0 GB .* as a \.keras file"):
        load(tmp_path / "exported")
