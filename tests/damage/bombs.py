"""Small files that decode to very much: each with how reading it may end."""

from __future__ import annotations

import dataclasses
import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.formats.source import Format
from transforms.formats.tfrecord.framing import masked_crc

MAX_RECORD_BYTES = 4 << 20
MAX_BLOCK_BYTES = 16 << 20
MAX_PIXELS = 1 << 22
MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Bomb:
    """A file to be written and read.

    Attributes:
      name: What it is.
      format: What it is read as.
      write: Writes it.
      ending: `too large` where the run has to end, else the name of the fault of every record.
      input: Name of the feature of the input.
    """

    name: str
    format: Format
    write: Callable[[Path], object]
    ending: str
    input: str = "image"


def bombs() -> Iterator[Bomb]:
    """All of them."""
    yield from _parquet_bombs()
    yield from _tfrecord_bombs()
    yield from _image_bombs()


def _parquet_bombs() -> Iterator[Bomb]:
    large = bytes(2 * MIB)

    def repeated(values: list[bytes], rows: int, index: int) -> Callable[[Path], object]:
        indices = pa.array(np.full(rows, index, np.int32))
        column = pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.binary()))
        return lambda path: _write(path, {"image": column})

    yield Bomb("2 MiB x 1,500 rows", "parquet", repeated([large], 1500, 0), "too large")
    uneven = [*(b"%d" % i for i in range(1000)), large]
    yield Bomb("one large value of 1,001", "parquet", repeated(uneven, 1500, 1000), "too large")
    longer = bytes(MAX_RECORD_BYTES + 1)
    yield Bomb("5 MiB x 300 rows", "parquet", repeated([longer], 300, 0), "RecordTooLarge")
    huge = bytes(MAX_BLOCK_BYTES + 1)
    yield Bomb("17 MiB x 100 rows", "parquet", repeated([huge], 100, 0), "RowGroupTooLarge")
    yield Bomb("shared prefixes", "parquet", _shared_prefixes, "too large")
    yield Bomb("pages of zeros", "parquet", _pages_of_zeros, "RowGroupTooLarge")
    small = pa.array(np.zeros(1_000_000))
    row = pa.ListArray.from_arrays(pa.array([0, len(small)], pa.int32()), small)
    yield Bomb("a list of 8 MB", "parquet", lambda p: _write(p, {"image": row}), "RecordTooLarge")
    wide = pa.array(np.zeros(16_000_000))
    lists = pa.ListArray.from_arrays(pa.array([0, len(wide)], pa.int32()), wide)
    yield Bomb(
        "a list of 128 MB", "parquet", lambda p: _write(p, {"image": lists}), "RowGroupTooLarge"
    )
    boxes = pa.ListArray.from_arrays(pa.array([0, len(wide)], pa.int32()), wide)
    columns = {"image": pa.array([b"x"]), "boxes": boxes}
    yield Bomb("boxes of 128 MB", "parquet", lambda p: _write(p, columns), "RowGroupTooLarge")
    item = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), [bytes(MIB)])
    many = pa.ListArray.from_arrays(pa.array([0, 1000], pa.int32()), item)
    yield Bomb(
        "a list of 1,000 x 1 MiB",
        "parquet",
        lambda p: _write(p, {"image": many}),
        "RowGroupTooLarge",
    )
    deep: Any = pa.array([b"x"] * 1000, pa.binary())
    for _ in range(60):
        deep = pa.StructArray.from_arrays([deep], ["a"])
    path = "image" + ".a" * 60
    yield Bomb(
        "60 structs deep", "parquet", lambda p: _write(p, {"image": deep}), "UndecodableImage", path
    )
    nulls = {"image": pa.nulls(300_000, pa.binary())}
    yield Bomb("300,000 nulls", "parquet", lambda p: _write(p, nulls), "MissingFeature")


def _write(path: Path, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table(columns), path, store_schema=False)


def _shared_prefixes(path: Path) -> None:
    schema = pa.schema([("image", pa.binary())])
    batch = pa.record_batch([pa.array([bytes(MIB)] * 20)], schema)
    with pq.ParquetWriter(
        path, schema, use_dictionary=False, column_encoding={"image": "DELTA_BYTE_ARRAY"}
    ) as writer:
        for _ in range(15):
            writer.write_batch(batch, row_group_size=300)


def _pages_of_zeros(path: Path) -> None:
    table = pa.table({"image": [bytes(4 * MIB)] * 20})
    pq.write_table(table, path, use_dictionary=False, compression="zstd", data_page_size=1 << 30)


