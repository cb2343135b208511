"""The small tables beside the maps."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import Failure
from transforms.statistics.groups.sums import StatisticsTables
from transforms.storage import Storage
from transforms.store.files import replace_file
from transforms.store.layout import CLASSES, CONFUSION, FAILURES, FOLDS, SLICES

FAILURES_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("record", pa.int64()),
        pa.field("example_id", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
    ]
)


def failures_table(failures: Iterable[Failure]) -> pa.Table:
    """The failures, by shard and record whatever order they come in."""
    ordered = sorted(
        failures,
        key=lambda f: (
            f.shard,
            -1 if f.record is None else f.record,
            f.example_id or "",
            f.stage,
            f.error,
            f.message,
        ),
    )
    return pa.Table.from_pylist([dataclasses.asdict(f) for f in ordered], schema=FAILURES_SCHEMA)


def final_tables(statistics: StatisticsTables, failures: pa.Table) -> dict[str, pa.Table]:
    """The tables beside the maps, by the name of their file.

    Args:
      statistics: What the blocks add up to.
      failures: All of them, in order.
    """
    return {
        CLASSES: statistics.classes,
        SLICES: statistics.slices,
        FOLDS: statistics.folds,
        CONFUSION: statistics.confusion,
        FAILURES: failures,
    }


def write_table(root: str, name: str, table: pa.Table, storage: Storage, run: str) -> str:
    """Writes one of the small tables and returns the SHA-256 of its bytes, in hex."""
    data = encode_table(table)
    replace_file(root, name, memoryview(data), storage, run)
    return hashlib.sha256(data).hexdigest()


def encode_table(table: pa.Table) -> pa.Buffer:
    """One of the small tables as a Parquet file; the same bytes for the same table."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
