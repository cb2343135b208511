"""Data that is unusual but right: no examples, one, one class, many, text labels, other shapes."""

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
from pipeline.commands.run import run
from pipeline.commands.verify import verify
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from pipeline.run.progress import Progress
from transforms.errors import ConfigurationError
from transforms.filesystems import BeamStorage


def linear_model(path: Path, shape: tuple[int, ...], weights: npt.NDArray[np.float32]) -> str:
    """A linear model: the gradient of class c is column c of the weights, everywhere."""
    model = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(weights.shape[1])]
    )
    model.layers[-1].set_weights([weights, np.zeros(weights.shape[1], np.float32)])
    model.save(path / "linear.keras")
    return str(path / "linear.keras")


def config(folder: Path, table: pa.Table, shape: tuple[int, ...], **explain: Any) -> Config:
    pq.write_table(table, folder / "data.parquet")
    features = {name: name for name in ("id", "label", "boxes") if name in table.column_names}
    classes = folder / "classes.txt"
    return Config.from_dict(
        {
            "source": {
                "pattern": str(folder / "data.parquet"),
                "format": "parquet",
                "features": {"input": "x", **features},
                "classes": str(classes) if classes.exists() else None,
                "input": {"kind": "tensor", "shape": list(shape)},
            },
            "model": {"uri": str(folder / "linear.keras")},
            # Not auto, whose choice is one of timing: atlases are compared byte for byte.
            "explain": {"batch_size": 4, "engine": "tensorflow", **explain},
            "output": {"path": str(folder / "atlas"), "block_size": 8, "codec": "float32"},
            "statistics": {"sketch": [2, 2]},
        }
    )


def table_of(values: npt.NDArray[np.float32], labels: list[Any]) -> pa.Table:
    return pa.table({"x": list(values.reshape(len(values), -1)), "label": labels})


def explain(settings: Config) -> Atlas:
    """Runs with Beam and without; both must say the same."""
    manifest = run(settings, "new", [], Progress(None), allow_empty=True)
    statistics = Path(settings.output.path) / "statistics" / "classes.parquet"
    with_beam = statistics.read_bytes()
    run_in_memory(settings, "overwrite")
    again = Atlas.open(settings.output.path)
    assert statistics.read_bytes() == with_beam
    counts = ("records_read", "explained_examples", "failed_records", "maps", "blocks")
    assert [again.manifest[name] for name in counts] == [manifest[name] for name in counts]
    return again


@pytest.fixture
def weights() -> npt.NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=(12, 3)).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1])
def test_next_to_nothing(count: int, weights: npt.NDArray[np.float32], tmp_path: Path) -> None:
    linear_model(tmp_path, (12,), weights)
    table = pa.table(
        {"x": pa.array([[1.0] * 12] * count, pa.list_(pa.float32())), "label": [1] * count},
        schema=pa.schema([("x", pa.list_(pa.float32())), ("label", pa.int64())]),
    )
    atlas = explain(config(tmp_path, table, (12,)))
    assert atlas.manifest["status"] == "complete"
    assert atlas.manifest["explained_examples"] == count
    assert atlas.classes.num_rows == count
    assert atlas.table().num_rows == count
    assert atlas.failures.num_rows == 0


def test_a_thousand_classes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(4, 1000)).astype(np.float32)
    linear_model(tmp_path, (4,), weights)
    labels = [int(label) for label in generator.integers(0, 1000, 300)]
    values = generator.normal(size=(300, 4)).astype(np.float32)
    atlas = explain(config(tmp_path, table_of(values, labels), (4,)))
    assert atlas.classes["class"].to_pylist() == sorted(set(labels))
    assert sum(atlas.classes["n"].to_pylist()) == 300
    np.testing.assert_allclose(
        atlas.map(atlas.shards[0].example_id(17)), np.abs(weights[:, labels[17]]), rtol=1e-6
    )


def test_text_labels_are_looked_up(weights: npt.NDArray[np.float32], tmp_path: Path) -> None:
    linear_model(tmp_path, (12,), weights)
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\n")
    labels = ["cat", "ant", "cat", "wasp", "ant", "cat"]
    settings = config(tmp_path, table_of(np.ones((6, 12), np.float32), labels), (12,))
    settings = Config.from_dict({**settings.as_dict(), "failures": {"max_fraction": 0.5}})
    atlas = explain(settings)
    assert atlas.classes.select(["class", "class_name", "n"]).to_pylist() == [
        {"class": 0, "class_name": "ant", "n": 2},
        {"class": 2, "class_name": "cat", "n": 3},
    ]
    (failure,) = atlas.failures.to_pylist()
    assert (failure["record"], failure["error"]) == (3, "UnknownLabel")
    assert "wasp" in failure["message"]


