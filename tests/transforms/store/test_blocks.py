from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.elements import BlockKey, CommittedBlock, ExplainedBlock, Failure, Portion, Shard
from transforms.errors import RunError
from transforms.storage import LocalStorage
from transforms.store import block_file
from transforms.store.block_file import encode_block, rows_per_group
from transforms.store.blocks import (
    BlockFile,
    UntrustedBlockError,
    commit_block,
    list_blocks,
    list_maps_folder,
    missing_blocks,
    read_committed,
    resumed_blocks,
)
from transforms.store.lease_file import run_folder
from transforms.store.map_format import MapFormat, map_codes

FORMAT = MapFormat(map_shape=(3, 5), codec="uint8", sketch_shape=(2, 2), with_boxes=False)
STORAGE = LocalStorage()
KEYS = ("shape", "dtype", "codec")


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


def write(root: Path, block: ExplainedBlock, fingerprint: str = "print") -> CommittedBlock:
    STORAGE.make_folder(run_folder(str(root), "run"))
    return commit_block(str(root), block, fingerprint, STORAGE, "run")


def test_a_committed_block_reads_back(tmp_path: Path) -> None:
    shard = Shard("/data/a.tfrecord", 10)
    block = make_block(shard, 7, rows=3, last=True)
    committed = write(tmp_path, block)
    (file,) = list_blocks(str(tmp_path), shard, STORAGE)
    assert file.path == str(tmp_path / "maps" / shard.folder / "block-00007.parquet")
    assert file.size == committed.stored_bytes == Path(file.path).stat().st_size
    read = read_committed(file, shard, "print", STORAGE)
    assert read.key == block.key
    assert read.failures == block.failures
    assert read.examples == 3
    assert read.summary.equals(committed.summary)
    assert "map" not in read.summary.column_names
    stored = pq.read_table(file.path)
    np.testing.assert_array_equal(map_codes(stored), map_codes(block.table))


def test_an_empty_block_reads_back(tmp_path: Path) -> None:
    shard = Shard("/data/a.tfrecord", 10)
    block = make_block(shard, 0, rows=0, last=True)
    write(tmp_path, block)
    (file,) = list_blocks(str(tmp_path), shard, STORAGE)
    read = read_committed(file, shard, "print", STORAGE)
    assert (read.summary.num_rows, read.examples, len(read.failures)) == (0, 0, 1)
    assert map_codes(pq.read_table(file.path)).shape == (0, 3, 5)


def test_the_same_block_is_the_same_bytes() -> None:
    block = make_block(Shard("/data/a.tfrecord", 10), 2, rows=4)
    assert encode_block(block, "print") == encode_block(block, "print")


