"""The Beam graph against the same path without Beam, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_dataset import MakeConfig, atlas_bytes

from pipeline.atlas import Atlas
from pipeline.commands.run import run
from pipeline.commands.summarize import summarize
from pipeline.run.in_memory import run_in_memory
from pipeline.run.progress import Progress
from transforms.storage import LocalStorage

RUNNERS = {
    "in_memory": ["--runner=FnApiRunner"],
    "multi_threading": [
        "--runner=FnApiRunner",
        "--direct_running_mode=multi_threading",
        "--direct_num_workers=2",
    ],
}


def make_atlas(
    make_config: MakeConfig,
    root: Path,
    options: Sequence[str] = RUNNERS["in_memory"],
    mode: Any = "new",
    **sections: dict[str, Any],
) -> dict[str, Any]:
    output = {"path": str(root), **sections.pop("output", {})}
    return run(make_config(output=output, **sections), mode, options, Progress(None))


@pytest.fixture
def expected(finished_atlas: Path) -> dict[str, bytes]:
    return atlas_bytes(finished_atlas)


def test_in_memory_atlas_has_every_block_and_failure(
    expected: dict[str, bytes], finished_atlas: Path
) -> None:
    blocks = [name for name in expected if name.startswith("maps/")]
    assert len(blocks) == 6
    atlas = Atlas.open(str(finished_atlas))
    assert atlas.manifest["records_read"] == 40
    assert atlas.manifest["explained_examples"] == 37
    assert atlas.manifest["failed_records"] == 3
    assert atlas.manifest["status"] == "complete"
    failures = atlas.failures.to_pylist()
    assert [(row["shard"], row["record"], row["error"]) for row in failures] == [
        ("data-0.tfrecord", 3, "UndecodableImage"),
        ("data-1.tfrecord", 9, "LabelOutOfRange"),
        ("data-2.tfrecord", 4, "UndecodableImage"),
    ]
    assert sum(atlas.classes["n"].to_pylist()) == 37


@pytest.mark.parametrize("runner", RUNNERS)
def test_runner_makes_the_same_bytes(
    runner: str, make_config: MakeConfig, expected: dict[str, bytes], tmp_path: Path
) -> None:
    manifest = make_atlas(make_config, tmp_path / "atlas", RUNNERS[runner])
    assert atlas_bytes(tmp_path / "atlas") == expected
    assert manifest["runner"] == "FnApiRunner"
    assert manifest["metrics"]["models_loaded"] == 1
    assert manifest["metrics"]["blocks_committed"] == 6
    assert manifest["metrics"]["examples_explained"] == 37


def test_parquet_gives_the_same_statistics(
    make_config: MakeConfig, expected: dict[str, bytes], parquets: Path, tmp_path: Path
) -> None:
    make_atlas(
        make_config,
        tmp_path / "atlas",
        source={"pattern": str(parquets / "*.parquet"), "format": "parquet"},
    )
    made = atlas_bytes(tmp_path / "atlas")
    name = "statistics/classes.parquet"
    assert made[name] == expected[name]


def test_resume_completes_what_is_missing(
    make_config: MakeConfig, expected: dict[str, bytes], atlas_copy: Path
) -> None:
    root = atlas_copy
    for path in sorted((root / "maps").rglob("block-*.parquet"))[1::2]:
        path.unlink()
    (root / "statistics" / "classes.parquet").unlink()
    manifest = make_atlas(make_config, root, mode="resume")
    assert atlas_bytes(root) == expected
    assert manifest["blocks_resumed"] == 3
    assert manifest["metrics"]["blocks_committed"] == 3


def test_whole_shards_are_not_opened_again(
    make_config: MakeConfig, expected: dict[str, bytes], atlas_copy: Path
) -> None:
    root = atlas_copy
    manifest = make_atlas(make_config, root, mode="resume")
    assert atlas_bytes(root) == expected
    assert "records_read" not in manifest["metrics"]


def test_extend_takes_in_new_files(
    make_config: MakeConfig, expected: dict[str, bytes], tfrecords: Path, tmp_path: Path
) -> None:
    root = tmp_path / "atlas"
    source = make_config().as_dict()["source"]
    old = [str(tfrecords / "data-0.tfrecord"), str(tfrecords / "data-2.tfrecord")]
    make_atlas(make_config, root, source={**source, "pattern": old})
    manifest = make_atlas(make_config, root, mode="extend")
    assert atlas_bytes(root) == expected
    assert manifest["metrics"]["blocks_committed"] == 2


def test_summarize_rebuilds_the_same_bytes(expected: dict[str, bytes], atlas_copy: Path) -> None:
    root = atlas_copy
    (root / "statistics" / "classes.parquet").unlink()
    (root / "failures.parquet").unlink()
    counts = summarize(str(root), LocalStorage())
    assert atlas_bytes(root) == expected
    assert counts["unchanged"] is True
    assert counts["explained_examples"] == 37


def test_maps_are_the_gradients(
    make_config: MakeConfig, tmp_path: Path, model_path: Path, rows: list[list[dict[str, Any]]]
) -> None:
    import keras
    import tensorflow as tf

    from transforms.saliency import Saliency

    run_in_memory(make_config(output={"codec": "float32"}))
    row = rows[1][4]
    image = tf.cast(tf.io.decode_png(row["image"]), tf.float32)[tf.newaxis] / 255.0
    model = keras.models.load_model(model_path)
    expected = Saliency(model).explain(image, tf.one_hot([row["label"]], 4))[0, :, :, 0]
    stored = Atlas.open(str(tmp_path / "atlas")).map("1/4")
    np.testing.assert_allclose(stored, expected, rtol=1e-5, atol=1e-9)


def test_block_files_explain_themselves(finished_atlas: Path) -> None:
    atlas = Atlas.open(str(finished_atlas))
    described = list(atlas.block_metadata())
    assert {each["fingerprint"] for each in described} == {atlas.manifest["fingerprint"]}
    assert {each["codec"] for each in described} == {"uint8"}
    assert [len(each["failures"]) for each in described] == [1, 0, 0, 0, 1, 1]
    path = next((finished_atlas / "maps").rglob("block-00000.parquet"))
    names = pq.read_schema(path).names
    assert names[:12] == [
        "example_id", "shard", "record", "label", "target", "predicted", "score",
        "predicted_score", "map", "map_scale", "sketch", "entropy",
    ]  # fmt: skip


def test_lack_of_memory_is_counted_and_costs_no_example(
    make_config: MakeConfig,
    finished_atlas: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tensorflow as tf

    from transforms.saliency.program import Program

    run_program = Program.run

    def run_if_it_fits(self: Program, *arrays: Any) -> Any:
        if self.batch_size > 1:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor")
        return run_program(self, *arrays)

    monkeypatch.setattr(Program, "run", run_if_it_fits)
    manifest = make_atlas(make_config, tmp_path / "atlas")
    assert manifest["explained_examples"] == 37
    assert manifest["failed_records"] == 3
    # Preparing tried the first examples already: the explainer, and what it has learnt, is shared.
    assert manifest["metrics"]["batch_size_halved"] == 1
    maps = Atlas.open(str(tmp_path / "atlas")).table(["example_id", "target"])
    assert maps == Atlas.open(str(finished_atlas)).table(["example_id", "target"])
    assert atlas_bytes(tmp_path / "atlas").keys() == atlas_bytes(finished_atlas).keys()