@pytest.mark.parametrize(
    ("shape", "explained"),
    [
        ((12,), {}),
        ((3, 4), {}),
        ((2, 2, 3), {"reducer": "max"}),
        ((2, 2, 3), {"reducer": "none"}),
    ],
)
def test_every_rank(
    shape: tuple[int, ...],
    explained: dict[str, str],
    weights: npt.NDArray[np.float32],
    tmp_path: Path,
) -> None:
    linear_model(tmp_path, shape, weights)
    values = np.random.default_rng(5).normal(size=(11, 12)).astype(np.float32)
    labels = [number % 3 for number in range(11)]
    atlas = explain(config(tmp_path, table_of(values, labels), shape, **explained))
    expected = np.abs(weights[:, labels[10]]).reshape(shape)
    is_image = len(shape) == 3
    if explained.get("reducer") == "max":
        expected = expected.max(axis=-1)
    np.testing.assert_allclose(atlas.map(atlas.shards[0].example_id(10)), expected, rtol=1e-6)
    row = atlas.table(where=None).to_pylist()[10]
    assert row["predicted"] == int(np.argmax(values[10] @ weights))
    assert row["predicted_score"] == pytest.approx(np.max(values[10] @ weights), rel=1e-5)
    assert row["score"] == pytest.approx(values[10] @ weights[:, labels[10]], rel=1e-5, abs=1e-6)
    assert row["entropy"] is not None
    assert row["gini"] is not None
    assert (row["border_energy"] is None) == (not is_image)
    assert (row["spread"] is None) == (len(shape) == 1)


