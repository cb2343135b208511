"""What models return: one score, numbers, scores at each position; a run of each, to its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.atlas import Atlas
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from transforms.errors import ConfigurationError

layers = keras.layers
RANDOM = np.random.default_rng(4)


def config(
    folder: Path,
    values: npt.NDArray[np.float32],
    labels: list[int] | None,
    model: dict[str, Any] | None = None,
    **explain: Any,
) -> Config:
    table = {"x": list(values.reshape(len(values), -1))}
    columns = table if labels is None else table | {"label": labels}
    pq.write_table(pa.table(columns), folder / "d.parquet")
    return Config.from_dict(
        {
            "source": {
                "pattern": str(folder / "d.parquet"),
                "format": "parquet",
                "features": {"input": "x", "label": None if labels is None else "label"},
                "input": {"kind": "tensor", "shape": list(values.shape[1:])},
            },
            "model": {"uri": str(folder / "model.keras"), **(model or {})},
            "explain": {"batch_size": 4, "engine": "tensorflow", **explain},
            "output": {"path": str(folder / "atlas"), "block_size": 8, "codec": "float32"},
            "statistics": {"sketch": [2, 2]},
            "failures": {"max_fraction": 1.0},
        }
    )


def explain(settings: Config) -> tuple[list[dict[str, Any]], Atlas]:
    run_in_memory(settings, "new")
    atlas = Atlas.open(settings.output.path)
    return atlas.table().to_pylist(), atlas


def dense(
    folder: Path, shape: tuple[int, ...], weights: Any, activation: str | None = None
) -> None:
    """One layer on the last axis: the gradient of output c is column c of the weights."""
    values = np.array(weights, np.float32)
    layer = layers.Dense(values.shape[1], activation)
    model = keras.Sequential([keras.Input(shape), layer])
    layer.set_weights([values, np.zeros(values.shape[1], np.float32)])
    model.save(folder / "model.keras")


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_one_output_is_two_classes(activation: str | None, tmp_path: Path) -> None:
    dense(tmp_path, (3,), [[1.0], [-2.0], [0.0]], activation)
    values = np.array([[2, 0, 0], [0, 1, 0], [1, 0, 5], [0, 3, 1]], np.float32)

    rows, atlas = explain(config(tmp_path, values, [1, 1, 0, 0]))

    logits = np.array([2.0, -2.0, 1.0, -6.0])
    assert [row["predicted"] for row in rows] == [1, 0, 1, 0]
    assert [row["target"] for row in rows] == [1, 1, 0, 0]
    assert sum(atlas.classes["n_correct"].to_pylist()) == 2
    sign = np.array([1, 1, -1, -1])
    expected = sign * logits if activation is None else 1 / (1 + np.exp(-sign * logits))
    np.testing.assert_allclose([row["score"] for row in rows], expected, rtol=1e-5)
    slope = 1.0 if activation is None else float(expected[0] * (1 - expected[0]))
    np.testing.assert_allclose(
        atlas.map(atlas.shards[0].example_id(0)), [slope, 2 * slope, 0], rtol=1e-5
    )


def test_labels_beyond_two_classes_are_failures(tmp_path: Path) -> None:
    dense(tmp_path, (2,), [[1.0], [1.0]])
    rows, atlas = explain(config(tmp_path, np.ones((3, 2), np.float32), [0, 2, 1]))
    assert [row["record"] for row in rows] == [0, 2]
    (failure,) = atlas.failures.to_pylist()
    assert failure["message"] == "label 2 is not one of the model's 2 classes"


def test_regression_explains_one_output(tmp_path: Path) -> None:
    dense(tmp_path, (2,), [[1.0, 3.0], [2.0, -4.0]])
    values = np.array([[1, 1], [2, 0]], np.float32)
    settings = config(tmp_path, values, [70, 80], operator="regression", target={"class": 1})

    rows, atlas = explain(settings)

    assert [(row["target"], row["predicted"]) for row in rows] == [(1, None)] * 2
    np.testing.assert_array_equal([row["score"] for row in rows], [-1.0, 6.0])
    np.testing.assert_array_equal(atlas.map(atlas.shards[0].example_id(0)), [3.0, 4.0])
    assert atlas.classes["n_correct"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("explained", "message"),
    [
        ({"operator": "regression"}, "explains one output whatever the label is; give {class: 0}"),
        (
            {"operator": "regression", "target": {"class": 2}},
            "has 2 outputs; give 0 to 1",
        ),
        ({"operator": "segmentation"}, r"'segmentation', but the model returns \(N, 2\); it needs"),
    ],
)
def test_what_does_not_fit_is_refused(
    explained: dict[str, Any], message: str, tmp_path: Path
) -> None:
    dense(tmp_path, (2,), [[1.0, 3.0], [2.0, -4.0]])
    with pytest.raises(ConfigurationError, match=message):
        explain(config(tmp_path, np.ones((2, 2), np.float32), [0, 1], **explained))


def test_segmentation_explains_a_class_in_its_own_zone(tmp_path: Path) -> None:
    dense(tmp_path, (1, 3, 3), np.diag([1.0, 2.0, 3.0]))
    # Of the first example's positions two are of class 0; of the second none.
    values = np.array([[[[9, 1, 1], [5, 1, 1], [0, 0, 1]]], [[[0, 1, 0]] * 3]], np.float32)
    settings = config(tmp_path, values, [0, 0], operator="segmentation")

    rows, atlas = explain(settings)

    np.testing.assert_array_equal([row["score"] for row in rows], [7.0, 0.0])
    np.testing.assert_array_equal(atlas.map(atlas.shards[0].example_id(0)), [[0.5, 0.5, 0.0]])
    np.testing.assert_array_equal(atlas.map(atlas.shards[0].example_id(1)), np.zeros((1, 3)))
    assert rows[0]["entropy"] is not None
    assert (rows[1]["entropy"], rows[1]["predicted"]) == (None, None)
    assert atlas.failures.num_rows == 0


def test_a_single_channel_is_two_classes_of_positions(tmp_path: Path) -> None:
    dense(tmp_path, (1, 3, 1), [[2.0]], "sigmoid")
    values = np.array([[[[1], [-1], [3]]]], np.float32)
    rows, _ = explain(config(tmp_path, values, [1], operator="segmentation"))
    p = 1 / (1 + np.exp(-2 * np.array([1.0, 3.0])))
    np.testing.assert_allclose(rows[0]["score"], p.mean(), rtol=1e-5)


def test_a_model_that_depends_on_its_batch_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    normal = layers.BatchNormalization(name="normal")(inputs, training=True)
    model = keras.Model(inputs, layers.Dense(2)(normal))
    model.export(tmp_path / "exported", verbose=False)
    uri = {"uri": str(tmp_path / "exported")}
    values = RANDOM.normal(size=(6, 3)).astype(np.float32)
    with pytest.raises(ConfigurationError) as refusal:
        explain(config(tmp_path, values, [0, 1, 0, 1, 0, 1], uri))
    assert "is not a function of its input: the first examples' outputs change by" in str(
        refusal.value
    )
    assert "normal" in str(refusal.value)
    assert "training=False" in str(refusal.value)
