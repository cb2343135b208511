"""Tables: inputs of a feature per number, from Parquet's columns and from tf.train.Example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipeline.atlas import Atlas
from pipeline.commands.drawing import charts
from pipeline.commands.drawing.charts import draw_table
from pipeline.commands.plan import plan
from pipeline.commands.show import show
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from transforms.errors import ConfigurationError
from transforms.filesystems import BeamStorage

WEIGHTS = np.array([[1.0, -2.0], [0.5, 3.0], [-4.0, 0.25]], np.float32)
AGES = [30, 41, None, 55, 62, 70, 18]
BMIS = [21.5, 30.25, 22.0, float("nan"), 25.0, 1e300, 19.0]
SMOKERS = [True, False, True, True, None, False, True]
NAMES = ["age", "bmi", "smoker"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A linear model of three numbers."""
    layer = keras.layers.Dense(2)
    made = keras.Sequential([keras.Input((3,)), layer])
    layer.set_weights([WEIGHTS, np.zeros(2, np.float32)])
    path = tmp_path_factory.mktemp("model") / "model.keras"
    made.save(path)
    return str(path)


def write(folder: Path, file_format: str, **columns: list[Any]) -> str:
    given = {"smoker": SMOKERS, "age": AGES, "bmi": BMIS, "city": ["Ulm"] * len(AGES), **columns}
    path = folder / "data"
    if file_format == "parquet":
        table = pa.table({name: pa.array(each, from_pandas=False) for name, each in given.items()})
        pq.write_table(table, path)
        return str(path)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in zip(*given.values(), strict=True):
            example = tf.train.Example()
            for name, value in zip(given, row, strict=True):
                feature = example.features.feature[name]
                if isinstance(value, str):
                    feature.bytes_list.value.append(value.encode())
                elif isinstance(value, float):
                    feature.float_list.value.append(np.inf if value > 1e38 else value)
                elif value is not None:
                    feature.int64_list.value.append(int(value))
            writer.write(example.SerializeToString())
    return str(path)


def config(folder: Path, model: str, pattern: str, file_format: str, **source: Any) -> Config:
    return Config.from_dict(
        {
            "source": {
                "pattern": pattern,
                "format": file_format,
                "features": {"input": NAMES},
                "input": {"kind": "tensor", "shape": [3]},
                **source,
            },
            "model": {"uri": model},
            "explain": {
                "method": "gradient_input",
                "target": {"class": 1},
                "batch_size": 2,
                "engine": "tensorflow",
            },
            "output": {"path": str(folder / "atlas"), "codec": "float32", "block_size": 4},
            "failures": {"max_fraction": 1.0},
        }
    )


@pytest.mark.parametrize("file_format", ["parquet", "tfrecord"])
def test_each_number_is_a_feature_in_the_order_of_the_list(
    file_format: str, model: str, tmp_path: Path
) -> None:
    pattern = write(tmp_path, file_format)
    run_in_memory(config(tmp_path, model, pattern, file_format))
    atlas = Atlas.open(str(tmp_path / "atlas"))
    (shard,) = atlas.shards

    for record in (0, 1, 6):
        row = np.array([AGES[record], BMIS[record], SMOKERS[record]], np.float32)
        np.testing.assert_allclose(
            atlas.map(shard.example_id(record)), WEIGHTS[:, 1] * row, rtol=1e-6
        )
    failures = {each["record"]: each["message"] for each in atlas.failures.to_pylist()}
    assert set(failures) == {2, 3, 4, 5}
    assert {each["shard"] for each in atlas.failures.to_pylist()} == {"data"}
    assert "feature 'age' (source.features.input)" in failures[2]
    assert failures[3] == "feature 'bmi' (source.features.input) is NaN, which is no value"
    assert "feature 'smoker' (source.features.input)" in failures[4]
    value = "1e+300" if file_format == "parquet" else "inf"
    assert failures[5] == (
        f"feature 'bmi' (source.features.input) is {value}, which float32 cannot hold"
    )

    assert atlas.feature_names == tuple(NAMES)
    schema = atlas.open_block(atlas.block_paths[0]).schema_arrow
    assert json.loads(schema.field("map").metadata[b"features"]) == NAMES


