"""The maps of an atlas as files: schema, names, commit, listing, reading back.

One block is one Parquet file, `maps/SHARD/block-00007.parquet`. Its name depends on the input file
and the block's number only, and it appears by a rename, so an attempt that is retried, repeated
or resumed replaces a file by the same file. What failed in the block is in the file's own
metadata: there is no second file to lose, and no block without its failures.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import logging
import math
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import BlockKey, CommittedBlock, ExplainedBlock, Failure, Shard
from transforms.errors import RunError
from transforms.statistics.columns import SKETCH_UNIT_BITS, STATISTICS
from transforms.storage import Storage, escape, join

MAPS_FOLDER = "maps"
TEMPORARY_FOLDER = ".temporary"
METADATA_KEY = b"saliency_atlas"
BODY_KEY = b"saliency_atlas_body"
FORMAT_VERSION = 1
ROWS_PER_GROUP = 64  # Of maps of 224 x 224: what reading one of them back has to decode.
VALUES_PER_GROUP = ROWS_PER_GROUP * 224 * 224  # Smaller maps are stored faster in longer groups.
SLICES_PER_GROUP = 8
COMPRESSION_LEVEL = 3

_BLOCK_NAME = re.compile(r"block-(\d{5,})\.parquet")
_CODE_TYPES = {"uint8": pa.uint8(), "float16": pa.float16(), "float32": pa.float32()}


@dataclasses.dataclass(frozen=True)
class MapFormat:
    """What the stored rows look like.

    Attributes:
      map_shape: Shape of one stored map, such as (H, W).
      codec: `uint8`, `float16` or `float32`.
      sketch_shape: Shape of one sketch, such as (28, 28).
      with_boxes: Whether the source has boxes, and so the table box statistics.
    """

    map_shape: tuple[int, ...]
    codec: str
    sketch_shape: tuple[int, ...]
    with_boxes: bool

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """The float32 statistics columns."""
        return STATISTICS + (("box_energy",) if self.with_boxes else ())

    @property
    def schema(self) -> pa.Schema:
        """The maps table, one row an example and target."""
        fields = [
            pa.field("example_id", pa.string(), nullable=False),
            pa.field("shard", pa.string(), nullable=False),
            pa.field("record", pa.int64(), nullable=False),
            pa.field("label", pa.int32()),
            pa.field("target", pa.int32(), nullable=False),
            pa.field("predicted", pa.int32(), nullable=False),
            pa.field("score", pa.float32(), nullable=False),
            pa.field("predicted_score", pa.float32(), nullable=False),
            pa.field("map", pa.fixed_shape_tensor(_CODE_TYPES[self.codec], self.map_shape)),
            pa.field("map_scale", pa.float32(), nullable=False),
            pa.field("sketch", pa.fixed_shape_tensor(pa.int32(), self.sketch_shape)),
            *(pa.field(name, pa.float32()) for name in self.statistic_names),
        ]
        if self.with_boxes:
            fields.append(pa.field("pointing_hit", pa.bool_()))
        return pa.schema(fields)

    def table(self, columns: Mapping[str, pa.Array | npt.NDArray[Any]]) -> pa.Table:
        """Makes the maps table.

        Args:
          columns: Arrow arrays, or for the tensors NumPy arrays (rows, *shape).
        """
        schema = self.schema
        return pa.Table.from_arrays(
            [_column(columns[field.name], field.type) for field in schema], schema=schema
        )


def tensor_values(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A tensor column as one array (rows, *shape), without copying where it is one chunk."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps no chunk of an empty column
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
    flat = array.storage.flatten().to_numpy(zero_copy_only=False)
    values: npt.NDArray[Any] = flat.reshape((len(array), *array.type.shape))
    return values


def block_path(root: str, shard: Shard, number: int) -> str:
    """The one place where a block's file may be."""
    return join(root, MAPS_FOLDER, shard.folder, f"block-{number:05d}.parquet")


def lease_path(root: str, run: str) -> str:
    """The file by which a run says that it is the one that works on an atlas."""
    return join(root, f".lease-{run}.json")


def check_lease(lease: str | None, storage: Storage) -> None:
    """Makes sure that the atlas is still this run's, before something in it is replaced.

    Args:
      lease: The run's `lease_path`; None where nobody holds one.
      storage: Where the atlas is.

    Raises:
      RunError: Another run has taken over.
    """
    if lease is not None and not storage.match(escape(lease)):
        raise RunError(
            f"another run has taken over the atlas, as this one gave no sign of life: {lease} is "
            "gone, and nothing more is written"
        )


def commit_block(  # noqa: PLR0917 - as a stage hands them on
    root: str,
    block: ExplainedBlock,
    fingerprint: str,
    storage: Storage,
    attempt: str,
    lease: str | None = None,
) -> CommittedBlock:
    """Writes a block's file under a temporary name, then renames it.

    Args:
      root: The atlas.
      block: What to store.
      fingerprint: Of the settings and model that the maps come from.
      storage: Where the atlas is.
      attempt: Names this run's temporary folder, so that those of dead runs can be swept.
      lease: The run's lease, without which nothing is written; None where nobody holds one.

    Raises:
      RunError: The file cannot be written, or another run has taken over.
    """
    data = encode_block(block, fingerprint)
    path = block_path(root, block.key.shard, block.key.number)
    temporary = join(root, TEMPORARY_FOLDER, attempt, f"{uuid.uuid4().hex}.parquet")
    try:
        check_lease(lease, storage)
        storage.replace(temporary, path, memoryview(data))
    except OSError as error:
        raise RunError(
            f"block {block.key.number} of {block.key.shard.path} cannot be committed to {path} "
            f"({error})"
        ) from error
    return CommittedBlock(
        key=block.key,
        summary=block.table.drop_columns(["map"]),
        examples=block.examples,
        failures=block.failures,
        stored_bytes=len(data),
        digest=tail_digest(pq.ParquetFile(pa.BufferReader(data)), io.BytesIO(data)),
        busy=None,
    )


