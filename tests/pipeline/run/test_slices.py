"""Slices from both formats to the tables, the same bytes whoever adds them up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from small_dataset import MakeConfig, atlas_bytes, serialized_example

from pipeline.atlas import Atlas
from pipeline.commands.run import run
from pipeline.commands.summarize import summarize
from pipeline.commands.verify import verify
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from pipeline.run.progress import Progress
from transforms.errors import ConfigurationError
from transforms.storage import LocalStorage
from transforms.store.map_format import MapFormat

RUNNER = ["--runner=FnApiRunner", "--direct_running_mode=multi_threading"]
CAMERAS = ["A", "", "日本\n", None]
SLICES = ["camera", "year", "night"]
FEATURES = {"id": "id", "input": "image", "label": "label", "slices": SLICES}


def with_slices(rows: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The small dataset's rows, each with a camera, a year and whether it was night."""
    return [
        [
            row | {"camera": CAMERAS[i % 4], "year": 2020 + i % 3, "night": i % 2 == 1}
            for i, row in enumerate(shard)
        ]
        for shard in rows
    ]


def write_tfrecords(folder: Path, shards: list[list[dict[str, Any]]]) -> None:
    import tensorflow as tf
    from tensorflow.core.example import example_pb2

    for number, shard in enumerate(shards):
        with tf.io.TFRecordWriter(str(folder / f"data-{number}.tfrecord")) as writer:
            for row in shard:
                serialized = serialized_example(row["id"], row["image"], row["label"])
                example = example_pb2.Example.FromString(serialized)
                if row["camera"] is not None:
                    camera = row["camera"].encode()
                    example.features.feature["camera"].bytes_list.value.append(camera)
                example.features.feature["year"].int64_list.value.append(row["year"])
                night = b"true" if row["night"] else b"false"
                example.features.feature["night"].bytes_list.value.append(night)
                writer.write(example.SerializeToString())


@pytest.fixture
def sliced(make_config: MakeConfig, rows: list[list[dict[str, Any]]], tmp_path: Path) -> MakeConfig:
    """Makes configurations of the dataset with slices, as TFRecord and as Parquet."""
    shards = with_slices(rows)
    write_tfrecords(tmp_path, shards)
    for number, shard in enumerate(shards):
        pq.write_table(
            pa.Table.from_pylist(shard), tmp_path / f"data-{number}.parquet", row_group_size=5
        )

    def make(kind: str, name: str, pattern: str = "*", **features: Any) -> Config:
        base = make_config().as_dict()["source"]
        pattern = str(tmp_path / f"data-{pattern}.{kind}")
        source = {**base, "pattern": pattern, "format": kind, "features": FEATURES | features}
        if kind == "parquet":
            del source["compression"]
        return make_config(source=source, output={"path": str(tmp_path / name)})

    return make


def test_both_formats_and_all_ways_give_the_same_slices(sliced: MakeConfig, tmp_path: Path) -> None:
    run_in_memory(sliced("tfrecord", "expected"))
    expected = atlas_bytes(tmp_path / "expected")
    run_in_memory(sliced("parquet", "columns"))
    columns = atlas_bytes(tmp_path / "columns")
    tables = [name for name in expected if name.startswith("statistics/")]
    assert len(tables) == 4
    assert {name: columns[name] for name in tables} == {name: expected[name] for name in tables}

    root = tmp_path / "beam"
    run(sliced("tfrecord", "beam", "[02]"), "new", RUNNER, Progress(None))
    run(sliced("tfrecord", "beam"), "extend", RUNNER, Progress(None))
    assert atlas_bytes(root) == expected
    for path in sorted((root / "maps").rglob("block-*.parquet"))[1::2]:
        path.unlink()
    for path in (root / "statistics").iterdir():
        path.unlink()
    run(sliced("tfrecord", "beam"), "resume", RUNNER, Progress(None))
    assert atlas_bytes(root) == expected
    (root / "statistics" / "slices.parquet").unlink()
    assert summarize(str(root), LocalStorage())["unchanged"] is True
    assert atlas_bytes(root) == expected
    config = sliced("tfrecord", "beam")
    assert verify(str(root), LocalStorage(), config)["problems"] == []

    atlas = Atlas.open(str(root))
    maps = atlas.table(["example_id", *SLICES])
    assert maps.slice(0, 3).to_pylist() == [
        {"example_id": "0/0", "camera": "A", "year": "2020", "night": "false"},
        {"example_id": "0/1", "camera": "", "year": "2021", "night": "true"},
        {"example_id": "0/2", "camera": "日本\n", "year": "2022", "night": "false"},
    ]
    assert maps["camera"].null_count > 0
    assert set(atlas.slices["slice"].to_pylist()) == {"outcome", *SLICES}
    for name in ("outcome", *SLICES):
        of_slice = atlas.slices.filter(pc.field("slice") == name)
        found = of_slice.group_by("class").aggregate([("n", "sum")]).sort_by("class")
        assert found["n_sum"].to_pylist() == atlas.classes["n"].to_pylist()
    assert sum(atlas.confusion["n"].to_pylist()) == atlas.manifest["explained_examples"] == 37
    assert sum(atlas.folds["n"].to_pylist()) == 37
    assert atlas.manifest["slices_left_out"] == []