@pytest.mark.parametrize(
    ("target", "rows_an_example"), [("predicted", 1), ({"class": 2}, 1), ({"top": 2}, 2)]
)
def test_every_target(
    target: Any, rows_an_example: int, weights: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    linear_model(tmp_path, (12,), weights)
    values = np.random.default_rng(5).normal(size=(11, 12)).astype(np.float32)
    table = table_of(values, [0] * 11).drop_columns(["label"])
    atlas = explain(config(tmp_path, table, (12,), target=target))
    rows = atlas.table().to_pylist()
    assert len(rows) == 11 * rows_an_example
    ranked = np.argsort(-(values @ weights), axis=1)
    expected = {
        "predicted": ranked[:, :1],
        "{'class': 2}": np.full((11, 1), 2),
        "{'top': 2}": ranked[:, :2],
    }[str(target)]
    assert [row["target"] for row in rows] == expected.ravel().tolist()
    assert all(row["label"] is None for row in rows)
    for example, class_ in enumerate(expected[:, -1].tolist()):
        found = atlas.map(atlas.shards[0].example_id(example), target=class_)
        np.testing.assert_allclose(found, np.abs(weights[:, class_]), rtol=1e-6)
    assert atlas.manifest["explained_examples"] == 11
    assert atlas.manifest["maps"] == 11 * rows_an_example


def test_boxes_give_box_statistics(tmp_path: Path) -> None:
    weights = np.zeros((16, 1), np.float32)
    weights[[0, 5], 0] = 3, 1  # rows 0 and 1, columns 0 and 1 of a 4 x 4 map
    linear_model(tmp_path, (4, 4, 1), weights)
    boxes = [[0.0, 0.0, 0.25, 0.25], [0.25, 0.25, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0], []]
    table = table_of(np.ones((4, 16), np.float32), [0] * 4).append_column("boxes", [boxes])
    atlas = explain(config(tmp_path, table, (4, 4, 1)))
    rows = atlas.table(["box_energy", "pointing_hit"]).to_pylist()
    assert [row["box_energy"] for row in rows] == [0.75, 0.25, 0.0, None]
    assert [row["pointing_hit"] for row in rows] == [True, False, False, None]
    (row,) = atlas.classes.to_pylist()
    assert row["box_energy_mean"] == pytest.approx(1 / 3)
    assert row["pointing_hit_mean"] == pytest.approx(1 / 3)


def test_a_map_of_zeros_has_no_statistics(tmp_path: Path) -> None:
    weights = np.zeros((12, 2), np.float32)
    weights[:, 1] = 1
    linear_model(tmp_path, (2, 2, 3), weights)
    table = table_of(np.ones((3, 12), np.float32), [0, 1, 0])
    atlas = explain(config(tmp_path, table, (2, 2, 3)))
    rows = atlas.table(["entropy", "gini", "map_scale"]).to_pylist()
    assert [row["entropy"] for row in rows] == [None, 1.0, None]
    assert [row["gini"] for row in rows] == [None, 0.0, None]
    assert [row["map_scale"] for row in rows] == [0.0, 1.0, 0.0]
    assert atlas.classes["undefined_maps"].to_pylist() == [2, 0]
    assert atlas.classes["entropy_mean"].to_pylist() == [None, 1.0]
    assert atlas.failures.num_rows == 0


def test_a_gradient_that_is_not_finite_is_a_failure(tmp_path: Path) -> None:
    linear_model(tmp_path, (12,), np.full((12, 1), 3e38, np.float32))
    values = np.zeros((5, 12), np.float32)
    values[2] = 3e38
    settings = config(tmp_path, table_of(values, [0] * 5), (12,))
    settings = Config.from_dict({**settings.as_dict(), "failures": {"max_fraction": 0.5}})
    atlas = explain(settings)
    (failure,) = atlas.failures.to_pylist()
    assert (failure["record"], failure["error"]) == (2, "NonFiniteGradient")
    assert atlas.manifest["explained_examples"] == 4


def test_a_damaged_file_among_good_ones_is_a_failure(
    weights: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    linear_model(tmp_path, (12,), weights)
    settings = config(tmp_path, table_of(np.ones((6, 12), np.float32), [0] * 6), (12,))
    (tmp_path / "a-damaged.parquet").write_bytes((tmp_path / "data.parquet").read_bytes()[:-9])
    changed = settings.as_dict()
    changed["source"]["pattern"] = str(tmp_path / "*.parquet")
    changed["failures"] = {"max_fraction": 0.5, "max_broken_files": 1}
    atlas = explain(Config.from_dict(changed))
    (failure,) = atlas.failures.to_pylist()
    assert (failure["shard"], failure["record"]) == ("a-damaged.parquet", None)
    assert failure["error"] == "UnreadableFile"
    (broken,) = atlas.manifest["broken_files"]
    assert broken["path"] == str(tmp_path / "a-damaged.parquet")
    assert atlas.manifest["explained_examples"] == 6


@pytest.fixture
def per_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> npt.NDArray[np.float32]:
    """A model that returns scores of 2 classes at each of 6 steps, and operators on it."""
    kernel = np.random.default_rng(4).normal(size=(2, 2)).astype(np.float32)
    model = keras.Sequential([keras.Input((6, 2)), keras.layers.Dense(2, "tanh", use_bias=False)])
    model.layers[-1].set_weights([kernel])
    model.save(tmp_path / "linear.keras")
    (tmp_path / "step_operators.py").write_text(
        "import tensorflow as tf\n"
        "def total(model, inputs, targets):\n"
        "    assert targets.shape.rank == 1 and targets.dtype == tf.int32\n"
        "    of_class = model(inputs) * tf.one_hot(targets, 2)[:, tf.newaxis]\n"
        "    return tf.reduce_sum(of_class, axis=(1, 2))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return kernel


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
@pytest.mark.parametrize("target", ["label", {"class": 1}])
def test_outputs_that_are_no_class_scores_are_explained_by_an_operator(
    target: Any, engine: str, per_position: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    values = np.random.default_rng(0).normal(size=(11, 6, 2)).astype(np.float32)
    labels = [row % 2 for row in range(11)]
    settings = config(
        tmp_path,
        table_of(values, labels),
        (6, 2),
        operator="step_operators:total",
        target=target,
        engine=engine,
    )
    atlas = explain(settings)
    table = atlas.table()
    targets = labels if target == "label" else [1] * 11
    assert table["target"].to_pylist() == targets
    for name in ("predicted", "predicted_score"):
        assert table[name].null_count == 11
    outputs = np.tanh(values @ per_position)
    for row, number in enumerate(targets):
        slopes = 1 - outputs[row, :, number] ** 2
        expected = np.abs(np.outer(slopes, per_position[:, number]))
        np.testing.assert_allclose(
            atlas.map(atlas.shards[0].example_id(row)), expected, rtol=1e-4, atol=1e-6
        )
        score = table["score"][row].as_py()
        assert score == pytest.approx(outputs[row, :, number].sum(), abs=1e-5)
    assert atlas.classes["n_correct"].null_count == atlas.classes.num_rows
    assert atlas.classes["n"].to_pylist() == [targets.count(each) for each in sorted({*targets})]
    assert verify(settings.output.path, BeamStorage())["problems"] == []


@pytest.mark.usefixtures("per_position")
@pytest.mark.parametrize(
    ("explained", "message"),
    [
        ({}, r"returns \(N, 6, 2\), but a class is explained in \(N, outputs\)"),
        ({"operator": "step_operators:total", "target": "predicted"}, "give label or {class: N}"),
        ({"operator": "step_operators:total", "target": {"top": 2}}, r"{'top': 2}, but the model"),
    ],
)
def test_outputs_that_are_no_class_scores_have_no_predicted_class(
    explained: dict[str, Any], message: str, tmp_path: Path
) -> None:
    values = np.ones((3, 6, 2), np.float32)
    settings = config(tmp_path, table_of(values, [0, 1, 1]), (6, 2), **explained)
    with pytest.raises(ConfigurationError, match=message):
        run_in_memory(settings)
    assert not Path(settings.output.path).exists()
