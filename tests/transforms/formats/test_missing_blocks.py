"""What an atlas lacks is read from the file it was begun with, or not at all."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.elements import BlockKey, CommittedBlock, Portion, Shard
from transforms.errors import RunError
from transforms.formats.features import Features
from transforms.formats.missing_blocks import DoneBlocks, read_missing_blocks
from transforms.formats.reader import read_blocks
from transforms.formats.source import InputSpec, SourceSpec
from transforms.storage import LocalStorage

SOURCE = SourceSpec("parquet", Features(input="x", id="id"))
INPUTS = InputSpec("tensor", (2,))
SIZE, STORAGE = 8, LocalStorage()


def write(path: Path, order: list[int]) -> Shard:
    rows = pa.table({"id": [f"id-{n:03d}" for n in order], "x": [[n, n + 0.5] for n in order]})
    pq.write_table(rows, path, compression="none", use_dictionary=False)
    return Shard(str(path), path.stat().st_size)


def committed(shard: Shard) -> list[CommittedBlock]:
    return [
        CommittedBlock(
            block.key, pa.table({}), 8, (), 1, 1, None, input_digest=block.examples.digest()
        )
        for block in read_blocks(shard, SOURCE, INPUTS, SIZE, STORAGE)
    ]


def missing(shard: Shard, done: list[CommittedBlock], portion: Portion | None = None) -> list[int]:
    held = DoneBlocks()
    for block in done:
        held.add(block)
    found = read_missing_blocks(portion or Portion(shard), SOURCE, INPUTS, SIZE, STORAGE, held)
    return [block.key.number for block in found]


@pytest.mark.parametrize("gone", [[0], [1], [3], [0, 2], [1, 2, 3], [0, 1, 2, 3]])
def test_what_is_not_done_is_read(tmp_path: Path, gone: list[int]) -> None:
    shard = write(tmp_path / "a.parquet", list(range(30)))
    blocks = committed(shard)
    assert missing(shard, [block for block in blocks if block.key.number not in gone]) == gone


def test_nothing_is_opened_where_nothing_is_missing(tmp_path: Path) -> None:
    shard = write(tmp_path / "a.parquet", list(range(30)))
    blocks = committed(shard)
    (tmp_path / "a.parquet").unlink()
    assert missing(shard, blocks) == []
    assert missing(shard, blocks[1:3], Portion(shard, 1, 3)) == []


@pytest.mark.parametrize("gone", [0, 1, 2, 3])
def test_a_file_of_the_same_size_in_another_order_is_refused(tmp_path: Path, gone: int) -> None:
    shard = write(tmp_path / "a.parquet", list(range(30)))
    blocks = [block for block in committed(shard) if block.key.number != gone]
    changed = write(tmp_path / "a.parquet", [*range(29, -1, -1)])
    assert changed == shard
    with pytest.raises(RunError, match=r"a\.parquet has been changed: block \d of it has other"):
        missing(shard, blocks)


def test_a_block_whose_examples_are_unknown_is_no_witness(tmp_path: Path) -> None:
    shard = write(tmp_path / "a.parquet", list(range(30)))
    key = BlockKey(shard, 0, 0, 8, last=False)
    assert missing(shard, [CommittedBlock(key, pa.table({}), 8, (), 1, 1, None)]) == [1, 2, 3]