def test_a_slice_with_too_many_values_is_named(
    sliced: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("transforms.statistics.groups.slices.MOST_VALUES", 3)
    run(sliced("tfrecord", "atlas"), "new", RUNNER, Progress(None))
    atlas = Atlas.open(str(tmp_path / "atlas"))
    why = "it has more than 3 values"
    assert atlas.manifest["slices_left_out"] == [{"slice": "camera", "why": why}]
    assert set(atlas.slices["slice"].to_pylist()) == {"outcome", "year", "night"}
    assert atlas.table(["camera"])["camera"].to_pylist()[0] == "A"
    assert f"the slice camera is left out, as {why}" in caplog.text
    assert verify(str(tmp_path / "atlas"), LocalStorage())["problems"] == []


def test_a_column_that_is_not_there_is_no_null(sliced: MakeConfig) -> None:
    why = r"there is no feature 'lens' \(source.features.slices\); there are: id, image, label, cam"
    with pytest.raises(ConfigurationError, match=why):
        run_in_memory(sliced("parquet", "atlas", slices=["lens"]))
    made = run_in_memory(sliced("tfrecord", "atlas", slices=["lens"]))
    assert made["status"] == "complete"


def test_a_feature_that_no_example_has_is_warned_of(sliced: MakeConfig) -> None:
    from pipeline.run.job import prepare

    prepared = prepare(sliced("tfrecord", "atlas", slices=["lens"]), LocalStorage(), "new")
    (warning,) = [each for each in prepared.warnings if "slices" in each]
    assert warning.startswith("source.features.slices: none of the first 8 examples of ")
    assert warning.endswith("has a value of 'lens'; is that what the feature is called?")


@pytest.mark.parametrize(
    ("slices", "why"),
    [
        (["label"], "names 'label', and the maps table has a column of that name"),
        (["sharpness"], "names 'sharpness', and the maps table has a column of that name"),
        (["mask_energy"], "names 'mask_energy', and the maps table has a column of that name"),
        (["outcome"], "names 'outcome', a slice that every atlas has"),
        (["year", "year"], "names 'year' twice; give each feature once"),
        ([""], "source.features.slices"),
    ],
)
def test_names_that_are_taken_are_refused(
    make_config: MakeConfig, slices: list[str], why: str
) -> None:
    source = make_config().as_dict()["source"]
    features = {**source["features"], "slices": slices}
    with pytest.raises(ConfigurationError, match=why):
        make_config(source={**source, "features": features})


def test_an_atlas_with_other_columns_is_not_gone_on_with(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr("transforms.saliency.block.has_peak_windows", lambda _: False)
        run_in_memory(make_config())
    with pytest.raises(ConfigurationError, match=r"output.columns: the atlas has \['example_id'"):
        run_in_memory(make_config(), "resume")


def test_every_column_of_the_maps_is_taken() -> None:
    from transforms.statistics.columns import MAPS_COLUMNS

    stored = MapFormat(
        (4, 4),
        "uint8",
        (2, 2),
        with_boxes=True,
        thumbnail_shape=(2, 2),
        with_windows=True,
        with_masks=True,
    )
    assert {*stored.schema.names} <= MAPS_COLUMNS
