"""Every file of an atlas damaged in turn: each damage is found, and the file is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_dataset import MakeConfig

from pipeline.cli import main
from pipeline.commands import native_stderr
from pipeline.commands.verify import verify
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from transforms.errors import ConfigurationError, RunError
from transforms.storage import LocalStorage
from transforms.store.block_file import encode_table
from transforms.store.manifest import encode_manifest, sealed

STORAGE = LocalStorage()
FIRST_SHARD = "data-0"


@pytest.fixture
def config(make_config: MakeConfig) -> Config:
    return make_config()


@pytest.fixture
def atlas(atlas_copy: Path) -> Path:
    return atlas_copy


def problems(atlas: Path, config: Any = None) -> list[tuple[str, str]]:
    found = verify(str(atlas), STORAGE, config)["problems"]
    return [(str(Path(each["path"]).relative_to(atlas)), each["what"]) for each in found]


def a_block(atlas: Path, number: int = 1) -> Path:
    (folder,) = (atlas / "maps").glob(f"{FIRST_SHARD}-*")
    return folder / f"block-{number:05d}.parquet"


def change_manifest(atlas: Path, **changes: Any) -> None:
    path = atlas / "manifest.json"
    path.write_bytes(encode_manifest(sealed(json.loads(path.read_text()) | changes)))


def rewrite(path: Path, change: Callable[[pa.Table, dict[str, Any]], pa.Table]) -> None:
    table = pq.read_table(path)
    metadata = json.loads(table.schema.metadata[b"saliency_atlas"])
    changed = change(table, metadata)
    path.write_bytes(encode_table(changed, metadata))


def test_a_whole_atlas_has_no_problems(atlas: Path, config: Any) -> None:
    assert verify(str(atlas), STORAGE, config) == {
        "atlas": str(atlas),
        "against_inputs": True,
        "status": "complete",
        "shards": 3,
        "blocks": 6,
        "maps": 37,
        "records_read": 40,
        "explained_examples": 37,
        "failed_records": 3,
        "left_out_records": 0,
        "warned_images": 0,
        "problems": [],
    }


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_missing_block_is_named_and_resume_brings_it_back(
    number: int, atlas: Path, config: Any
) -> None:
    path = a_block(atlas, number)
    data = path.read_bytes()
    path.unlink()
    ((name, what),) = problems(atlas)
    assert name == str(path.relative_to(atlas))
    assert "--resume" in what
    run_in_memory(config, "resume")
    assert path.read_bytes() == data
    assert problems(atlas, config) == []


def test_any_damaged_bit_of_any_file_is_found(atlas: Path) -> None:
    generator = np.random.default_rng(11)
    unseen = []
    for path in sorted(path for path in atlas.rglob("*") if path.suffix == ".parquet"):
        data = path.read_bytes()
        for bit in generator.integers(0, 8 * len(data), 10).tolist():
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            if not problems(atlas):
                unseen.append((path.name, bit // 8, len(data)))
        path.write_bytes(data)
    assert unseen == []
    assert problems(atlas) == []


def test_a_damaged_map_is_found(atlas: Path) -> None:
    path = a_block(atlas)
    column = pq.read_metadata(path).row_group(0).column(8)
    assert column.path_in_schema == "map"
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 9] ^= 4
    path.write_bytes(data)
    ((name, what),) = problems(atlas)
    assert name == str(path.relative_to(atlas))
    assert what.startswith("it is damaged or no block")


def test_a_truncated_or_empty_block_is_found(atlas: Path) -> None:
    path = a_block(atlas)
    for data in (path.read_bytes()[:-9], b""):
        path.write_bytes(data)
        ((name, what),) = problems(atlas)
        assert name == str(path.relative_to(atlas))
        assert "go on with --resume" in what


def test_blocks_under_other_names_are_found(atlas: Path) -> None:
    shutil.copy(a_block(atlas, 0), a_block(atlas, 3))
    found = problems(atlas)
    assert {name for name, _ in found} == {str(a_block(atlas, 3).relative_to(atlas))}
    assert any("its number is 0, not 3" in what for _, what in found)
    assert any("it comes after the last block" in what for _, what in found)
    a_block(atlas, 3).unlink()
    stranger = atlas / "maps" / "other-00000000" / "block-00000.parquet"
    stranger.parent.mkdir()
    shutil.copy(a_block(atlas, 0), stranger)
    assert [(name, what[:23]) for name, what in problems(atlas)] == [
        ("maps/other-00000000/block-00000.parquet", "it belongs to no input ")
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table, _: table.slice(1), "examples of"),
        (lambda table, _: pa.concat_tables([table, table.slice(0, 1)]), "not in order"),
        (lambda table, _: table.drop_columns(["entropy"]), "columns"),
        (lambda table, meta: meta.update(fingerprint="0" * 64) or table, "its fingerprint is 0000"),
        (lambda table, meta: meta["block"].update(number=1) or table, "its number is 1, not 0"),
        (lambda table, meta: meta["failures"].clear() or table, "failures"),
        (
            lambda table, meta: meta["block"]["shard"].update(size=1) or table,
            "its input file's size is 1",
        ),
    ],
)
def test_a_block_that_says_something_else_is_found(
    change: Callable[[pa.Table, dict[str, Any]], pa.Table], message: str, atlas: Path
) -> None:
    path = a_block(atlas, 0)
    rewrite(path, change)
    found = problems(atlas)
    assert {name for name, _ in found} == {str(path.relative_to(atlas))}
    assert any(message in what for _, what in found), found


def test_values_that_were_changed_no_longer_add_up(atlas: Path) -> None:
    def set_entropy(table: pa.Table, _: dict[str, Any]) -> pa.Table:
        index = table.schema.get_field_index("entropy")
        values = pa.array([0.5] * len(table), pa.float32())
        return table.set_column(index, table.schema.field(index), values)

    rewrite(a_block(atlas), set_entropy)
    found = problems(atlas)
    assert ("statistics/classes.parquet", "it is not what the blocks add up to: summarize makes it "
            "anew") in found  # fmt: skip


def test_statistics_failures_and_manifest_are_checked(atlas: Path) -> None:
    (atlas / "failures.parquet").unlink()
    shutil.copy(a_block(atlas), atlas / "statistics" / "classes.parquet")
    change_manifest(atlas, explained_examples=36, status="complete")
    assert problems(atlas) == [
        ("manifest.json", "explained_examples is 36, the blocks have 37"),
        (
            "statistics/classes.parquet",
            "it is not what the blocks add up to: summarize makes it anew",
        ),
        ("failures.parquet", "it is missing: summarize makes it anew"),
    ]
    change_manifest(atlas, status="incomplete")
    assert problems(atlas) == [("manifest.json", "its status is incomplete: go on with --resume")]
    (atlas / "manifest.json").write_text("{")
    assert [name for name, _ in problems(atlas)] == ["manifest.json"]
    (atlas / "manifest.json").unlink()
    assert problems(atlas) == [("manifest.json", "it is missing")]


def test_inputs_that_have_changed_are_found(
    make_config: MakeConfig, tfrecords: Path, tmp_path: Path
) -> None:
    inputs, atlas = Path(shutil.copytree(tfrecords, tmp_path / "inputs")), tmp_path / "atlas"
    source = make_config().as_dict()["source"] | {"pattern": f"{inputs}/*.tfrecord"}
    config = make_config(source=source)
    run_in_memory(config)
    path = inputs / "data-1.tfrecord"
    original = path.read_bytes()
    path.write_bytes(original + b"x")
    assert any("it had" in what for _, what in problems(atlas, config))
    # Two records change places: the file has the same size.
    import tensorflow as tf

    records = [
        record.numpy() for record in tf.data.TFRecordDataset(str(inputs / "data-2.tfrecord"))
    ]
    with tf.io.TFRecordWriter(str(inputs / "data-2.tfrecord")) as writer:
        for record in [records[1], records[0], *records[2:]]:
            writer.write(record)
    path.write_bytes(original)
    ((name, what),) = problems(atlas, config)
    assert name.startswith("maps/data-2-")
    assert "other examples there than were explained" in what
    assert problems(atlas) == []
    (inputs / "data-2.tfrecord").unlink()
    shutil.copy(path, inputs / "data-3.tfrecord")
    said = " ".join(what for _, what in problems(atlas, config))
    assert "data-2.tfrecord: the atlas has it, this run does not" in said
    assert "data-3.tfrecord: new to the atlas" in said


def test_another_configuration_or_model_is_found(
    atlas: Path, make_config: MakeConfig, config: Any, model_path: Path
) -> None:
    source = config.as_dict()["source"]
    other = make_config(
        source=source, output={"path": str(atlas), "codec": "float16"}, explain={"reducer": "mean"}
    )
    said = [what for _, what in problems(atlas, other)]
    assert "explain.reducer: the atlas has 'max', this run 'mean'" in said
    assert "output.codec: the atlas has 'uint8', this run 'float16'" in said
    data = model_path.read_bytes()
    try:
        model_path.write_bytes(data + b"\0")
        said = [what for _, what in problems(atlas, config)]
        assert len(said) == 1
        assert said[0].startswith("model.digest: the atlas has ")
    finally:
        model_path.write_bytes(data)


def test_what_is_no_atlas_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no atlas"):
        verify(str(tmp_path), STORAGE)


@pytest.mark.parametrize("mode", ["whole", "damaged"])
def test_the_command_exits_with_0_or_3(
    mode: str, atlas: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if mode == "damaged":
        a_block(atlas).unlink()
    code = main(["verify", str(atlas), "--json"])
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert code == (3 if mode == "damaged" else 0)
    assert len(result["problems"]) == (mode == "damaged")
    assert ("1 problem" in printed.err) == (mode == "damaged")
    assert main(["verify", str(atlas)]) == code
    assert main(["verify", str(atlas), "--set", "a=1"]) == 2


def test_tensorflow_is_started_for_inputs_alone(
    atlas: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(native_stderr, "start_tensorflow", lambda: started.append("tensorflow"))
    assert main(["verify", str(atlas)]) == 0
    assert started == []
    path = tmp_path / "against.yaml"
    path.write_text(json.dumps(config.as_dict()))  # which is YAML, too
    assert main(["verify", str(atlas), "--against", str(path)]) == 0
    assert started == ["tensorflow"]


def test_resuming_makes_a_damaged_block_anew(
    atlas: Path, config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = a_block(atlas)
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    run_in_memory(config, "resume")
    assert path.read_bytes() == data
    assert f"{path} is damaged or no block" in caplog.text
    assert problems(atlas, config) == []


def test_a_manifest_that_was_changed_by_hand_is_damaged(atlas: Path) -> None:
    path = atlas / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threads": 7}))
    assert problems(atlas) == [
        (
            "manifest.json",
            f"{path} is damaged (its checksum is not that of what it says): restore it, or make "
            "the atlas anew with run --overwrite",
        )
    ]


def test_an_atlas_that_failed_over_broken_files_says_so(
    tfrecords: Path, config_at: MakeConfig, tmp_path: Path
) -> None:
    source = config_at(tmp_path / "atlas").as_dict()["source"]
    for path in tfrecords.glob("*.tfrecord"):
        data = path.read_bytes()
        (tmp_path / path.name).write_bytes(data[: -20 if path.name.startswith("data-1") else None])
    source["pattern"] = str(tmp_path / "*.tfrecord")
    with pytest.raises(RunError, match="broken input files: 1, more than"):
        run_in_memory(config_at(tmp_path / "atlas", source=source))
    ((name, what),) = problems(tmp_path / "atlas")
    assert (name, what) == (
        "manifest.json",
        "its status is failed, as more input files are broken (1) than failures.max_broken_files "
        "allows: see broken_files in manifest.json, and accept it with --resume --set "
        "failures.max_broken_files=1",
    )
    accepted = config_at(tmp_path / "atlas", source=source, failures={"max_broken_files": 1})
    assert run_in_memory(accepted, "resume")["status"] == "complete"
    assert not problems(tmp_path / "atlas")


def test_a_failed_atlas_says_so(
    atlas: Path, config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = Config.from_dict({**config.as_dict(), "failures": {"max_fraction": 0.0}})
    with pytest.raises(RunError, match="3 of 40 records failed"):
        run_in_memory(strict, "resume")
    ((name, what),) = problems(atlas)
    assert name == "manifest.json"
    assert what.startswith("its status is failed, as more records failed than")
    assert main(["verify", str(atlas)]) == 3
    assert "1 problem" in capsys.readouterr().err


def test_a_statistic_out_of_range_is_a_problem_not_a_traceback(atlas: Path) -> None:
    def set_entropy(table: pa.Table, _: dict[str, Any]) -> pa.Table:
        index = table.schema.get_field_index("entropy")
        values = pa.array([1.5] * len(table), pa.float32())
        return table.set_column(index, table.schema.field(index), values)

    rewrite(a_block(atlas), set_entropy)
    assert [what for _, what in problems(atlas)] == [
        "its entropy is not within 0 and 1 somewhere: remove it and go on with --resume"
    ]
