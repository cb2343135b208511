"""Samples against their definition: the smallest hashes of all ids, sorted."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from transforms.elements import Block, Shard
from transforms.extents import ShardAccount
from transforms.formats import drawing
from transforms.formats.drawing import draw_sample
from transforms.formats.features import Features
from transforms.formats.portions import plan_portions
from transforms.formats.reader import read_blocks
from transforms.formats.sample import DrawnSample, Sample
from transforms.formats.source import InputSpec, SourceSpec
from transforms.storage import LocalStorage

SIZES = (23, 1, 0, 17)
BLOCK = 5
SPEC = InputSpec("tensor", (1,))
STORAGE = LocalStorage()
KINDS = ("tfrecord", "gzip", "parquet")


def name_of(shard: int, record: int) -> str:
    """Ids, of which some are the same in several files."""
    return f"id {record}" if record % 4 == 0 else f"id {shard}/{record}"


def write(folder: Path, kind: str, sizes: Sequence[int] = SIZES) -> list[Shard]:
    paths = []
    for number, size in enumerate(sizes):
        rows = [{"x": [float(row)], "id": name_of(number, row)} for row in range(size)]
        path = folder / f"data-{number}"
        if kind == "parquet":
            schema = pa.schema([("x", pa.list_(pa.float32())), ("id", pa.string())])
            pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=4)
        else:
            with tf.io.TFRecordWriter(str(path)) as writer:
                for row in rows:
                    x = tf.train.Feature(float_list=tf.train.FloatList(value=row["x"]))
                    name = tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[str(row["id"]).encode()])
                    )
                    features = tf.train.Features(feature={"x": x, "id": name})
                    writer.write(tf.train.Example(features=features).SerializeToString())
            if kind == "gzip":
                path.write_bytes(gzip.compress(path.read_bytes()))
        paths.append(path)
    return [Shard(str(path), path.stat().st_size) for path in paths]


def source_of(kind: str, given: bool) -> SourceSpec:
    features = Features("x", id="id" if given else None)
    return SourceSpec("parquet" if kind == "parquet" else "tfrecord", features)


def by_definition(
    shards: Sequence[Shard], given: bool, size: int, sizes: Sequence[int] = SIZES
) -> set[tuple[str, int]]:
    """The places of a sample, from a list of all of them."""
    keys = []
    for number, (shard, count) in enumerate(zip(shards, sizes, strict=True)):
        for record in range(count):
            name = name_of(number, record) if given else shard.example_id(record)
            digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
            keys.append((digest, shard.folder, record))
    return {(folder, record) for _, folder, record in sorted(keys)[:size]}


def blocks_of(shards: Sequence[Shard], source: SourceSpec, portion_bytes: int) -> list[Block]:
    portions = plan_portions(shards, source, BLOCK, STORAGE, portion_bytes)
    return [block for each in portions for block in read_blocks(each, source, SPEC, BLOCK, STORAGE)]


def places(blocks: Sequence[Block]) -> set[tuple[str, int]]:
    return {
        (block.key.shard.folder, record)
        for block in blocks
        for record in block.examples.records.tolist()
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("size", [1, 7, 8, 9, 40])
def test_it_is_the_smallest_hashes(kind: str, given: bool, size: int, tmp_path: Path) -> None:
    shards = write(tmp_path, kind)
    source = source_of(kind, given)

    drawn = draw_sample(shards[::-1], source, BLOCK, size, STORAGE)

    assert (drawn.size, drawn.examples) == (size, 41)
    sampled = dataclasses.replace(source, sample=drawn.sample)
    for portion_bytes in (1 << 20, 1):
        blocks = blocks_of(shards, sampled, portion_bytes)
        assert places(blocks) == by_definition(shards, given, size)
        assert not any(block.failures for block in blocks)
        assert sum(len(block.left_out) for block in blocks) == 41 - size
        for shard in shards:
            extents = [block.extent(()) for block in blocks if block.key.shard == shard]
            whole = next(each.end.whole for each in extents if each and each.end)
            assert whole == sum(each.explained + each.left_out for each in extents if each)


@pytest.mark.parametrize("size", [41, 50])
def test_no_more_than_there_are_is_all(size: int, tmp_path: Path) -> None:
    drawn = draw_sample(write(tmp_path, "parquet"), source_of("parquet", True), 5, size, STORAGE)
    assert drawn == DrawnSample(size, 41, None)
    assert str(drawn) == f"all 41 examples, as there are no more than {size}"


def test_few_places_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_SPARE", 0)
    shards = write(tmp_path, "parquet")
    for size in (1, 3, 20):
        drawn = draw_sample(shards, source_of("parquet", True), 1, size, STORAGE)
        monkeypatch.undo()
        assert drawn == draw_sample(shards, source_of("parquet", True), 50, size, STORAGE)
        monkeypatch.setattr(drawing, "_SPARE", 0)


@pytest.mark.parametrize("given", [True, False])
def test_what_cannot_be_read_fails_with_and_without_a_sample(given: bool, tmp_path: Path) -> None:
    shards = write(tmp_path, "tfrecord")
    path = Path(shards[0].path)
    content = bytearray(path.read_bytes())
    size = len(content) // 23
    content[7 * size + 30] ^= 1  # a payload
    content[12 * size + 1] ^= 1  # a length
    path.write_bytes(content)
    Path(shards[3].path).write_bytes(b"\1" * shards[3].size)
    source = source_of("tfrecord", given)
    drawn = draw_sample(shards, source, BLOCK, 6, STORAGE)
    assert drawn.examples == (23 - 2 + 1 if given else 23 + 1 + 1)

    found = {}
    for sample in (None, drawn.sample):
        blocks = blocks_of(shards, dataclasses.replace(source, sample=sample), 1 << 20)
        found[sample] = blocks, [failure for block in blocks for failure in block.failures]

    assert found[None][1] == found[drawn.sample][1]
    assert len(found[None][1]) == 3
    blocks = found[drawn.sample][0]
    assert 3 <= sum(len(block.examples) for block in blocks) <= 6
    for shard in shards:
        account = ShardAccount()
        for block in blocks:
            extent = block.extent(block.failures)
            if block.key.shard == shard and extent is not None:
                account = account.merge(ShardAccount.of(block.key.records, extent))
        assert account.imbalance is None


def test_what_has_no_id_is_a_failure_and_what_is_left_out_is_none(tmp_path: Path) -> None:
    ids = [None, "a", "b", "c", "d"]
    table = pa.table({"x": pa.array([[1.0], None, [1.0], None, [1.0]]), "id": ids})
    pq.write_table(table, tmp_path / "data")
    shard = Shard(str(tmp_path / "data"), (tmp_path / "data").stat().st_size)
    source = source_of("parquet", True)
    order = sorted("abcd", key=lambda each: hashlib.blake2b(each.encode(), digest_size=8).digest())
    for size in range(1, 4):
        drawn = draw_sample([shard], source, BLOCK, size, STORAGE)
        (block,) = blocks_of([shard], dataclasses.replace(source, sample=drawn.sample), 1 << 20)
        kept = set(order[:size])
        assert set(block.examples.ids) == kept & {"b", "d"}
        failed = {failure.example_id for failure in block.failures}
        assert failed == {None} | (kept & {"a", "c"})
        assert {ids[number] for number in block.left_out} == {*"abcd"} - kept


def test_it_travels_as_json() -> None:
    for drawn in (DrawnSample(3, 9, Sample((1 << 64) - 1, "a-é", 7)), DrawnSample(3, 2, None)):
        assert DrawnSample.from_dict(drawn.as_dict()) == drawn