def _frame(payload: bytes, length: int | None = None) -> bytes:
    header = struct.pack("<Q", len(payload) if length is None else length)
    header += struct.pack("<I", masked_crc(header))
    return header + payload + struct.pack("<I", masked_crc(payload))


def _example(**features: Any) -> bytes:
    from tensorflow.core.example import example_pb2

    message = example_pb2.Example()
    for name, value in features.items():
        feature = message.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        else:
            feature.int64_list.value.extend(value)
    return bytes(message.SerializeToString())


def _compressed(frames: Iterator[bytes], window: int) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        packer = zlib.compressobj(1, zlib.DEFLATED, window)
        with path.open("wb") as file:
            for frame in frames:
                file.write(packer.compress(frame))
            file.write(packer.flush())

    return write


def _tfrecord_bombs() -> Iterator[Bomb]:
    mebibyte = _frame(_example(image=bytes(MIB)))
    for name, window in (("gzip", 31), ("zlib", 15)):
        write = _compressed((mebibyte for _ in range(200)), window)
        yield Bomb(f"{name} of 200 records of 1 MiB", "tfrecord", write, "too large")
    claims = struct.pack("<Q", 1 << 30)
    claims += struct.pack("<I", masked_crc(claims))
    zeros = (claims if i == 0 else bytes(MIB) for i in range(129))
    yield Bomb("gzip of a record of 1 GiB", "tfrecord", _compressed(zeros, 31), "TruncatedRecord")
    noughts = (bytes(MIB) for _ in range(128))
    yield Bomb("gzip of zeros", "tfrecord", _compressed(noughts, 31), "LostFraming")
    twice = gzip.compress(gzip.compress(bytes(128 * MIB), 1), 9)
    yield Bomb("gzip of gzip", "tfrecord", lambda path: path.write_bytes(twice), "LostFraming")
    limit = struct.pack("<Q", MAX_RECORD_BYTES)
    header = limit + struct.pack("<I", masked_crc(limit))
    headers = b"x" + header * (4 * MIB // len(header)) + bytes(MAX_RECORD_BYTES)
    yield Bomb("headers of 4 MiB each", "tfrecord", lambda p: p.write_bytes(headers), "LostFraming")
    lying = _frame(b"", 1 << 62) * 1000
    yield Bomb("lengths of 2^62", "tfrecord", lambda p: p.write_bytes(lying), "TruncatedRecord")
    integers = _frame(_example(image=np.zeros(2 * MIB, np.int64).tolist()))
    yield Bomb("2 million integers", "tfrecord", lambda p: p.write_bytes(integers), "WrongLength")
    yield Bomb(
        "20 x 2 million integers", "tfrecord", lambda p: p.write_bytes(integers * 20), "too large"
    )


def _image_bombs() -> Iterator[Bomb]:
    side = 1 << MAX_PIXELS.bit_length() // 2
    images = {
        "PNGs of 4 million pixels": (_png(side, side), None),
        "PNGs of 900 million pixels": (_png(30_000, 30_000), "TooManyPixels"),
        "PNGs with large texts": (_png(8, 8, text=128 * MIB), None),
        "JPEGs of 300 scans": (_jpeg_of_scans(), "TooManyScans"),
        "GIFs of large frames": (_gif(60_000), "TooManyPixels"),
        "BMPs that claim much": (_bmp(1 << 30), "TooManyPixels"),
    }
    for name, (image, ending) in images.items():
        shard = _frame(_example(image=image)) * 16
        yield Bomb(name, "tfrecord", lambda p, data=shard: p.write_bytes(data), ending or "none")  # type: ignore[misc]


def _png(height: int, width: int, text: int = 0) -> bytes:
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(1 + 3 * width)) for _ in range(min(height, 2048)))
    pixels += packer.flush()
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)]
    if text:
        chunks.append(b"zTXtkey\0\0" + zlib.compress(bytes(text)))
    chunks += [b"IDAT" + pixels, b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def _jpeg_of_scans() -> bytes:
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    whole = bytes(tf.io.encode_jpeg(pixels, progressive=True, quality=5).numpy())
    start = whole.rindex(b"\xff\xda")
    return whole[:start] + whole[start:-2] * 300 + whole[-2:]


def _gif(side: int) -> bytes:
    screen = struct.pack("<6sHHBBB", b"GIF89a", side, side, 0xF0, 0, 0) + bytes(6)
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, side, side, 0) + b"\x07\x02\x80\x81\x00"
    return screen + frame * 100 + b";"


def _bmp(side: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 0, 0, 0, 54) + info + bytes(64)
