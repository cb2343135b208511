from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.elements import BlockKey, CommittedBlock, ExplainedBlock, Failure, Shard
from transforms.errors import RunError
from transforms.storage import LocalStorage
from transforms.store.block_file import encode_block, rows_per_group
from transforms.store.blocks import (
    commit_block,
    list_all_blocks,
    list_blocks,
    read_committed,
)
from transforms.store.lease_file import run_folder
from transforms.store.map_format import MapFormat, tensor_values

FORMAT = MapFormat(map_shape=(3, 5), codec="uint8", sketch_shape=(2, 2), with_boxes=False)
STORAGE = LocalStorage()


def make_block(shard: Shard, number: int, rows: int, *, last: bool = False) -> ExplainedBlock:
    generator = np.random.default_rng(number)
    columns = {
        "example_id": pa.array([f"{number}/{row}" for row in range(rows)], pa.string()),
        "shard": pa.array([shard.name] * rows, pa.string()),
        "record": np.arange(rows) + number * 4,
        "label": pa.array([None] * rows, pa.int32()),
        "target": np.zeros(rows, np.int32),
        "predicted": np.ones(rows, np.int32),
        "score": np.ones(rows, np.float32),
        "predicted_score": np.ones(rows, np.float32),
        "map": generator.integers(0, 256, (rows, 3, 5), np.uint8),
        "map_scale": np.ones(rows, np.float32),
        "sketch": generator.integers(0, 9, (rows, 2, 2), np.int32),
        **{name: pa.array([0.5] * rows, pa.float32()) for name in FORMAT.statistic_names},
    }
    failure = Failure(shard.name, number * 4 + rows, None, "read", "CorruptRecord", "damaged")
    key = BlockKey(shard, number, number * 4, rows + 1, last)
    return ExplainedBlock(key, FORMAT.table(columns), rows, (failure,), started=0.0)


def commit(root: Path, block: ExplainedBlock, fingerprint: str = "print") -> CommittedBlock:
    STORAGE.make_folder(run_folder(str(root), "run"))
    return commit_block(str(root), block, fingerprint, STORAGE, "run")


def test_a_committed_block_reads_back(tmp_path: Path) -> None:
    shard = Shard("/data/a.tfrecord", 10)
    block = make_block(shard, 7, rows=3, last=True)
    committed = commit(tmp_path, block)
    (file,) = list_blocks(str(tmp_path), shard, STORAGE)
    assert file.path == str(tmp_path / "maps" / shard.folder / "block-00007.parquet")
    assert file.size == committed.stored_bytes == Path(file.path).stat().st_size
    read = read_committed(file.path, file.size, "print", STORAGE)
    assert read.key == block.key
    assert read.failures == block.failures
    assert read.examples == 3
    assert read.summary.equals(committed.summary)
    assert "map" not in read.summary.column_names
    stored = pq.read_table(file.path)
    np.testing.assert_array_equal(tensor_values(stored["map"]), tensor_values(block.table["map"]))


def test_an_empty_block_reads_back(tmp_path: Path) -> None:
    block = make_block(Shard("/data/a.tfrecord", 10), 0, rows=0, last=True)
    commit(tmp_path, block)
    (file,) = list_all_blocks(str(tmp_path), STORAGE)
    read = read_committed(file.path, file.size, "print", STORAGE)
    assert (read.summary.num_rows, read.examples, len(read.failures)) == (0, 0, 1)
    assert tensor_values(pq.read_table(file.path)["map"]).shape == (0, 3, 5)


def test_the_same_block_is_the_same_bytes() -> None:
    block = make_block(Shard("/data/a.tfrecord", 10), 2, rows=4)
    assert encode_block(block, "print") == encode_block(block, "print")


def test_nothing_temporary_is_listed_or_left(tmp_path: Path) -> None:
    shard = Shard("/data/a.tfrecord", 10)
    for number in (2, 0, 10):
        commit(tmp_path, make_block(shard, number, rows=1))
    half = Path(run_folder(str(tmp_path), "run")) / "0123"
    half.write_bytes(b"PAR1")
    (tmp_path / "maps" / shard.folder / "notes.txt").write_text("not a block")
    assert [file.number for file in list_blocks(str(tmp_path), shard, STORAGE)] == [
        0,
        2,
        10,
    ]


def test_a_block_of_a_run_that_was_taken_over_is_not_committed(tmp_path: Path) -> None:
    """Stopped after it has looked at its lease: what it writes then arrives nowhere."""
    block = make_block(Shard("/data/a.tfrecord", 10), 0, rows=1)
    commit(tmp_path, block)
    before = {path: path.read_bytes() for path in tmp_path.glob("maps/*/*")}
    STORAGE.delete(run_folder(str(tmp_path), "run"))
    with pytest.raises(RunError, match=r"another run has taken over .*/run is gone, and nothing"):
        commit_block(str(tmp_path), block, "another", STORAGE, "run")
    assert {path: path.read_bytes() for path in tmp_path.glob("maps/*/*")} == before


def test_a_shard_whose_name_is_not_utf8_has_a_folder_and_a_name(tmp_path: Path) -> None:
    shard = Shard("/data/caf\udce9.tfrecord", 10)
    assert shard.name == r"caf\xe9.tfrecord"
    assert shard.folder.startswith("caf\N{REPLACEMENT CHARACTER}-")
    assert shard.folder != Shard("/data/caf\udce8.tfrecord", 10).folder
    committed = commit(tmp_path, make_block(shard, 0, rows=1))
    (file,) = list_all_blocks(str(tmp_path), STORAGE)
    assert read_committed(file.path, file.size, "print", STORAGE).key == committed.key
    assert committed.key.shard == shard


def test_shards_of_one_name_have_folders_of_their_own() -> None:
    folders = {Shard(f"{folder}/part-0.parquet", 1).folder for folder in ("/a", "/b", "gs://a")}
    assert len(folders) == 3
    assert all(folder.startswith("part-0-") for folder in folders)


def test_refuses_a_block_of_another_run(tmp_path: Path) -> None:
    block = make_block(Shard("/data/a.tfrecord", 10), 0, rows=1)
    commit(tmp_path, block, "one" * 8)
    (file,) = list_all_blocks(str(tmp_path), STORAGE)
    with pytest.raises(RunError, match="made by another model or configuration"):
        read_committed(file.path, file.size, "two" * 8, STORAGE)


def test_refuses_a_file_that_is_no_block(tmp_path: Path) -> None:
    path = tmp_path / "block-00000.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(RunError, match=r"block-00000\.parquet is not a block of a saliency atlas"):
        read_committed(str(path), 1, "print", STORAGE)


def test_tensors_of_another_shape_are_refused() -> None:
    block = make_block(Shard("/data/a.tfrecord", 10), 0, rows=2)
    columns = {name: block.table[name].combine_chunks() for name in block.table.column_names}
    columns["map"] = np.zeros((2, 5, 3), np.uint8)
    with pytest.raises(ValueError, match=r"expected tensors of \(3, 5\), not \(5, 3\)"):
        FORMAT.table(columns)


@pytest.mark.parametrize(
    ("shape", "rows"), [((224, 224), 64), ((64, 64), 784), ((448, 448, 3), 64), ((10,), 321_126)]
)
def test_row_groups_hold_about_the_same_number_of_values(shape: tuple[int, ...], rows: int) -> None:
    assert rows_per_group(pa.fixed_shape_tensor(pa.uint8(), shape)) == rows
