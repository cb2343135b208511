"""What is lost of a dataset is reported, and what its blocks account for adds up to its files."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from accounts import account_of

from transforms.elements import Block, Failure, Shard
from transforms.errors import RunError
from transforms.extents import Extent, ShardAccount, ShardEnd
from transforms.formats.features import Features
from transforms.formats.reader import read_blocks
from transforms.formats.source import MAX_BLOCK_BYTES, Format, InputSpec, SourceSpec
from transforms.formats.tfrecord.framing import masked_crc
from transforms.storage import LocalStorage

RECORDS = 200
INPUTS = InputSpec("image", (8, 8, 3))


def example(number: int) -> bytes:
    from tensorflow.core.example import example_pb2

    message = example_pb2.Example()
    message.features.feature["image"].bytes_list.value.append(b"x" * 300)
    message.features.feature["label"].int64_list.value.append(number % 3)
    return bytes(message.SerializeToString(deterministic=True))


def frame(payload: bytes) -> bytes:
    header = struct.pack("<Q", len(payload))
    header += struct.pack("<I", masked_crc(header))
    return header + payload + struct.pack("<I", masked_crc(payload))


FRAMES = [frame(example(number)) for number in range(RECORDS)]
SHARD = b"".join(FRAMES)
SIZE = len(FRAMES[0])  # of each of them


def parquet_file(rows: int = RECORDS) -> bytes:
    sink = io.BytesIO()
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])
    table = pa.table({"image": [b"x"] * rows, "label": [0] * rows}, schema)
    pq.write_table(table, sink, row_group_size=30)
    return sink.getvalue()


def read(
    data: bytes, folder: Path, format_: Format = "tfrecord", max_block_bytes: int = MAX_BLOCK_BYTES
) -> list[Block]:
    path = folder / "shard"
    path.write_bytes(data)
    spec = SourceSpec(format_, Features("image", label="label"), max_block_bytes=max_block_bytes)
    return list(read_blocks(Shard(str(path), len(data)), spec, INPUTS, 64, LocalStorage()))


def test_a_flipped_length_in_each_of_ten_shards_costs_ten_records(tmp_path: Path) -> None:
    examples = failures = estimated = 0
    for bit in range(10):
        data = bytearray(SHARD)
        data[101 * SIZE] ^= 1 << bit % 8
        blocks = read(bytes(data), tmp_path)
        examples += sum(len(block.examples) for block in blocks)
        failures += sum(len(block.failures) for block in blocks)
        account = account_of(blocks)
        estimated += account.estimated_records
        assert account == ShardAccount(
            explained=199 * SIZE,
            unreadable=SIZE,
            gaps=1,
            records=RECORDS,
            end=ShardEnd(len(SHARD)),
        )
        assert account.imbalance is None
    assert (examples, failures, estimated) == (1990, 10, 10)  # of 2,000


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zlib.compress])
def test_a_shard_that_is_cut_is_broken(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    packed = pack(SHARD)
    account = account_of(read(packed[: len(packed) * 6 // 10 + 20], tmp_path))
    assert account.imbalance is None
    assert account.end is not None
    assert account.end.broken is not None
    expected = "the file ends in record 120, within its" if pack is bytes else "end mark"
    assert expected in account.end.broken


def test_an_empty_file_is_broken_and_one_without_rows_is_not(tmp_path: Path) -> None:
    (block,) = read(b"", tmp_path)
    assert block.end == ShardEnd(0, "it is empty")
    (block,) = read(gzip.compress(b""), tmp_path)
    assert block.end == ShardEnd(0)
    (block,) = read(parquet_file(0), tmp_path, "parquet")
    assert block.end == ShardEnd(0)


def test_a_file_without_records_is_broken(tmp_path: Path) -> None:
    account = account_of(read(bytes(5000), tmp_path))
    assert account == ShardAccount(
        unreadable=5000,
        gaps=1,
        records=1,
        end=ShardEnd(5000, "no record can be made out in it"),
    )
    assert account.estimated_records == 1


def test_a_parquet_file_with_a_bad_footer_is_broken(tmp_path: Path) -> None:
    data = parquet_file()
    (block,) = read(data[:-8] + b"\xff" * 4 + data[-4:], tmp_path, "parquet")
    assert len(block.failures) == 1
    assert block.end is not None
    assert block.end.whole is None
    assert block.end.broken == block.failures[0].message
    assert account_of([block]).imbalance is None


def test_rows_of_parquet_add_up_to_the_footer(tmp_path: Path) -> None:
    data = bytearray(parquet_file())
    chunk = pq.read_metadata(io.BytesIO(data)).row_group(2).column(0)
    start = chunk.dictionary_page_offset
    data[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    account = account_of(read(bytes(data), tmp_path, "parquet"))
    assert account == ShardAccount(explained=170, failed=30, records=200, end=ShardEnd(200))


def test_bytes_of_records_that_fail_later_are_failed(tmp_path: Path) -> None:
    frames = list(FRAMES)
    frames[3] = frame(b"no example")
    blocks = read(b"".join(frames), tmp_path)
    assert blocks[0].extent(blocks[0].failures) == Extent(63 * SIZE, 26)
    late = [*blocks[0].failures, *(failure_of(blocks[0], record) for record in (5, 7))]
    assert blocks[0].extent(late) == Extent(61 * SIZE, 26 + 2 * SIZE)


def failure_of(block: Block, record: int) -> Failure:
    return dataclasses.replace(block.failures[0], record=record, stage="explain")


def test_extents_survive_being_stored() -> None:
    for end in (None, ShardEnd(0), ShardEnd(None, "why")):
        extent = Extent(1, 2, 3, 4, end)
        assert Extent.from_dict(json.loads(json.dumps(extent.as_dict()))) == extent


def test_an_imbalance_is_described() -> None:
    account = ShardAccount(explained=5, failed=3, unreadable=1, records=3, end=ShardEnd(10))
    assert account.imbalance == "5 explained + 3 failed + 1 unreadable = 9, where the file has 10"
    assert ShardAccount().imbalance == "its last block is missing"


class ChangingStorage(LocalStorage):
    """Changes a file after so many reads of it."""

    def __init__(self, reads: int, data: bytes) -> None:
        self._reads = reads
        self._data = data

    def open(self, path: str) -> BinaryIO:
        changing, file = self, open(path, "rb", buffering=0)  # noqa: SIM115 - the reader closes it

        class Changing(io.BufferedReader):
            def read(self, size: int | None = -1) -> bytes:
                changing._reads -= 1
                if changing._reads == 0:
                    Path(path).write_bytes(changing._data)  # in place, as a truncation is
                return super().read(min(size or 0, 20_000))

        return Changing(file)


CHANGES: dict[str, bytes] = {
    "truncated at a record": SHARD[: 150 * SIZE],
    "truncated within one": SHARD[: 150 * SIZE + 9],
    "emptied": b"",
    "appended to": SHARD + FRAMES[0],
}


@pytest.mark.parametrize("reads", [1, 2, 3])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_ends_the_run(
    change: str, reads: int, tmp_path: Path
) -> None:
    path = tmp_path / "shard"
    path.write_bytes(SHARD)
    shard = Shard(str(path), len(SHARD))
    source = SourceSpec("tfrecord", Features("image", label="label"))
    storage = ChangingStorage(reads, CHANGES[change])
    blocks: list[Block] = []
    message = f"changed while it was read: it was listed with {len(SHARD)} bytes and has "
    with pytest.raises(RunError, match=f"shard {message}{len(CHANGES[change])} now"):
        blocks.extend(read_blocks(shard, source, INPUTS, 64, storage))  # those before the change
    assert all(block.failures == () and block.end is None for block in blocks)


@pytest.mark.parametrize("format_", ["tfrecord", "parquet"])
def test_a_file_that_changed_after_it_was_listed_ends_the_run(
    format_: Format, tmp_path: Path
) -> None:
    path = tmp_path / "shard"
    path.write_bytes(SHARD if format_ == "tfrecord" else parquet_file())
    source = SourceSpec(format_, Features("image", label="label"))
    shard = Shard(str(path), path.stat().st_size - 1)
    with pytest.raises(RunError, match="changed while it was read"):
        next(read_blocks(shard, source, INPUTS, 64, LocalStorage()))


@pytest.mark.parametrize("format_", ["tfrecord", "parquet"])
def test_a_block_that_holds_too_much_ends_the_run(format_: Format, tmp_path: Path) -> None:
    data = SHARD if format_ == "tfrecord" else parquet_file()
    size = len(example(0)) if format_ == "tfrecord" else 1 + 8
    assert len(read(data, tmp_path, format_, max_block_bytes=64 * size)) == 4
    with pytest.raises(RunError) as caught:
        read(data, tmp_path, format_, max_block_bytes=64 * size - 1)
    assert str(caught.value) == (
        f"block 0 of {tmp_path / 'shard'} holds more than limits.max_block_bytes "
        f"({64 * size - 1}) in 64 records or fewer: make output.block_size smaller, or "
        "limits.max_block_bytes larger where memory allows"
    )
