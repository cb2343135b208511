"""Runs of models that take integers: images of bytes, tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipeline.atlas import Atlas
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from transforms.errors import ConfigurationError

layers = keras.layers
LABELS = [0, 1, 2, 1, 0]


def explained(
    folder: Path, model: keras.Model, table: dict[str, Any], spec: dict[str, Any], engine: str
) -> tuple[list[dict[str, Any]], Atlas]:
    model.save(folder / "model.keras")
    pq.write_table(pa.table({**table, "label": LABELS}), folder / "d.parquet")
    run_in_memory(
        Config.from_dict(
            {
                "source": {
                    "pattern": str(folder / "d.parquet"),
                    "format": "parquet",
                    "features": {"input": "x", "label": "label"},
                    "input": spec,
                },
                "model": {"uri": str(folder / "model.keras")},
                "explain": {"batch_size": 4, "engine": engine},
                "output": {"path": str(folder / "atlas"), "codec": "float32"},
            }
        ),
        "overwrite",
    )
    atlas = Atlas.open(str(folder / "atlas"))
    return atlas.table().to_pylist(), atlas


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_tokens_have_a_value_each(engine: str, tmp_path: Path) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    keras.utils.set_random_seed(4)
    inputs = keras.Input((6,), dtype="int32")
    embedded = layers.Embedding(20, 8)(inputs)
    outputs = layers.Dense(3)(layers.GlobalMaxPooling1D()(layers.Conv1D(5, 2)(embedded)))
    tokens = np.random.default_rng(0).integers(0, 20, (5, 6))

    rows, atlas = explained(
        tmp_path,
        keras.Model(inputs, outputs),
        {"x": list(tokens)},
        {"kind": "tensor", "shape": [6]},
        engine,
    )

    after = keras.Model(embedded, outputs)
    with tf.GradientTape() as tape:
        found = tf.constant(keras.Model(inputs, embedded)(tokens))
        tape.watch(found)
        scores = after(found)
        score = tf.gather(scores, LABELS, axis=1, batch_dims=1)
    expected: npt.NDArray[Any] = np.abs(tape.gradient(score, found)).max(axis=-1)
    assert [row["predicted"] for row in rows] == np.argmax(scores, axis=1).tolist()
    for row, values in zip(rows, expected, strict=True):
        assert atlas.map(row["example_id"]).shape == (6,)
        np.testing.assert_allclose(atlas.map(row["example_id"]), values, rtol=1e-4, atol=1e-6)
        assert 0 < row["entropy"] <= 1
        assert row["peak_x"] == pytest.approx(int(values.argmax()) / 5)


def image_model(dtype: str) -> keras.Model:
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((6, 7, 3), dtype=dtype),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def test_images_of_bytes_have_the_maps_of_numbers(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (5, 6, 7, 3), np.uint8)
    table = {"x": [tf.io.encode_png(image).numpy() for image in images]}
    found = {}
    for dtype in ("uint8", "float32"):
        folder = tmp_path / dtype
        folder.mkdir()
        spec = {"kind": "image", "shape": [6, 7, 3]}
        rows, atlas = explained(folder, image_model(dtype), table, spec, "tensorflow")
        found[dtype] = [atlas.map(row["example_id"]) for row in rows]
        assert len(rows) == 5
    np.testing.assert_allclose(found["uint8"], found["float32"], rtol=1e-5)


def test_a_scale_before_integers_is_refused(tmp_path: Path) -> None:
    images = np.zeros((5, 6, 7, 3), np.uint8)
    table = {"x": [tf.io.encode_png(image).numpy() for image in images]}
    spec = {"kind": "image", "shape": [6, 7, 3], "scale": "unit"}
    message = "source.input.scale is 'unit', but the model takes uint8; .* so leave it out"
    with pytest.raises(ConfigurationError, match=message):
        explained(tmp_path, image_model("uint8"), table, spec, "tensorflow")
