"""How many records a dataset has, without reading it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import Shard
from transforms.formats.source import Compression, SourceSpec
from transforms.formats.tfrecord.framing import FRAMING_BYTES, read_frames
from transforms.storage import Storage

_SAMPLED_SHARDS = 4
_SAMPLED_FRAMES = 1000


def estimate_records(shards: Sequence[Shard], source: SourceSpec, storage: Storage) -> int:
    """Estimates the number of records from a few shards, spread evenly.

    A Parquet file says how many rows it has; of a TFRecord file the first thousand records tell
    how many bytes of the file one takes. The rest are taken to be like them, by size.

    Args:
      shards: All of them.
      source: What is in them.
      storage: Where they are.

    Returns:
      Exact where all shards were sampled to their ends; 0 where nothing in the sample is readable.
    """
    step = max(1, len(shards) // _SAMPLED_SHARDS)
    sample = shards[::step][:_SAMPLED_SHARDS]
    count = _parquet_rows if source.format == "parquet" else _tfrecord_records
    with ThreadPoolExecutor(_SAMPLED_SHARDS) as pool:  # Each waits for its storage, not for us.
        records = list(pool.map(lambda shard: count(shard, source.compression, storage), sample))
    if len(sample) == len(shards):
        return sum(records)
    sampled_bytes = sum(shard.size for shard in sample)
    total_bytes = sum(shard.size for shard in shards)
    return round(sum(records) * total_bytes / sampled_bytes) if sampled_bytes else 0


def most_records(shards: Sequence[Shard], source: SourceSpec, storage: Storage) -> int | None:
    """How many records there can be at most; None where that would take reading all files.

    Parquet files say it, a few of which are asked. A TFRecord file that is known not to be
    compressed has no more than one in the bytes that framing alone takes.

    Args:
      shards: All files.
      source: What is in them.
      storage: Where they are.
    """
    if source.format == "parquet" and len(shards) <= _SAMPLED_SHARDS:
        return estimate_records(shards, source, storage)
    if source.format == "tfrecord" and source.compression == "none":
        return sum(shard.size for shard in shards) // FRAMING_BYTES
    return None


def _parquet_rows(shard: Shard, _: Compression, storage: Storage) -> int:
    with storage.open(shard.path) as stream:
        try:
            return cast(int, pq.read_metadata(stream).num_rows)
        except (pa.ArrowInvalid, OSError):  # Damaged: a failure when it is read, no rows here.
            return 0


def _tfrecord_records(shard: Shard, compression: Compression, storage: Storage) -> int:
    with storage.open(shard.path) as stream:
        frames = read_frames(stream, compression)
        read = sum(1 for _ in itertools.islice(frames, _SAMPLED_FRAMES))
        if read < _SAMPLED_FRAMES:
            return read
        return round(read * shard.size / max(1, stream.tell()))
