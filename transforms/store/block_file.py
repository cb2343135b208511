"""One block as one Parquet file: its bytes, what it says of itself, and its checksums."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import ExplainedBlock
from transforms.statistics.columns import MAPS_COLUMNS, SKETCH_UNIT_BITS
from transforms.store.layout import FORMAT_VERSION
from transforms.store.map_format import MAP, PICTURES

METADATA_KEY = b"saliency_atlas"
CHECKSUM_KEY = b"saliency_atlas_crc32c"
"""Of the file's CRC-32C in hex, taken with zeros in the place of these digits."""

ROWS_PER_GROUP = 64  # Of maps of 224 x 224: what reading one of them back has to decode.
BYTES_PER_GROUP = ROWS_PER_GROUP * 224 * 224  # Smaller maps are stored faster in longer groups.
COMPRESSION_LEVEL = 3

_UNSEALED = b"00000000"
_STRING_HEADER_BYTES = 2  # Thrift's, between a key and its value: a field and a length.
_TAIL_BYTES = 8  # Parquet's last: the footer's length and four letters.


def encode_block(block: ExplainedBlock, fingerprint: str) -> pa.Buffer:
    """The Parquet file of a block; the same bytes for the same block."""
    key = block.key
    metadata = {
        "format": FORMAT_VERSION,
        "codec": json.loads(block.table.schema.field(MAP).metadata[b"codec"]),
        "sketch_unit": 2.0**-SKETCH_UNIT_BITS,
        "fingerprint": fingerprint,
        "block": {
            "shard": {"path": key.shard.path, "size": key.shard.size},
            "number": key.number,
            "first_record": key.first_record,
            "records": key.records,
            "last": key.last,
        },
        "examples": block.examples,
        "input_digest": block.input_digest,
        "extent": None if block.extent is None else block.extent.as_dict(),
        "failures": [dataclasses.asdict(failure) for failure in block.failures],
        "warnings": [dataclasses.asdict(warning) for warning in block.warnings],
    }
    if (
        block.left_out
    ):  # Without a sample, blocks have the bytes that they had before there was one.
        metadata["left_out"] = block.left_out
    return encode_table(block.table, metadata)


def encode_table(table: pa.Table, metadata: Mapping[str, Any]) -> pa.Buffer:
    """The Parquet file of a maps table and what it says of itself."""
    slices = [name for name in table.schema.names if name not in MAPS_COLUMNS]
    table = table.replace_schema_metadata(
        {METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()}
    )
    sink = pa.BufferOutputStream()  # Arrow's own: to write into it takes no lock of Python's.
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        write_page_checksum=True,
        write_statistics=[name for name in table.schema.names if name not in {*PICTURES, "sketch"}],
        use_dictionary=["shard", "label", "target", "predicted", *slices],
        column_encoding={"sketch.list.element": "BYTE_STREAM_SPLIT"},  # a fifth smaller
    ) as writer:
        rows = rows_per_group(table.schema.field(MAP).type.byte_width)
        for start in range(0, max(1, table.num_rows), rows):
            # Maps may come in chunks. Pages are the same only where a group's are one.
            writer.write_table(table.slice(start, rows).combine_chunks(), rows)
        writer.add_key_value_metadata({CHECKSUM_KEY.decode(): _UNSEALED.decode()})
    return _seal(sink.getvalue())


def rows_per_group(map_bytes: int) -> int:
    """Rows of a row group: as many as hold the bytes of 64 maps of 224 x 224, and 64 at least.

    >>> rows_per_group(112 * 112)
    256
    """
    return max(ROWS_PER_GROUP, BYTES_PER_GROUP // map_bytes)


def is_whole(data: bytes) -> bool:
    """Whether all of a block's file, its end included, has the checksum that it holds."""
    place = _checksum_place(data)
    return place is not None and data[place] == _checksum(data, place)


def tail_digest(data: bytes | pa.Buffer) -> int:
    """64 bits of the SHA-256 of a file's end, in which is the checksum of all of it.

    So the digests of two files differ if the files do.
    """
    view = memoryview(data)
    digest = hashlib.sha256(view[-_footer_bytes(view) :]).digest()
    return int.from_bytes(digest[:8], "little")


def _seal(file: pa.Buffer) -> pa.Buffer:
    """The file with its checksum in its place, where it was written: a copy costs as much again."""
    view = memoryview(file).cast("B")
    before_footer = len(view) - _footer_bytes(view)
    place = _checksum_place(bytes(view[before_footer:]))
    assert place is not None  # noqa: S101 - it was written a moment ago
    place = slice(before_footer + place.start, before_footer + place.stop)
    view[place] = _checksum(view, place)
    return file


def _footer_bytes(view: memoryview) -> int:
    """Bytes of a Parquet file's footer, up to the file's end."""
    return _TAIL_BYTES + int.from_bytes(view[-_TAIL_BYTES:-4], "little")


def _checksum_place(data: bytes) -> slice | None:
    """Where the digits of the checksum are; the key before them has the last word in the file."""
    key = data.rfind(CHECKSUM_KEY)
    start = key + len(CHECKSUM_KEY) + _STRING_HEADER_BYTES
    return slice(start, start + len(_UNSEALED)) if key >= 0 else None


def _checksum(data: bytes | memoryview, place: slice) -> bytes:
    """The digits of the file's CRC-32C."""
    whole = np.frombuffer(data, np.uint8)  # The library takes arrays, but no memoryviews.
    crc = google_crc32c.value(whole[: place.start])
    crc = google_crc32c.extend(crc, _UNSEALED)
    return b"%08x" % google_crc32c.extend(crc, whole[place.stop :])


def block_metadata(file: pq.ParquetFile) -> dict[str, Any]:
    """What a block's file says of itself.

    Raises:
      ValueError: It says nothing: it is no block of an atlas.
    """
    stored = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    if stored is None:
        raise ValueError("it is not a block of a saliency atlas")
    metadata: dict[str, Any] = json.loads(stored)
    return metadata