@pytest.mark.parametrize("sizes", [(10,), (3, 3, 3, 1), (1, 9), (4, 4, 2)])
def test_chunks_of_maps_are_the_same_bytes(
    sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of maps that are long for Parquet, which ends a page at 1 MiB if it may."""
    monkeypatch.setattr(block_file, "ROWS_PER_GROUP", 4)
    block = make_block(Shard("/data/a.tfrecord", 10), 2, rows=10)
    place, field = block.table.schema.get_field_index("map"), block.table.schema.field("map")
    maps = pa.array([bytes([row]) * 900_000 for row in range(10)], pa.binary(900_000))
    whole = block.table.set_column(place, field.with_type(maps.type), maps)
    pieces = zip(np.cumsum([0, *sizes[:-1]]).tolist(), sizes, strict=True)
    table = pa.concat_tables([whole.slice(start, size) for start, size in pieces])
    assert table["map"].num_chunks == len(sizes)
    data = encode_block(dataclasses.replace(block, table=table), "print")
    assert data == encode_block(dataclasses.replace(block, table=whole), "print")
    file = pq.ParquetFile(pa.BufferReader(data))
    groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert groups == [4, 4, 2]
    assert file.read()["map"].combine_chunks() == maps


def test_nothing_temporary_is_listed_or_left(tmp_path: Path) -> None:
    shard = Shard("/data/a.tfrecord", 10)
    for number in (2, 0, 10):
        block = make_block(shard, number, rows=1)
        write(tmp_path, block)
    half = Path(run_folder(str(tmp_path), "run")) / "0123"
    half.write_bytes(b"PAR1")
    (tmp_path / "maps" / shard.folder / "notes.txt").write_text("not a block")
    assert [file.number for file in list_blocks(str(tmp_path), shard, STORAGE)] == [
        0,
        2,
        10,
    ]


def test_shards_of_one_name_have_folders_of_their_own() -> None:
    folders = {Shard(f"{folder}/part-0.parquet", 1).folder for folder in ("/a", "/b", "gs://a")}
    assert len(folders) == 3
    assert all(folder.startswith("part-0-") for folder in folders)


def commit(root: Path, shard: Shard, number: int, fingerprint: str = "print") -> BlockFile:
    block = make_block(shard, number, rows=3, last=number == 1)
    write(root, block, fingerprint)
    return next(file for file in list_blocks(str(root), shard, STORAGE) if file.number == number)


SHARD = Shard("/data/a.tfrecord", 10)


@pytest.mark.parametrize(
    ("shard", "number", "fingerprint", "why"),
    [
        (SHARD, 0, "other", "its fingerprint is print, not other"),
        (Shard("/else/a.tfrecord", 10), 0, "print", "its input file is /data/a.tfrecord, not /el"),
        (Shard("/data/a.tfrecord", 11), 0, "print", "its input file's size is 10, not 11"),
        (SHARD, 5, "print", "its number is 0, not 5"),
    ],
)
def test_a_block_must_be_the_one_that_is_wanted(
    tmp_path: Path, shard: Shard, number: int, fingerprint: str, why: str
) -> None:
    path = commit(tmp_path, SHARD, 0).path
    with pytest.raises(UntrustedBlockError, match=why):
        read_committed(BlockFile(number, path, 1), shard, fingerprint, STORAGE)


def test_a_file_that_is_no_block_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "block-00000.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(UntrustedBlockError, match="is damaged or no block"):
        read_committed(BlockFile(0, str(path), 1), SHARD, "print", STORAGE)


def zero_a_page(data: bytes) -> bytes:
    place = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(8)
    assert place.path_in_schema == "map"
    start = place.data_page_offset + 40
    return data[:start] + bytes(16) + data[start + 16 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data + b"x",
        zero_a_page,
        lambda data: data[:2000] + bytes([data[2000] ^ 1]) + data[2001:],
        lambda data: bytes(len(data)),
    ],
    ids=["empty", "short", "half", "long", "zeroed page of maps", "one bit", "zeroed"],
)
def test_a_damaged_block_is_set_aside_and_made_anew(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    whole, damaged = commit(tmp_path, SHARD, 0), commit(tmp_path, SHARD, 1)
    path = Path(damaged.path)
    changed = damage(path.read_bytes())
    path.write_bytes(changed)
    found = list(resumed_blocks(str(tmp_path), Portion(SHARD), "print", STORAGE, "run"))
    assert [block.key.number for block in found] == [whole.number]
    assert not path.exists()
    aside = tmp_path / ".set-aside" / "maps" / SHARD.folder / path.name
    assert aside.read_bytes() == changed
    assert f"moved to {aside}" in caplog.text


def test_a_block_under_another_blocks_name_does_not_count(tmp_path: Path) -> None:
    first, second = commit(tmp_path, SHARD, 0), commit(tmp_path, SHARD, 1)
    shutil.copy(first.path, second.path)
    found = list(resumed_blocks(str(tmp_path), Portion(SHARD), "print", STORAGE, "run"))
    assert [block.key.number for block in found] == [0]


def test_a_run_that_was_taken_over_sets_nothing_aside(tmp_path: Path) -> None:
    path = Path(commit(tmp_path, SHARD, 0).path)
    path.write_bytes(b"")
    STORAGE.delete(run_folder(str(tmp_path), "run"))
    with pytest.raises(RunError, match="another run has taken over"):
        list(resumed_blocks(str(tmp_path), Portion(SHARD), "print", STORAGE, "run"))
    assert path.exists()


def test_who_may_not_write_leaves_what_it_does_not_trust(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(commit(tmp_path, SHARD, 0).path)
    path.write_bytes(b"")
    assert list(resumed_blocks(str(tmp_path), Portion(SHARD), "print", STORAGE)) == []
    assert path.exists()
    assert "it is not counted" in caplog.text


def test_a_block_of_a_run_that_was_taken_over_is_not_committed(tmp_path: Path) -> None:
    """Stopped after it has looked at its lease: what it writes then arrives nowhere."""
    block = make_block(SHARD, 0, rows=1)
    write(tmp_path, block)
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
    committed = write(tmp_path, make_block(shard, 0, rows=1))
    (file,) = list_blocks(str(tmp_path), shard, STORAGE)
    assert read_committed(file, shard, "print", STORAGE).key == committed.key


def test_the_maps_folder_is_listed_at_any_depth(tmp_path: Path) -> None:
    blocks = [commit(tmp_path, SHARD, number) for number in (0, 1)]
    maps = tmp_path / "maps"
    strangers = [
        maps / SHARD.folder / "block-000000.parquet",  # one zero too many
        maps / SHARD.folder / "deeper" / "block-00000.parquet",
        maps / "block-00000.parquet",
        maps / "europe" / "berlin.geojson",
    ]
    for path in strangers:
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    found = list_maps_folder(str(tmp_path), [SHARD], STORAGE)
    assert list(found.blocks[SHARD.folder]) == blocks
    assert sorted(found.strangers) == sorted(map(str, strangers))


def test_missing_blocks_are_those_up_to_the_last() -> None:
    def keys(*numbers: int, last: int | None = None) -> list[BlockKey]:
        return [BlockKey(SHARD, n, 4 * n, 4, last=n == last) for n in numbers]

    assert missing_blocks(keys(0, 1, 2, last=2)) == []
    assert missing_blocks(keys(0, 2, last=2)) == [1]
    assert missing_blocks(keys(0, 1)) == [2]
    assert missing_blocks([]) == [0]


def test_tensors_of_another_shape_are_refused() -> None:
    block = make_block(Shard("/data/a.tfrecord", 10), 0, rows=2)
    columns = {name: block.table[name].combine_chunks() for name in block.table.column_names}
    columns["map"] = np.zeros((2, 5, 3), np.uint8)
    with pytest.raises(ValueError, match=r"expected maps of \(3, 5\), not \(5, 3\)"):
        FORMAT.table(columns)


@pytest.mark.parametrize(
    ("shape", "rows"), [((224, 224), 64), ((64, 64), 784), ((448, 448, 3), 64), ((10,), 321_126)]
)
def test_row_groups_hold_about_the_same_number_of_bytes(shape: tuple[int, ...], rows: int) -> None:
    assert rows_per_group(math.prod(shape)) == rows


@pytest.mark.parametrize("codec", ["uint8", "float16", "float32"])
def test_a_map_is_bytes_that_its_field_describes(tmp_path: Path, codec: str) -> None:
    stored = dataclasses.replace(FORMAT, codec=codec)
    codes = np.arange(2 * 15).reshape(2, 3, 5).astype(codec)
    table = pa.table({"map": stored._codes(codes)}, pa.schema([stored.map_field]))
    pq.write_table(table, tmp_path / "maps.parquet")
    read = pq.read_table(tmp_path / "maps.parquet")
    described = {name: read.schema.field("map").metadata[name.encode()] for name in KEYS}
    shape, dtype, found = (json.loads(described[name]) for name in KEYS)
    assert (shape, dtype, found) == ([3, 5], codec, codec)
    one = read["map"][1].as_py()
    np.testing.assert_array_equal(np.frombuffer(one, dtype).reshape(shape), codes[1])
    np.testing.assert_array_equal(map_codes(read.slice(1)), codes[1:])
