"""Channels first: maps, statistics and pictures are those of the transposed model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from pipeline.atlas import Atlas
from pipeline.commands.show import show
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from transforms import Example, Explanation, InputSpec, Saliency, explain_spec
from transforms.errors import ConfigurationError
from transforms.filesystems import BeamStorage
from transforms.saliency.block import load_explainer
from transforms.saliency.examples import explain_examples

MakeConfig = Callable[..., Config]

HEIGHT, WIDTH, CHANNELS = 10, 14, 3
FIRST, LAST = (CHANNELS, HEIGHT, WIDTH), (HEIGHT, WIDTH, CHANNELS)
SCALE = {"mean": [10.0, 20.0, 30.0], "std": [40.0, 50.0, 60.0]}
layers = keras.layers


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One classifier for channels last, and the same behind a transposition."""
    keras.utils.set_random_seed(11)
    last = keras.Sequential(
        [
            keras.Input(LAST),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )
    first = keras.Sequential([keras.Input(FIRST), layers.Permute((2, 3, 1)), last])
    folder = tmp_path_factory.mktemp("models")
    last.save(folder / "last.keras")
    first.save(folder / "first.keras")
    return {"last": folder / "last.keras", "first": folder / "first.keras"}


def rows(config: Config) -> tuple[list[dict[str, Any]], Atlas]:
    run_in_memory(config, "overwrite")
    atlas = Atlas.open(config.output.path)
    return atlas.table().to_pylist(), atlas


@pytest.mark.parametrize("reducer", ["max", "none"])
def test_images(
    reducer: str, models: dict[str, Path], make_config: MakeConfig, tmp_path: Path
) -> None:
    def config(channels: str, shape: tuple[int, ...]) -> Config:
        given: dict[str, Any] = {"shape": list(shape), "scale": SCALE, "crop": 0.8}
        return make_config(
            source={"input": {**given, "channels": channels}},
            model={"uri": str(models[channels])},
            explain={"batch_size": 3, "engine": "tensorflow", "reducer": reducer},
            output={"path": str(tmp_path / channels), "codec": "float32"},
        )

    expected, of_last = rows(config("last", LAST))
    found, of_first = rows(config("first", FIRST))

    assert len(found) == len(expected) == 37
    assert found == expected
    for row in found:
        values = of_first.map(row["example_id"])
        assert values.shape == (LAST if reducer == "none" else (HEIGHT, WIDTH))
        np.testing.assert_array_equal(values, of_last.map(row["example_id"]))
    assert of_first.classes.to_pylist() == of_last.classes.to_pylist()
    pictures = []
    for atlas in (of_first, of_last):
        output = tmp_path / "shown.png"
        assert show(str(atlas.path), "1/11", str(output))["note"] is None
        pictures.append(np.asarray(Image.open(output)))
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert pictures[0].shape[1] > 3 * WIDTH  # input, map, and one over the other


def test_boxes_lie_where_they_lie_in_the_transposed_model(
    models: dict[str, Path], tmp_path: Path
) -> None:
    images = np.random.default_rng(2).integers(0, 256, (5, *LAST), np.uint8)
    png = [tf.io.encode_png(image).numpy() for image in images]
    boxes = [[0.0, 0.5, 0.4, 1.0]] * 5
    pq.write_table(pa.table({"x": png, "boxes": boxes}), tmp_path / "d.parquet")
    found = {}
    for channels, shape in (("first", FIRST), ("last", LAST)):
        table, _ = rows(
            Config.from_dict(
                {
                    "source": {
                        "pattern": str(tmp_path / "d.parquet"),
                        "format": "parquet",
                        "features": {"input": "x", "boxes": "boxes"},
                        "input": {"shape": list(shape), "channels": channels},
                    },
                    "model": {"uri": str(models[channels])},
                    "explain": {"target": "predicted", "batch_size": 5, "engine": "tensorflow"},
                    "output": {"path": str(tmp_path / channels)},
                }
            )
        )
        found[channels] = table
    assert found["first"] == found["last"]
    energies = [row["box_energy"] for row in found["first"]]
    assert 0.02 < min(energies) < max(energies) < 0.6


@pytest.mark.parametrize("as_bytes", [True, False])
def test_examples_that_others_have_made(as_bytes: bool, models: dict[str, Path]) -> None:
    values = np.random.default_rng(3).normal(size=(4, *LAST)).astype(np.float32)
    found = {}
    for channels, shape in (("first", FIRST), ("last", LAST)):
        given = np.moveaxis(values, -1, 1) if channels == "first" else values
        inputs = InputSpec("tensor", shape, channels="first" if shape == FIRST else "last")
        spec = explain_spec(str(models[channels]), inputs, codec="float32")
        explained = explain_examples(
            load_explainer(spec, BeamStorage()),
            [
                Example(str(row), np.ascontiguousarray(each).tobytes() if as_bytes else each)
                for row, each in enumerate(given)
            ],
        )
        maps = []
        for each in explained:
            assert isinstance(each, tuple), each
            (explanation,) = each
            assert isinstance(explanation, Explanation)
            maps.append(explanation.map)
        found[channels] = np.stack(maps)
    assert found["first"].shape == (4, HEIGHT, WIDTH)
    np.testing.assert_array_equal(found["first"], found["last"])


def test_arrays_in_memory(models: dict[str, Path]) -> None:
    values = np.random.default_rng(3).normal(size=(4, *LAST)).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)
    first, last = (keras.models.load_model(models[name]) for name in ("first", "last"))
    expected = Saliency(last).explain(values, targets)
    found = Saliency(first, channels="first").explain(np.moveaxis(values, -1, 1), targets)
    assert found.shape == (4, HEIGHT, WIDTH, 1)
    np.testing.assert_array_equal(found, expected)


def test_arrays_that_look_like_channels_first_are_refused(models: dict[str, Path]) -> None:
    first = keras.models.load_model(models["first"])
    values = np.zeros((2, *FIRST), np.float32)
    with pytest.raises(
        ConfigurationError, match="looks like channels first; give channels='first'"
    ):
        Saliency(first).explain(values, np.eye(4, dtype=np.float32)[:2])
    with pytest.raises(ConfigurationError, match="only images have channels"):
        Saliency(first, channels="first").explain(values[0], np.eye(4, dtype=np.float32)[:3])