def encode_block(block: ExplainedBlock, fingerprint: str) -> pa.Buffer:
    """The Parquet file of a block; the same bytes for the same block."""
    key = dataclasses.asdict(block.key)
    metadata = {
        "format": FORMAT_VERSION,
        "codec": str(_codec_of(block.table.schema)),
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


def read_committed(path: str, size: int, fingerprint: str, storage: Storage) -> CommittedBlock:
    """Reads a committed block back, less its maps.

    Raises:
      RunError: The file is damaged, or not one of this atlas.
    """
    try:
        with storage.open(path) as stream:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            metadata = block_metadata(file, path)
            columns = [name for name in file.schema_arrow.names if name != "map"]
            summary = file.read(columns=columns).replace_schema_metadata(None).combine_chunks()
            digest = tail_digest(file, stream)
    except (KeyError, ValueError, pa.ArrowException, OSError) as error:
        raise RunError(
            f"{path} cannot be read ({' '.join(str(error).split())}): if it is damaged, remove "
            "it and go on with --resume"
        ) from error
    if metadata["fingerprint"] != fingerprint:
        raise RunError(
            f"{path} was made by another model or configuration (fingerprint "
            f"{metadata['fingerprint'][:12]}, this run's is {fingerprint[:12]}): "
            "give the run an output.path of its own, or --overwrite"
        )
    block = metadata["block"]
    return CommittedBlock(
        key=BlockKey(
            shard=Shard(**block["shard"]),
            number=block["number"],
            first_record=block["first_record"],
            records=block["records"],
            last=block["last"],
        ),
        summary=summary,
        examples=metadata["examples"],
        failures=tuple(Failure(**failure) for failure in metadata["failures"]),
        stored_bytes=size,
        digest=digest,
        busy=None,
    )


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


@dataclasses.dataclass(frozen=True, order=True)
class BlockFile:
    """A committed block's file: its number in the shard, path and bytes."""

    number: int
    path: str
    size: int


def is_block_name(name: str) -> bool:
    """Whether a file may be a block's, by its name."""
    return _BLOCK_NAME.fullmatch(name) is not None


def list_blocks(root: str, shard: Shard, storage: Storage) -> list[BlockFile]:
    """The committed blocks of a shard, by number."""
    entries = storage.match(escape(join(root, MAPS_FOLDER, shard.folder)) + "/block-*.parquet")
    return sorted(_block_files(entries))


def list_all_blocks(root: str, storage: Storage) -> list[BlockFile]:
    """The committed blocks of an atlas, by path."""
    entries = storage.match(escape(join(root, MAPS_FOLDER)) + "/*/block-*.parquet")
    return sorted(_block_files(entries), key=lambda block: block.path)


class CommittedCounter:
    """Counts an atlas's committed blocks and their records; each file is opened once.

    Args:
      root: The atlas.
      storage: Where it is.
    """

    def __init__(self, root: str, storage: Storage) -> None:
        self._root = root
        self._storage = storage
        self._records: dict[str, int] = {}

    def __call__(self) -> tuple[int, int]:
        """Blocks and records committed so far."""
        for file in list_all_blocks(self._root, self._storage):
            if file.path not in self._records:
                with self._storage.open(file.path) as stream:
                    metadata = block_metadata(pq.ParquetFile(stream), file.path)
                self._records[file.path] = metadata["block"]["records"]
        return len(self._records), sum(self._records.values())


def sweep_temporary(root: str, storage: Storage) -> None:
    """Deletes what dead runs left half-written."""
    try:
        storage.delete(join(root, TEMPORARY_FOLDER))
    except OSError as error:  # Rubbish costs space, never correctness: nothing ever reads it.
        logging.getLogger(__name__).warning("could not sweep temporary files: %s", error)


def _block_files(entries: Iterable[Any]) -> Iterable[BlockFile]:
    for entry in entries:
        found = _BLOCK_NAME.fullmatch(entry.path.rpartition("/")[2])
        if found:
            yield BlockFile(int(found.group(1)), entry.path, entry.size)


def _codec_of(schema: pa.Schema) -> str:
    value_type = schema.field("map").type.value_type
    return next(name for name, code_type in _CODE_TYPES.items() if code_type == value_type)


def _column(values: pa.Array | npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    if not isinstance(kind, pa.FixedShapeTensorType):
        return values if isinstance(values, pa.Array) else pa.array(values, kind)
    array = np.ascontiguousarray(values)
    if array.shape[1:] != tuple(kind.shape):
        raise ValueError(f"expected tensors of {tuple(kind.shape)}, not {array.shape[1:]}")
    flat = pa.array(array.reshape(-1), kind.value_type)
    size = int(np.prod(kind.shape))
    return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, size))
