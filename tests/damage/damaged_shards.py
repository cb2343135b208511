"""Hundreds of damaged shards, made from good ones, each with the examples that must survive."""

from __future__ import annotations

import dataclasses
import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.formats.source import MAX_RECORD_BYTES, Format
from transforms.formats.tfrecord.framing import masked_crc

RECORDS = 6
SIDE = 8
CLASSES = 3
IDS = tuple(f"example-{number}" for number in range(RECORDS))
_HEADER_BYTES, _TRAILER_BYTES = 12, 4


@dataclasses.dataclass(frozen=True)
class DamagedShard:
    """A file's content and what must come of it.

    Attributes:
      name: What was done to it.
      format: What it is read as.
      data: Its bytes.
      survivors: Ids that must be explained.
      exactly: Whether no other may be; otherwise others may be, where the format has no checksum.
    """

    name: str
    format: Format
    data: bytes
    survivors: frozenset[str]
    exactly: bool = True


def damaged_shards() -> Iterator[DamagedShard]:
    """The whole corpus, always the same."""
    images = _images()
    payloads = [_example(IDS[i], images[i], i % CLASSES) for i in range(RECORDS)]
    yield from _flipped(payloads)
    yield from _truncated(payloads)
    yield from _lying_lengths(payloads)
    yield from _wrong_payloads(payloads, images)
    yield from _compressed(payloads)
    yield from _parquet(images)


def _images() -> list[bytes]:
    import tensorflow as tf

    pixels = np.random.default_rng(9).integers(0, 256, (RECORDS, SIDE, SIDE, 3), np.uint8)
    return [tf.io.encode_png(image).numpy() for image in pixels]


def _example(example_id: Any, image: Any, label: Any) -> bytes:
    from tensorflow.core.example import example_pb2

    example = example_pb2.Example()
    for name, value in (("id", example_id), ("image", image), ("label", label)):
        feature = example.features.feature[name]
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool | int):
                feature.int64_list.value.append(item)
            elif isinstance(item, float):
                feature.float_list.value.append(item)
            elif item is not None:
                feature.bytes_list.value.append(item.encode() if isinstance(item, str) else item)
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def _frame(payload: bytes, length: int | None = None) -> bytes:
    header = struct.pack("<Q", len(payload) if length is None else length)
    crc = struct.pack("<I", masked_crc(header))
    return header + crc + payload + struct.pack("<I", masked_crc(payload))


def _but(*missing: int) -> frozenset[str]:
    return frozenset(IDS) - {IDS[i] for i in missing}


def _before(record: int) -> frozenset[str]:
    return frozenset(IDS[:record])


