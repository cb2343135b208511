from __future__ import annotations

import dataclasses
import gzip
import io
import pathlib
import zlib
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transforms.elements import Block, Shard
from transforms.errors import ConfigurationError, RunError
from transforms.extents import Extent, ShardEnd
from transforms.formats.features import Features
from transforms.formats.reader import probe, read_blocks
from transforms.formats.source import Format, InputSpec, SourceSpec
from transforms.storage import LocalStorage

RECORDS = 11
FEATURES = Features("image", id="name", label="y", boxes="bbox")
SPEC = InputSpec("image", (4, 4, 3))


class MemoryStorage(LocalStorage):
    """One file, in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open(self, path: str) -> BinaryIO:  # noqa: ARG002 - there is one
        return io.BytesIO(self._content)


def record(number: int) -> dict[str, Any]:
    return {
        "image": b"image %d" % number,
        "name": f"example {number}",
        "y": number % 3,
        "bbox": [0.0, 0.25, 0.5, 1.0] * (number % 3),
    }


def example(features: dict[str, Any]) -> bytes:
    stored = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[features["image"]])),
        "name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[features["name"].encode()])),
        "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[features["y"]])),
        "bbox": tf.train.Feature(float_list=tf.train.FloatList(value=features["bbox"])),
    }
    message = tf.train.Example(features=tf.train.Features(feature=stored))
    return bytes(message.SerializeToString())


def tfrecord_file(payloads: list[bytes], folder: pathlib.Path) -> bytes:
    path = folder / "shard.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for payload in payloads:
            writer.write(payload)
    return path.read_bytes()


def parquet_file(rows: list[dict[str, Any]], row_group_size: int = 4) -> bytes:
    schema = pa.schema(
        [
            ("image", pa.binary()),
            ("name", pa.string()),
            ("y", pa.int64()),
            ("bbox", pa.list_(pa.float32())),
            ("unused", pa.int64()),
        ]
    )
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, sink, row_group_size=row_group_size)
    return sink.getvalue()


def whole_file(format_: Format, folder: pathlib.Path, records: int = RECORDS) -> bytes:
    rows = [record(number) for number in range(records)]
    if format_ == "parquet":
        return parquet_file(rows)
    return tfrecord_file([example(row) for row in rows], folder)


def read(
    content: bytes, format_: Format, block_size: int = 4, features: Features = FEATURES, **kw: Any
) -> list[Block]:
    shard = Shard("/data/shard", len(content))
    source = SourceSpec(format_, features)
    return list(read_blocks(shard, source, SPEC, block_size, MemoryStorage(content), **kw))


def failures(blocks: list[Block]) -> list[tuple[int | None, str]]:
    return [(failure.record, failure.error) for block in blocks for failure in block.failures]


def records_read(blocks: list[Block]) -> list[int]:
    return [number for block in blocks for number in block.examples.records.tolist()]


def assert_equal_blocks(left: list[Block], right: list[Block]) -> None:
    keys = [
        [dataclasses.replace(block.key, shard=Shard("", 0)) for block in blocks]
        for blocks in (left, right)
    ]
    assert keys[0] == keys[1]
    for one, other in zip(left, right, strict=True):
        assert one.failures == other.failures
        assert one.examples.ids == other.examples.ids
        assert one.examples.inputs == other.examples.inputs
        np.testing.assert_array_equal(one.examples.records, other.examples.records)
        np.testing.assert_array_equal(one.examples.labels, other.examples.labels)
        assert one.examples.boxes is not None
        assert other.examples.boxes is not None
        for boxes, others in zip(one.examples.boxes, other.examples.boxes, strict=True):
            np.testing.assert_array_equal(boxes, others)


@pytest.mark.parametrize("format_", ["tfrecord", "parquet"])
@pytest.mark.parametrize("block_size", [1, 3, 4, 5, 11, 12])
def test_blocks_hold_every_record_in_order(
    format_: Format, block_size: int, tmp_path: pathlib.Path
) -> None:
    blocks = read(whole_file(format_, tmp_path), format_, block_size)
    assert len(blocks) == -(-RECORDS // block_size)
    assert [block.key.last for block in blocks] == [False] * (len(blocks) - 1) + [True]
    for number, block in enumerate(blocks):
        first = number * block_size
        expected = [record(i) for i in range(first, min(first + block_size, RECORDS))]
        assert block.failures == ()
        assert block.key.number == number
        assert block.key.first_record == first
        assert block.key.records == len(expected)
        assert block.examples.records.tolist() == list(range(first, first + len(expected)))
        assert block.examples.ids == tuple(row["name"] for row in expected)
        assert block.examples.inputs == tuple(row["image"] for row in expected)
        assert block.examples.labels.tolist() == [row["y"] for row in expected]
        assert block.examples.boxes is not None
        for boxes, row in zip(block.examples.boxes, expected, strict=True):
            np.testing.assert_array_equal(boxes, np.reshape(row["bbox"], (-1, 4)))


@pytest.mark.parametrize("format_", ["tfrecord", "parquet"])
def test_a_shard_that_ends_with_a_full_block(format_: Format, tmp_path: pathlib.Path) -> None:
    blocks = read(whole_file(format_, tmp_path, records=8), format_)
    assert [(block.key.records, block.key.last) for block in blocks] == [(4, False), (4, True)]


@pytest.mark.parametrize("format_", ["tfrecord", "parquet"])
def test_an_empty_shard_is_one_block_without_records(
    format_: Format, tmp_path: pathlib.Path
) -> None:
    content = whole_file(format_, tmp_path, records=0)
    (block,) = read(content, format_)
    assert (block.key.number, block.key.records, block.key.last) == (0, 0, True)
    assert len(block.examples) == 0
    assert read(content, format_, skip={0}) == []


@given(
    st.sampled_from(["tfrecord", "gzip", "parquet"]), st.integers(1, 6), st.sets(st.integers(0, 11))
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_skipping_changes_nothing_in_the_other_blocks(
    tmp_path: pathlib.Path, kind: str, block_size: int, skip: set[int]
) -> None:
    format_: Format = "parquet" if kind == "parquet" else "tfrecord"
    content = whole_file(format_, tmp_path)
    if kind == "gzip":
        content = gzip.compress(content)
    expected = [
        block for block in read(content, format_, block_size) if block.key.number not in skip
    ]
    assert_equal_blocks(read(content, format_, block_size, skip=skip), expected)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_compressed_shards_read_the_same(pack: Any, tmp_path: pathlib.Path) -> None:
    content = whole_file("tfrecord", tmp_path)
    assert_equal_blocks(read(pack(content), "tfrecord"), read(content, "tfrecord"))


def test_both_formats_read_the_same(tmp_path: pathlib.Path) -> None:
    tfrecords = read(whole_file("tfrecord", tmp_path), "tfrecord")
    assert_equal_blocks(read(whole_file("parquet", tmp_path), "parquet"), tfrecords)


def test_bad_records_cost_one_failure_each(tmp_path: pathlib.Path) -> None:
    payloads = [example(record(number)) for number in range(RECORDS)]
    payloads[5] = b"nonsense"
    payloads[9] = example({**record(9), "y": -1})
    content = bytearray(tfrecord_file(payloads, tmp_path))
    content[content.index(b"image 2")] ^= 1
    blocks = read(bytes(content), "tfrecord")
    assert failures(blocks) == [(2, "CorruptRecord"), (5, "NotAnExample"), (9, "LabelOutOfRange")]
    assert [failure.stage for block in blocks for failure in block.failures] == [
        "read",
        "parse",
        "parse",
    ]
    assert [failure.example_id for block in blocks for failure in block.failures] == [
        None,
        None,
        "example 9",
    ]
    assert records_read(blocks) == [0, 1, 3, 4, 6, 7, 8, 10]
    assert [block.key.records for block in blocks] == [4, 4, 3]


@pytest.mark.parametrize("cut_in", range(RECORDS))
def test_a_cut_file_fails_in_the_block_it_is_cut_in(cut_in: int, tmp_path: pathlib.Path) -> None:
    payloads = [example(record(number)) for number in range(RECORDS)]
    end = len(tfrecord_file(payloads[: cut_in + 1], tmp_path)) - 3
    content = tfrecord_file(payloads, tmp_path)[:end]
    blocks = read(content, "tfrecord")
    assert failures(blocks) == [(cut_in, "TruncatedRecord")]
    assert records_read(blocks) == list(range(cut_in))
    assert blocks[-1].key.number == cut_in // 4
    assert [block.key.last for block in blocks] == [False] * (len(blocks) - 1) + [True]
    for skip in range(3):
        expected = [block for block in blocks if block.key.number != skip]
        assert_equal_blocks(read(content, "tfrecord", skip={skip}), expected)


def test_a_lost_boundary_after_a_full_block_is_a_block_of_its_own(tmp_path: pathlib.Path) -> None:
    content = whole_file("tfrecord", tmp_path, records=4) + b"\0" * 40
    blocks = read(content, "tfrecord")
    assert [(block.key.records, block.key.last) for block in blocks] == [(4, False), (1, True)]
    assert failures(blocks) == [(4, "LostFraming")]


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_damage_anywhere_never_raises_and_counts_reconcile(
    tmp_path: pathlib.Path, data: st.DataObject
) -> None:
    format_: Format = data.draw(st.sampled_from(["tfrecord", "parquet"]))
    content = bytearray(whole_file(format_, tmp_path))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    content = content[: data.draw(st.integers(len(content) // 2, len(content)))]
    blocks = read(bytes(content), format_)
    assert [block.key.number for block in blocks] == list(range(len(blocks)))
    assert [block.key.last for block in blocks] == [False] * (len(blocks) - 1) + [True]
    for block in blocks:
        numbers = block.examples.records.tolist() + [failure.record for failure in block.failures]
        first = block.key.first_record
        if numbers != [None]:
            assert sorted(numbers) == list(range(first, first + block.key.records))


def test_tensorflow_datasets_records_work_as_they_are(tmp_path: pathlib.Path) -> None:
    def feature(values: list[Any]) -> tf.train.Feature:
        if isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    stored = {
        "image": feature([b"JPEG"]),
        "image/shape": feature([1, 2, 3]),
        "file_name": feature([b"a.jpg"]),
        "label": feature([7]),
        "objects/bbox": feature([0.0, 0.0, 0.5, 0.5, 0.25, 0.25, 1.0, 1.0]),
        "objects/label": feature([7, 8]),
    }
    message = tf.train.Example(features=tf.train.Features(feature=stored))
    content = tfrecord_file([message.SerializeToString()], tmp_path)
    features = Features("image", id="file_name", label="label", boxes="objects/bbox")
    (block,) = read(content, "tfrecord", features=features)
    assert block.examples.ids == ("a.jpg",)
    assert block.examples.labels.tolist() == [7]
    assert block.examples.boxes is not None
    assert block.examples.boxes[0].tolist() == [[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1]]


def test_a_file_that_is_not_there_is_no_data_fault(tmp_path: pathlib.Path) -> None:
    shard = Shard(str(tmp_path / "gone.tfrecord"), 1)
    blocks = read_blocks(shard, SourceSpec("tfrecord", FEATURES), SPEC, 4, LocalStorage())
    with pytest.raises(RunError, match=r"gone.tfrecord cannot be read .*No such file"):
        next(blocks)


def test_a_block_size_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="block_size is 0"):
        read(b"", "tfrecord", block_size=0)


def probe_error(content: bytes, source: SourceSpec) -> str:
    with pytest.raises(ConfigurationError) as caught:
        probe(Shard("/data/shard", len(content)), source, SPEC, MemoryStorage(content))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("format_", ["tfrecord", "parquet"])
def test_probe_gives_the_first_examples(format_: Format, tmp_path: pathlib.Path) -> None:
    content = whole_file(format_, tmp_path)
    examples = probe(
        Shard("/data/shard", len(content)),
        SourceSpec(format_, FEATURES),
        SPEC,
        MemoryStorage(content),
        3,
    )
    assert examples.ids == ("example 0", "example 1", "example 2")


@pytest.mark.parametrize("format_", ["tfrecord", "parquet"])
def test_probe_names_what_is_wrong(format_: Format, tmp_path: pathlib.Path) -> None:
    content = whole_file(format_, tmp_path)
    message = probe_error(content, SourceSpec(format_, Features("imge")))
    assert "there is no feature 'imge' (source.features.input); there are: " in message
    for name in ("image", "name", "y", "bbox"):
        assert name in message.split("there are:")[1]
    assert "/data/shard" in message
    message = probe_error(content, SourceSpec(format_, Features("image", label="name")))
    assert "label) is 'example 0', which is text, and source.classes is not set" in message
    message = probe_error(
        content, SourceSpec(format_, Features("image", label="name"), class_names=("cat",))
    )
    assert "'example 0', which is not among the 1 names in source.classes" in message
    message = probe_error(content, SourceSpec(format_, Features("y")))
    assert "has 1 numbers; source.input.shape takes 48" in message


def test_probe_of_another_format_asks_whether_it_is_right(tmp_path: pathlib.Path) -> None:
    tfrecords, parquet = whole_file("tfrecord", tmp_path), whole_file("parquet", tmp_path)
    message = probe_error(tfrecords, SourceSpec("parquet", FEATURES))
    assert message.endswith("is source.format 'parquet' right?")
    message = probe_error(parquet, SourceSpec("tfrecord", FEATURES))
    assert message.endswith("the file begins as Parquet does: set source.format: parquet")
    message = probe_error(
        b"some text that is longer than a record's head", SourceSpec("tfrecord", FEATURES)
    )
    assert message.endswith("is source.format 'tfrecord' right?")


def test_probe_of_an_empty_shard_gives_nothing(tmp_path: pathlib.Path) -> None:
    content = whole_file("tfrecord", tmp_path, records=0)
    shard, source = Shard("/data/shard", len(content)), SourceSpec("tfrecord", FEATURES)
    assert len(probe(shard, source, SPEC, MemoryStorage(content))) == 0


def test_probe_looks_past_bad_records(tmp_path: pathlib.Path) -> None:
    content = tfrecord_file([b"nonsense", example(record(1))], tmp_path)
    shard = Shard("/data/shard", len(content))
    examples = probe(shard, SourceSpec("tfrecord", FEATURES), SPEC, MemoryStorage(content))
    assert examples.ids == ("example 1",)


def test_a_record_beyond_the_limit_is_one_failure(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "long.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"x" * 11)
    for limit, error in ((11, "NotAnExample"), (10, "RecordTooLarge")):
        source = SourceSpec("tfrecord", FEATURES, max_record_bytes=limit)
        (block,) = read_blocks(Shard(str(path), 27), source, SPEC, 4, LocalStorage())
        assert [failure.error for failure in block.failures] == [error]
        assert block.extent(block.failures) == Extent(0, 27, end=ShardEnd(27))
