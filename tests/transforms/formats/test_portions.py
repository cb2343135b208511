"""Files read in portions give the blocks of files read whole."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from accounts import account_of

from transforms.elements import Block, Portion, Shard
from transforms.errors import ConfigurationError, RunError
from transforms.extents import ShardAccount, ShardEnd
from transforms.formats.features import Features
from transforms.formats.portions import PORTION_BYTES, plan_portions, unsplit_warning
from transforms.formats.reader import read_blocks
from transforms.formats.source import InputSpec, SourceSpec
from transforms.formats.tfrecord.framing import FRAMING_BYTES, masked_crc
from transforms.formats.tfrecord.index import index_path, read_block_offsets, write_index
from transforms.storage import LocalStorage

RECORDS = 50
BLOCK_SIZE = 4
STORAGE = LocalStorage()
INPUTS = InputSpec(kind="tensor", shape=(3,), dtype="float32", resize="none", scale="none")


def spec(kind: str) -> SourceSpec:
    features = Features(id="id", input="x", label="label")
    return SourceSpec(format=kind, features=features)  # type: ignore[arg-type]


def rows() -> list[dict[str, object]]:
    values = np.random.default_rng(0).normal(size=(RECORDS, 3)).astype(np.float32)
    return [{"id": f"e{i}", "x": values[i].tolist(), "label": i % 3} for i in range(RECORDS)]


def write_tfrecord(path: Path) -> Shard:
    from tensorflow.core.example import example_pb2

    with path.open("wb") as file:
        for row in rows():
            example = example_pb2.Example()
            feature = example.features.feature
            feature["id"].bytes_list.value.append(str(row["id"]).encode())
            feature["x"].float_list.value.extend(row["x"])
            feature["label"].int64_list.value.append(row["label"])
            payload = example.SerializeToString()
            length = struct.pack("<Q", len(payload))
            file.write(length + struct.pack("<I", masked_crc(length)))
            file.write(payload + struct.pack("<I", masked_crc(payload)))
    return Shard(str(path), path.stat().st_size)


def write_parquet(path: Path, group_rows: int = 7) -> Shard:
    pq.write_table(pa.Table.from_pylist(rows()), path, row_group_size=group_rows)
    return Shard(str(path), path.stat().st_size)


@pytest.fixture
def tfrecord(tmp_path: Path) -> Shard:
    shard = write_tfrecord(tmp_path / "data.tfrecord")
    assert write_index(shard, STORAGE) == RECORDS
    return shard


def described(block: Block) -> tuple[object, ...]:
    examples = block.examples
    inputs = [np.asarray(each).tobytes() for each in examples.inputs]
    return (
        block.key,
        examples.ids,
        examples.records.tolist(),
        examples.labels.tolist(),
        inputs,
        block.failures,
    )


def read(portion: Portion | Shard, kind: str, skip: tuple[int, ...] = ()) -> list[Block]:
    return list(read_blocks(portion, spec(kind), INPUTS, BLOCK_SIZE, STORAGE, skip))


def plan(shard: Shard, kind: str, portion_bytes: int) -> tuple[Portion, ...]:
    return plan_portions([shard], spec(kind), BLOCK_SIZE, STORAGE, portion_bytes)


@pytest.mark.parametrize("portion_bytes", [1, 200, 1000])
@pytest.mark.parametrize("kind", ["tfrecord", "parquet"])
def test_portions_have_the_blocks_of_the_whole(
    kind: str, portion_bytes: int, tfrecord: Shard, tmp_path: Path
) -> None:
    shard = tfrecord if kind == "tfrecord" else write_parquet(tmp_path / "data.parquet")
    portions = plan(shard, kind, portion_bytes)
    assert len(portions) > 2
    assert portions[-1].stop_block is None
    whole = [described(block) for block in read(shard, kind)]
    parts = [described(block) for portion in portions for block in read(portion, kind)]
    assert parts == whole
    assert [block.key.last for block in read(shard, kind)] == [False] * 12 + [True]
    skipped = [described(block) for portion in portions for block in read(portion, kind, (0, 5))]
    assert skipped == [each for number, each in enumerate(whole) if number not in (0, 5)]


def test_parquet_is_cut_where_row_groups_begin(tmp_path: Path) -> None:
    portions = plan(write_parquet(tmp_path / "data.parquet", 20), "parquet", 1)
    assert [(p.first_block, p.stop_block) for p in portions] == [(0, 5), (5, 10), (10, None)]
    portions = plan(write_parquet(tmp_path / "odd.parquet", 22), "parquet", 1)
    assert [(p.first_block, p.stop_block) for p in portions] == [(0, 6), (6, 11), (11, None)]


def test_a_portion_reads_only_its_part_of_a_file(tfrecord: Shard) -> None:
    (_, portion, *_) = plan(tfrecord, "tfrecord", 1000)
    data = bytearray(Path(tfrecord.path).read_bytes())
    data[: portion.offset] = bytes(portion.offset)
    Path(tfrecord.path).write_bytes(data)
    blocks = read(portion, "tfrecord")
    assert blocks[0].key.first_record == portion.first_block * BLOCK_SIZE
    assert not any(block.failures for block in blocks)


def test_small_files_and_those_without_an_index_stay_whole(tmp_path: Path) -> None:
    shard = write_tfrecord(tmp_path / "data.tfrecord")
    assert plan(shard, "tfrecord", 1) == (Portion(shard),)
    write_index(shard, STORAGE)
    assert plan(shard, "tfrecord", shard.size) == (Portion(shard),)
    garbage = tmp_path / "garbage.parquet"
    garbage.write_bytes(b"x" * 100)
    shard = Shard(str(garbage), 100)
    assert plan(shard, "parquet", 1) == (Portion(shard),)


def test_the_index_is_tfrecord2idx_s(tfrecord: Shard, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.idx"
    # In a process of its own: beside TensorFlow the package cannot be imported.
    command = [sys.executable, "-m", "tfrecord.tools.tfrecord2idx", tfrecord.path, str(theirs)]
    subprocess.run(command, check=True)  # noqa: S603
    assert Path(index_path(tfrecord.path)).read_text() == theirs.read_text()


def test_an_index_tells_where_each_record_begins(tfrecord: Shard) -> None:
    lines = Path(index_path(tfrecord.path)).read_text().splitlines()
    pairs = [tuple(map(int, line.split())) for line in lines]
    data = Path(tfrecord.path).read_bytes()
    assert len(pairs) == RECORDS
    assert sum(length for _, length in pairs) == len(data)
    for offset, length in pairs:
        assert struct.unpack_from("<Q", data, offset)[0] + FRAMING_BYTES == length
    assert read_block_offsets(tfrecord, 20, STORAGE) == [pairs[i][0] for i in (0, 20, 40)]


def test_a_stale_index_is_refused(tfrecord: Shard) -> None:
    path = Path(tfrecord.path)
    sound = path.read_bytes()
    longer = Shard(tfrecord.path, tfrecord.size + 1)
    with pytest.raises(
        ConfigurationError, match=r"data\.tfrecord\.idx does not fit .*it ends at byte"
    ):
        plan(longer, "tfrecord", 1)
    path.write_bytes(sound[3:] + sound[:3])  # other records, of the same size
    with pytest.raises(ConfigurationError, match=r"does not fit .*no record begins at byte"):
        plan(tfrecord, "tfrecord", 1)
    Path(index_path(tfrecord.path)).write_text("0 20\n30 5\n")
    with pytest.raises(ConfigurationError, match="record 1 should begin at byte 20"):
        plan(tfrecord, "tfrecord", 1)
    Path(index_path(tfrecord.path)).write_text("0 20\nnonsense\n")
    with pytest.raises(ConfigurationError, match="line 2 is not an offset and a length"):
        plan(tfrecord, "tfrecord", 1)


def test_what_is_compressed_or_damaged_is_not_indexed(tmp_path: Path) -> None:
    import gzip

    shard = write_tfrecord(tmp_path / "data.tfrecord")
    data = Path(shard.path).read_bytes()
    for name, wrong, message in (
        ("a.gz", gzip.compress(data), "is compressed"),
        ("cut", data[:-1], "cannot be indexed, as the file ends in record 49"),
        ("flipped", data[:-1] + bytes([data[-1] ^ 1]), "cannot be indexed, as the .* checksum"),
    ):
        path = tmp_path / name
        path.write_bytes(wrong)
        with pytest.raises(ConfigurationError, match=message):
            write_index(Shard(str(path), len(wrong)), STORAGE)
        assert not Path(index_path(str(path))).exists()


def damage_record(shard: Shard, record: int, byte: int = 0) -> int:
    """Flips a bit of a record; returns how many bytes the record takes."""
    offsets = read_block_offsets(shard, 1, STORAGE)
    assert offsets is not None
    data = bytearray(Path(shard.path).read_bytes())
    data[offsets[record] + byte] ^= 1
    Path(shard.path).write_bytes(data)
    return offsets[record + 1] - offsets[record]


@pytest.mark.parametrize("in_portions", [False, True])
def test_a_lost_length_in_an_indexed_file_costs_its_record_alone(
    in_portions: bool, tfrecord: Shard
) -> None:
    portions = plan(tfrecord, "tfrecord", 1000) if in_portions else (Portion(tfrecord),)
    size = damage_record(tfrecord, 6)
    blocks = [block for portion in portions for block in read(portion, "tfrecord")]
    (failure,) = [failure for block in blocks for failure in block.failures]
    assert (failure.record, failure.error) == (6, "LostFraming")
    assert failure.message == (
        f"the length of record 6 is damaged; its index has it take {size} bytes"
    )
    assert [block.key.number for block in blocks] == list(range(13))
    assert [block.key.records for block in blocks] == [4] * 12 + [2]
    assert [block.key.last for block in blocks] == [False] * 12 + [True]
    account = account_of(blocks)
    assert (account.failed, account.unreadable, account.gaps) == (size, 0, 0)
    assert account.imbalance is None


@pytest.mark.parametrize("kind", ["tfrecord", "parquet"])
def test_portions_account_for_the_whole_file(kind: str, tfrecord: Shard, tmp_path: Path) -> None:
    shard = tfrecord if kind == "tfrecord" else write_parquet(tmp_path / "data.parquet")
    portions = plan(shard, kind, 1000)
    account = account_of([block for portion in portions for block in read(portion, kind)])
    whole = shard.size if kind == "tfrecord" else RECORDS
    assert account == ShardAccount(explained=whole, records=RECORDS, end=ShardEnd(whole))


def test_a_portion_whose_index_is_gone_or_of_another_file_ends_the_run(tfrecord: Shard) -> None:
    portion = plan(tfrecord, "tfrecord", 1000)[0]
    damage_record(tfrecord, 6)
    damage_record(tfrecord, 7)
    Path(index_path(tfrecord.path)).unlink()
    with pytest.raises(RunError, match=r"data.tfrecord.idx does not fit .* records from byte 0 to"):
        read(portion, "tfrecord")


def test_a_file_cut_at_a_record_is_told_by_its_index(tfrecord: Shard) -> None:
    offsets = read_block_offsets(tfrecord, 1, STORAGE)
    assert offsets is not None
    Path(tfrecord.path).write_bytes(Path(tfrecord.path).read_bytes()[: offsets[40]])
    blocks = read(Shard(tfrecord.path, offsets[40]), "tfrecord")
    end = blocks[-1].end
    assert end is not None
    assert end.whole == offsets[40]
    assert f"ends at byte {tfrecord.size}, the file at {offsets[40]}): make it anew" in (
        end.broken or ""
    )


def test_a_parquet_file_that_is_unreadable_in_a_later_portion_ends_the_run(tmp_path: Path) -> None:
    shard = write_parquet(tmp_path / "data.parquet")
    portion = plan(shard, "parquet", 1)[-1]
    data = Path(shard.path).read_bytes()
    Path(shard.path).write_bytes(data[:-8] + bytes(8))
    with pytest.raises(RunError, match=r"data.parquet cannot be read any more: the Parquet file"):
        read(portion, "parquet")


def test_big_files_that_stay_whole_are_named() -> None:
    big, small = Shard("/big", 3 * PORTION_BYTES), Shard("/small", 5)
    (warning,) = unsplit_warning([Portion(big), Portion(small)], spec("tfrecord"))
    assert "/big" in warning
    assert "saliency-atlas index" in warning
    assert unsplit_warning([Portion(big, 0, 4), Portion(big, 4, None, 9)], spec("tfrecord")) == []
    assert unsplit_warning([Portion(big)], spec("parquet")) == []
