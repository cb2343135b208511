"""One block as one Parquet file: its bytes, what it says of itself, and its checksums."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import ExplainedBlock
from transforms.errors import RunError
from transforms.statistics.columns import SKETCH_UNIT_BITS
from transforms.store.layout import FORMAT_VERSION
from transforms.store.map_format import codec_of

METADATA_KEY = b"saliency_atlas"


BODY_KEY = b"saliency_atlas_body"


ROWS_PER_GROUP = 64  # Of maps of 224 x 224: what reading one of them back has to decode.


VALUES_PER_GROUP = ROWS_PER_GROUP * 224 * 224  # Smaller maps are stored faster in longer groups.


SLICES_PER_GROUP = 8


COMPRESSION_LEVEL = 3


def encode_block(block: ExplainedBlock, fingerprint: str) -> pa.Buffer:
    """The Parquet file of a block; the same bytes for the same block."""
    key = dataclasses.asdict(block.key)
    metadata = {
        "format": FORMAT_VERSION,
        "codec": str(codec_of(block.table.schema)),
        "sketch_unit": 2.0**-SKETCH_UNIT_BITS,
        "fingerprint": fingerprint,
        "block": key,
        "examples": block.examples,
        "input_digest": block.input_digest,
        "failures": [dataclasses.asdict(failure) for failure in block.failures],
    }
    return encode_table(block.table, metadata)


def encode_table(table: pa.Table, metadata: Mapping[str, Any]) -> pa.Buffer:
    """The Parquet file of a maps table and what it says of itself."""
    table = table.replace_schema_metadata(
        {METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()}
    )
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        write_page_checksum=True,
        write_statistics=[name for name in table.schema.names if name not in {"map", "sketch"}],
        # Codes are bytes stored as 32-bit integers: splitting the bytes writes them twice as fast
        # as a dictionary, at the same size. Sketches get a fifth smaller, too.
        use_dictionary=["shard", "label", "target", "predicted"],
        column_encoding=dict.fromkeys(
            ("map.list.element", "sketch.list.element"), "BYTE_STREAM_SPLIT"
        ),
    ) as writer:
        rows = rows_per_group(table.schema.field("map").type)
        # In slices: the writer widens all codes that it is given to 32 bits at once, and memory
        # that is touched for the first time costs more than compressing what is put there.
        for batch in table.to_batches(max_chunksize=max(1, rows // SLICES_PER_GROUP)):
            writer.write_batch(batch, row_group_size=rows)
        body = sink.getvalue()
        described = {"bytes": len(body), "crc32c": google_crc32c.value(body)}
        writer.add_key_value_metadata({BODY_KEY: json.dumps(described)})
    return pa.py_buffer(sink.getvalue())


def rows_per_group(maps: pa.FixedShapeTensorType) -> int:
    """Rows of a row group: as many as hold the values of 64 maps of 224 x 224, and 64 at least.

    >>> rows_per_group(pa.fixed_shape_tensor(pa.uint8(), (112, 112)))
    256
    """
    shape: list[int] = maps.shape
    return max(ROWS_PER_GROUP, VALUES_PER_GROUP // math.prod(shape))


def tail_digest(file: pq.ParquetFile, stream: BinaryIO) -> int:
    """64 bits of the SHA-256 of a block's end, in which is the checksum of all before it.

    So the digests of two files differ if the files do, and a few kilobytes are read to know.
    """
    stream.seek(_body(file)["bytes"])
    return int.from_bytes(hashlib.sha256(stream.read()).digest()[:8], "little")


def body_is_whole(file: pq.ParquetFile, stream: BinaryIO) -> bool:
    """Whether everything before a block's end has the checksum that its end says."""
    body = _body(file)
    stream.seek(0)
    whole: bool = google_crc32c.value(stream.read(body["bytes"])) == body["crc32c"]
    return whole


def _body(file: pq.ParquetFile) -> dict[str, int]:
    described: dict[str, int] = json.loads(file.metadata.metadata[BODY_KEY])
    return described


def block_metadata(file: pq.ParquetFile, path: str) -> dict[str, Any]:
    """What a block's file says of itself.

    Raises:
      RunError: It says nothing: it is no block of an atlas.
    """
    stored = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    if stored is None:
        raise RunError(f"{path} is not a block of a saliency atlas: remove it and run again")
    metadata: dict[str, Any] = json.loads(stored)
    return metadata
