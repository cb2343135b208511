"""Models of several inputs, of which features of each example feed those that are not explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from small_dataset import atlas_bytes

from pipeline.atlas import Atlas
from pipeline.commands.run import run
from pipeline.config.keys import Config
from pipeline.confirm.confirm import Confirmer
from pipeline.run.in_memory import run_in_memory
from pipeline.run.progress import Progress
from transforms.errors import ConfigurationError
from transforms.storage import LocalStorage

COUNT = 11
GENERATOR = np.random.default_rng(0)
VALUES = GENERATOR.normal(size=(COUNT, 4)).astype(np.float32)
AGES = GENERATOR.normal(size=COUNT)
SITES = GENERATOR.integers(0, 3, COUNT)
PLACES = GENERATOR.normal(size=(COUNT, 2)).astype(np.float32)
MISSING, TOO_LONG, NO_INTEGER = 3, 6, 9


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> keras.Model:
    """Takes a row, an age, a site and a place; two classes."""
    keras.utils.set_random_seed(2)
    layers = keras.layers
    row, age = keras.Input((4,), name="row"), keras.Input((1,), name="age")
    site = keras.Input((1,), dtype="int32", name="site")
    place = keras.Input((2,), name="place")
    embedded = layers.Flatten()(layers.Embedding(3, 4)(site))
    hidden = layers.Dense(5, "tanh")(layers.Concatenate()([row * age, embedded * row, place]))
    made = keras.Model([site, row, place, age], layers.Dense(2)(hidden))
    made.save(tmp_path_factory.mktemp("model") / "model.keras")
    return made


@pytest.fixture(scope="module")
def model_path(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return str(path)


@pytest.fixture
def settings(model_path: str, tmp_path: Path) -> dict[str, Any]:
    """A configuration, of data in which three examples cannot be fed."""
    ages: list[Any] = AGES.tolist()
    places, sites = PLACES.tolist(), SITES.astype(float).tolist()
    ages[MISSING] = None
    places[TOO_LONG] = [1.0, 2.0, 3.0]
    sites[NO_INTEGER] = 0.5
    table = pa.table({"x": list(VALUES), "age": ages, "place": places, "site": sites})
    pq.write_table(table, tmp_path / "data.parquet", row_group_size=3)
    return {
        "source": {
            "pattern": str(tmp_path / "data.parquet"),
            "format": "parquet",
            "features": {"input": "x"},
            "input": {"kind": "tensor", "shape": [4]},
        },
        "model": {
            "uri": model_path,
            "inputs": {
                "explained": "row",
                "features": {"age": "age", "site": "site", "place": "place"},
            },
        },
        "explain": {
            "method": "gradient_input",
            "target": {"class": 1},
            "batch_size": 4,
            "engine": "tensorflow",
        },
        "output": {"path": str(tmp_path / "atlas"), "codec": "float32", "block_size": 7},
        "failures": {"max_fraction": 1.0},
    }


def expected(model: keras.Model, place: Any = PLACES) -> np.ndarray[Any, Any]:
    """Gradient times input of class 1, by a tape, each example with its own other inputs."""
    with tf.GradientTape() as tape:
        rows = tf.constant(VALUES)
        tape.watch(rows)
        sites, ages = tf.constant(SITES[:, None], tf.int32), tf.constant(AGES[:, None], tf.float32)
        score = model([sites, rows, tf.constant(place), ages], training=False)[:, 1]
    return np.asarray(tape.gradient(score, rows) * rows)


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_each_example_is_explained_beside_its_own_values(
    engine: str, model: keras.Model, settings: dict[str, Any], tmp_path: Path
) -> None:
    settings["explain"]["engine"] = engine
    run(Config.from_dict(settings), "new", ["--runner=FnApiRunner"], Progress(None))

    atlas = Atlas.open(str(tmp_path / "atlas"))
    (shard,) = atlas.shards
    maps = expected(model)
    for record in {*range(COUNT)} - {MISSING, TOO_LONG, NO_INTEGER}:
        found = atlas.map(shard.example_id(record))
        np.testing.assert_allclose(found, maps[record], rtol=1e-4, atol=1e-6)
    failures = {each["record"]: each for each in atlas.failures.to_pylist()}
    assert {record: each["error"] for record, each in failures.items()} == {
        MISSING: "MissingFeature",
        TOO_LONG: "WrongValue",
        NO_INTEGER: "WrongValue",
    }
    assert failures[MISSING]["message"] == "feature 'age' (model.inputs.features) has no value"
    assert failures[TOO_LONG]["message"] == (
        "input 'place' takes 2 numbers, and its feature (model.inputs.features) has 3"
    )
    assert failures[NO_INTEGER]["message"] == (
        "input 'site' takes int32, and its feature (model.inputs.features) is 0.5"
    )
    if engine == "tensorflow":
        in_graph = atlas_bytes(tmp_path / "atlas")
        run_in_memory(Config.from_dict(settings), "overwrite")
        assert atlas_bytes(tmp_path / "atlas") == in_graph


def test_constants_and_features_together(
    model: keras.Model, settings: dict[str, Any], tmp_path: Path
) -> None:
    inputs = settings["model"]["inputs"]
    del inputs["features"]["place"]
    inputs["constants"] = {"place": 0.5}
    run_in_memory(Config.from_dict(settings))
    atlas = Atlas.open(str(tmp_path / "atlas"))
    found = atlas.map(atlas.shards[0].example_id(TOO_LONG))
    maps = expected(model, np.full_like(PLACES, 0.5))
    np.testing.assert_allclose(found, maps[TOO_LONG], rtol=1e-4, atol=1e-6)


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "an input is left": (
        {"features": {"age": "age", "site": "site"}},
        "constants and model.inputs.features name age, site, but beside 'row' .* takes age, place,",
    ),
    "no such input": (
        {"features": {"age": "age", "site": "site", "place": "place", "sex": "age"}},
        "name age, place, sex, site, but",
    ),
    "no such feature": (
        {"features": {"age": "years", "site": "site", "place": "place"}},
        r"there is no feature 'years' \(model.inputs.features\); there are: x, age, place, site",
    ),
    "of another size": (
        {"features": {"age": "place", "site": "site", "place": "place"}},
        "input 'age' takes 1 numbers, and its feature .* has 2: name another feature",
    ),
    "twice": (
        {"constants": {"age": 1}, "features": {"age": "age", "site": "site", "place": "place"}},
        "gives 'age' a constant and a feature; give one",
    ),
    "the explained one": (
        {"features": {"row": "x", "age": "age", "site": "site", "place": "place"}},
        "names 'row', which is the input that is explained",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_feeds_no_input_is_refused(case: str, settings: dict[str, Any]) -> None:
    inputs, message = REFUSALS[case]
    settings["model"]["inputs"] = {"explained": "row", **inputs}
    with pytest.raises(ConfigurationError, match=message):
        run_in_memory(Config.from_dict(settings))


def test_an_operator_that_calls_the_model_with_other_examples_is_refused(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "twice_as_many.py").write_text(
        "import tensorflow as tf\n"
        "def total(model, inputs, targets):\n"
        "    outputs = model(tf.concat([inputs, inputs], axis=0))[:len(inputs)]\n"
        "    return tf.reduce_sum(outputs * targets, axis=-1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings["explain"]["operator"] = "twice_as_many:total"
    with pytest.raises(ConfigurationError, match="called with 6 examples where there are 3, each"):
        run_in_memory(Config.from_dict(settings))


def test_only_what_is_fed_counts_in_a_fingerprint(settings: dict[str, Any]) -> None:
    held = {"explained": "row", "constants": {"age": 1.0}}
    settings["model"]["inputs"] = held
    recorded = Config.from_dict(settings).fingerprint_settings()["model"]["inputs"]
    assert recorded == held  # as it was before features could feed inputs
    settings["model"]["inputs"] = {**held, "features": {"site": "site"}}
    assert Config.from_dict(settings).fingerprint_settings()["model"]["inputs"] != held


def test_shortcuts_of_such_models_are_not_tried(settings: dict[str, Any]) -> None:
    class Recorded:
        path = "atlases/fed"
        manifest: dict[str, Any]

    settings["source"]["input"] = {"kind": "image", "shape": [4, 4, 3]}
    Recorded.manifest = {"config": Config.from_dict(settings).as_dict()}
    with pytest.raises(
        ConfigurationError, match=r"atlases/fed is of a model whose other inputs are"
    ):
        Confirmer(Recorded, LocalStorage(), 0.1, 0.95)  # type: ignore[arg-type]
