"""The maps of an atlas as files: schema, names, commit, listing, reading back.

One block is one Parquet file, `maps/SHARD/block-00007.parquet`. Its name depends on the input file
and the block's number only, and it appears by a rename, so an attempt that is retried, repeated
or resumed replaces a file by the same file. What failed in the block is in the file's own
metadata: there is no second file to lose, and no block without its failures.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import BlockKey, CommittedBlock, ExplainedBlock, Failure, Shard
from transforms.errors import RunError
from transforms.statistics.columns import SKETCH_UNIT_BITS, STATISTICS
from transforms.storage import Storage, join

MAPS_FOLDER = "maps"
TEMPORARY_FOLDER = ".temporary"
METADATA_KEY = b"saliency_atlas"
FORMAT_VERSION = 1
ROWS_PER_GROUP = 64  # What reading one map back has to decode, at most.
COMPRESSION_LEVEL = 3

_BLOCK_NAME = re.compile(r"block-(\d{5,})\.parquet$")
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


def commit_block(
    root: str, block: ExplainedBlock, fingerprint: str, storage: Storage, attempt: str
) -> CommittedBlock:
    """Writes a block's file under a temporary name, then renames it.

    Args:
      root: The atlas.
      block: What to store.
      fingerprint: Of the settings and model that the maps come from.
      storage: Where the atlas is.
      attempt: Names this run's temporary folder, so that those of dead runs can be swept.
    """
    data = encode_block(block, fingerprint)
    path = block_path(root, block.key.shard, block.key.number)
    temporary = join(root, TEMPORARY_FOLDER, attempt, f"{uuid.uuid4().hex}.parquet")
    with storage.create(temporary) as stream:
        stream.write(data)
    storage.rename(temporary, path)
    return CommittedBlock(
        key=block.key,
        summary=block.table.drop_columns(["map"]),
        examples=block.examples,
        failures=block.failures,
        stored_bytes=len(data),
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
        "failures": [dataclasses.asdict(failure) for failure in block.failures],
    }
    table = block.table.replace_schema_metadata(
        {METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        # Codes are bytes stored as 32-bit integers: splitting the bytes writes them twice as fast
        # as a dictionary, at the same size. Sketches get a fifth smaller, too.
        use_dictionary=["shard", "label", "target", "predicted"],
        column_encoding=dict.fromkeys(
            ("map.list.element", "sketch.list.element"), "BYTE_STREAM_SPLIT"
        ),
    )
    return sink.getvalue()


def read_committed(path: str, size: int, fingerprint: str, storage: Storage) -> CommittedBlock:
    """Reads a committed block back, less its maps.

    Raises:
      RunError: The file is not one of this atlas.
    """
    with storage.open(path) as stream:
        file = pq.ParquetFile(stream)
        metadata = block_metadata(file, path)
        if metadata["fingerprint"] != fingerprint:
            raise RunError(
                f"{path} was made by another model or configuration (fingerprint "
                f"{metadata['fingerprint'][:12]}, this run's is {fingerprint[:12]}): "
                "give the run an output.path of its own, or --overwrite"
            )
        columns = [name for name in file.schema_arrow.names if name != "map"]
        summary = file.read(columns=columns).replace_schema_metadata(None).combine_chunks()
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


def list_blocks(root: str, shard: Shard, storage: Storage) -> list[BlockFile]:
    """The committed blocks of a shard, by number."""
    entries = storage.match(join(root, MAPS_FOLDER, shard.folder, "block-*.parquet"))
    return sorted(_block_files(entries))


def list_all_blocks(root: str, storage: Storage) -> list[BlockFile]:
    """The committed blocks of an atlas, by path."""
    entries = storage.match(join(root, MAPS_FOLDER, "*", "block-*.parquet"))
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
        found = _BLOCK_NAME.search(entry.path)
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