def _flipped(payloads: list[bytes]) -> Iterator[DamagedShard]:
    """Bits of every field of every record."""
    shard = b"".join(map(_frame, payloads))
    start = 0
    for record, payload in enumerate(payloads):
        body = start + _HEADER_BYTES
        fields = {
            "length": (range(start, start + 8, 3), _but(record)),
            "checksum of length": (range(start + 8, body, 2), _but(record)),
            "payload": (range(body, body + len(payload), len(payload) // 3), _but(record)),
            "checksum": (range(body + len(payload), body + len(payload) + 4, 2), _but(record)),
        }
        for field, (places, survivors) in fields.items():
            for place in places:
                data = bytearray(shard)
                data[place] ^= 1 << place % 8
                name = f"record {record}: bit flipped in {field}, byte {place}"
                yield DamagedShard(name, "tfrecord", bytes(data), survivors)
        start = body + len(payload) + _TRAILER_BYTES


def _truncated(payloads: list[bytes]) -> Iterator[DamagedShard]:
    shard = b"".join(map(_frame, payloads))
    start = 0
    for record, payload in enumerate(payloads):
        body = start + _HEADER_BYTES
        for place in (start, start + 5, start + 8, body, body + 7, body + len(payload),
                      body + len(payload) + 3):  # fmt: skip
            name = f"record {record}: cut at byte {place}"
            yield DamagedShard(name, "tfrecord", shard[:place], _before(record))
        start = body + len(payload) + _TRAILER_BYTES


def _lying_lengths(payloads: list[bytes]) -> Iterator[DamagedShard]:
    for record in range(RECORDS):
        for length in (1 << 63, (1 << 64) - 1, 1 << 31, MAX_RECORD_BYTES + 1, MAX_RECORD_BYTES):
            frames = [
                _frame(payload, length if number == record else None)
                for number, payload in enumerate(payloads)
            ]
            name = f"record {record}: claims {length} bytes"
            yield DamagedShard(name, "tfrecord", b"".join(frames), _but(record))


def _bomb(side: int) -> bytes:
    """A PNG that declares side x side pixels, and is a kilobyte."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(bytes(10_000))
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, pixels, b"IEND")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _wrong_payloads(payloads: list[bytes], images: list[bytes]) -> Iterator[DamagedShard]:
    """Records whose frames are good and whose content is not."""
    good = images[0]
    wrong: dict[str, bytes] = {
        "empty": b"",
        "noise": np.random.default_rng(2).bytes(200),
        "half an example": payloads[0][: len(payloads[0]) // 2],
        "text": b"not an example",
        "no image": _example("x", None, 1),
        "no label": _example("x", good, None),
        "no id": _example([], good, 1),
        "two images": _example("x", [good, good], 1),
        "image of numbers": _example("x", [1, 2, 3], 1),
        "image of floats": _example("x", [1.5], 1),
        "not an image": _example("x", b"GIF98a", 1),
        "empty image": _example("x", b"", 1),
        "image cut at its header": _example("x", good[:20], 1),
        "image cut in its middle": _example("x", good[: len(good) // 2], 1),
        "image of 30000 x 30000": _example("x", _bomb(30_000), 1),
        "image of 2^31 x 2^31": _example("x", _bomb(1 << 31), 1),
        "image of 8000 x 8000 without pixels": _example("x", _bomb(8_000), 1),
        "image of 0 x 0": _example("x", _bomb(0), 1),
        "label negative": _example("x", good, -1),
        "label huge": _example("x", good, (1 << 63) - 1),
        "label of no class": _example("x", good, CLASSES),
        "label of text": _example("x", good, "cat"),
        "label of floats": _example("x", good, 1.0),
        "two labels": _example("x", good, [1, 2]),
    }
    for name, payload in wrong.items():
        for record in (0, 3, RECORDS - 1):
            frames = [payload if n == record else good for n, good in enumerate(payloads)]
            yield DamagedShard(
                f"record {record}: {name}", "tfrecord", b"".join(map(_frame, frames)), _but(record)
            )


def _compressed(payloads: list[bytes]) -> Iterator[DamagedShard]:
    shard = b"".join(map(_frame, payloads))
    everything = frozenset(IDS)
    yield DamagedShard("an empty file", "tfrecord", b"", frozenset())
    yield DamagedShard("zeros", "tfrecord", bytes(1000), frozenset())
    yield DamagedShard("noise", "tfrecord", np.random.default_rng(1).bytes(5000), frozenset())
    yield DamagedShard("zlib", "tfrecord", zlib.compress(shard), everything)
    packed = gzip.compress(shard, mtime=0)
    yield DamagedShard("gzip", "tfrecord", packed, everything)
    yield DamagedShard("gzip twice over", "tfrecord", gzip.compress(packed, mtime=0), frozenset())
    bomb = gzip.compress(_frame(bytes(MAX_RECORD_BYTES)), mtime=0)
    yield DamagedShard("a gzip bomb", "tfrecord", bomb, frozenset())
    for place in range(0, len(packed), len(packed) // 12):
        yield DamagedShard(f"gzip cut at {place}", "tfrecord", packed[:place], frozenset(), False)
        flipped = bytearray(packed)
        flipped[place] ^= 16
        name = f"gzip flipped at {place}"
        yield DamagedShard(name, "tfrecord", bytes(flipped), frozenset(), False)


def _parquet(images: list[bytes]) -> Iterator[DamagedShard]:
    columns = {
        "id": pa.array(IDS),
        "image": pa.array(images, pa.binary()),
        "label": pa.array([i % CLASSES for i in range(RECORDS)], pa.int64()),
    }
    good = _parquet_file(columns)
    yield DamagedShard("parquet", "parquet", good, frozenset(IDS))
    (footer,) = struct.unpack("<I", good[-8:-4])
    begin = len(good) - 8 - footer
    for place in (0, 3, 4, 100, begin - 1, begin, begin + footer // 2, len(good) - 8,
                  len(good) - 4, len(good) - 1):  # fmt: skip
        yield DamagedShard(f"parquet cut at {place}", "parquet", good[:place], frozenset())
    for length in (0, 1, footer - 1, footer + 1, len(good), (1 << 31) - 1, (1 << 32) - 1):
        data = good[:-8] + struct.pack("<I", length) + good[-4:]
        name = f"parquet with a footer of {length} bytes"
        yield DamagedShard(name, "parquet", data, frozenset(), False)
    places = np.random.default_rng(4).integers(begin, len(good), 40).tolist()
    places += np.random.default_rng(5).integers(4, begin, 40).tolist()
    for place in places:
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        where = "footer" if place >= begin else "pages"
        name = f"parquet flipped in its {where}, byte {place}"
        yield DamagedShard(name, "parquet", bytes(flipped), frozenset(), False)
    wrong: dict[str, dict[str, pa.Array]] = {
        "images of text": {"image": pa.array(["x"] * RECORDS)},
        "images of numbers": {"image": pa.array([1] * RECORDS)},
        "images of lists": {"image": pa.array([[1, None]] * RECORDS)},
        "null images": {"image": pa.nulls(RECORDS, pa.binary())},
        "a column of nulls": {"image": pa.nulls(RECORDS)},
        "labels of dates": {"label": pa.array([0] * RECORDS, pa.date32())},
        "labels of floats": {"label": pa.array([0.5] * RECORDS)},
        "labels of text": {"label": pa.array(["cat"] * RECORDS)},
        "labels that are huge": {"label": pa.array([(1 << 64) - 1] * RECORDS, pa.uint64())},
        "labels that are negative": {"label": pa.array([-1] * RECORDS)},
        "null ids": {"id": pa.nulls(RECORDS, pa.string())},
        "ids of floats": {"id": pa.array([0.5] * RECORDS)},
    }
    for name, replaced in wrong.items():
        data = _parquet_file({**columns, **replaced})
        yield DamagedShard(f"parquet with {name}", "parquet", data, frozenset())
    for record in range(RECORDS):
        for column in ("image", "label", "id"):
            values = columns[column].to_pylist()
            values[record] = None
            data = _parquet_file({**columns, column: pa.array(values, columns[column].type)})
            name = f"parquet with a null {column} in record {record}"
            yield DamagedShard(name, "parquet", data, _but(record))
    for column in ("image", "label"):
        kept = {name: values for name, values in columns.items() if name != column}
        data = _parquet_file(kept)
        yield DamagedShard(f"parquet without {column}", "parquet", data, frozenset())
    empty = {name: values.slice(0, 0) for name, values in columns.items()}
    yield DamagedShard("parquet without rows", "parquet", _parquet_file(empty), frozenset())


def _parquet_file(columns: dict[str, pa.Array]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=4, write_page_checksum=True)
    return sink.getvalue()