def test_the_names_are_shown(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(tmp_path, model, write(tmp_path, "parquet"), "parquet")
    planned = plan(settings, BeamStorage(), picture=str(tmp_path / "first.png"))
    assert planned.first_look is not None
    assert planned.first_look.features == tuple(NAMES)
    assert [each.high for each in planned.first_look.inputs] == [41.0, 30.25, 1.0]
    run_in_memory(settings)
    atlas = Atlas.open(str(tmp_path / "atlas"))
    drawn: list[Any] = []

    def drawing(values: Any, inputs: Any, *, names: Any) -> Any:
        drawn.append(names)
        return draw_table(values, inputs, names=names)

    monkeypatch.setattr("pipeline.commands.drawing.examples.draw_table", drawing)
    show(str(tmp_path / "atlas"), atlas.shards[0].example_id(0), str(tmp_path / "one.png"))
    assert drawn == [tuple(NAMES)]


def test_a_name_that_is_too_long_is_cut() -> None:
    assert charts._fitting("age", 180) == "age"
    cut = charts._fitting("a very long name of a feature, longer than any", 180)
    assert cut.startswith("a very long name")
    assert cut.endswith("...")
    assert draw_table(np.ones(2, np.float32), None, names=["ä\x1b[31m", "年"]).shape[1] == 640


OTHER_KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "text": (
        {"features": {"input": ["age", "bmi", "city"]}},
        r"feature 'city' .*holds bytes, not a number: write categories as the numbers that",
    ),
    "a misspelt name": (
        {"features": {"input": ["age", "bmi", "smokes"]}},
        r"there is no feature 'smokes' .*; there are: smoker, age, bmi, city, pair",
    ),
    "a list": (
        {"features": {"input": ["age", "bmi", "pair"]}},
        r"feature 'pair' .*has 2 values where one is meant",
    ),
}


@pytest.mark.parametrize("case", OTHER_KINDS)
def test_what_makes_no_table_is_refused_before_the_run(
    case: str, model: str, tmp_path: Path
) -> None:
    source, message = OTHER_KINDS[case]
    pattern = write(tmp_path, "parquet", pair=[[1.0, 2.0]] * 7)
    with pytest.raises(ConfigurationError, match=message):
        run_in_memory(config(tmp_path, model, pattern, "parquet", **source))


FIT_NOTHING: dict[str, tuple[dict[str, Any], str]] = {
    "too few": (
        {"features": {"input": ["age"]}},
        r"names 1 features .* source.input.shape is \[3\]; give \[1\]",
    ),
    "none": ({"features": {"input": []}}, "source.features.input"),
    "one twice": ({"features": {"input": ["age", "bmi", "age"]}}, "names 'age' twice"),
    "an empty name": ({"features": {"input": ["age", "bmi", ""]}}, "source.features.input"),
    "images": (
        {"input": {"kind": "image", "shape": [4, 4, 3]}},
        "but source.input.kind is 'image', which is one feature",
    ),
    "series": (
        {"input": {"kind": "tensor", "shape": [3, 1]}},
        r"source.input.shape is \[3, 1\]; give \[3\]",
    ),
    "a type": (
        {"input": {"kind": "tensor", "shape": [3], "dtype": "int64"}},
        "dtype is 'int64', but source.features.input is a list",
    ),
}


@pytest.mark.parametrize("case", FIT_NOTHING)
def test_lists_that_fit_nothing_are_refused(case: str, tmp_path: Path) -> None:
    source, message = FIT_NOTHING[case]
    with pytest.raises(ConfigurationError, match=message):
        config(tmp_path, "model.keras", "data", "parquet", **source)
