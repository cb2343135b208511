"""The small tables beside the maps."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import Failure
from transforms.formats.sample import DrawnSample
from transforms.statistics.groups.sums import StatisticsTables
from transforms.storage import Storage
from transforms.store.files import replace_file
from transforms.store.layout import CLASSES, CONFUSION, FAILURES, FOLDS, SLICES

SAMPLE_KEY = b"saliency_atlas_sample"
"""In the metadata of tables that are of a sample: `DrawnSample.as_dict` as JSON."""

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


def final_tables(
    statistics: StatisticsTables, failures: pa.Table, drawn: DrawnSample | None
) -> dict[str, pa.Table]:
    """The tables beside the maps, by the name of their file.

    Args:
      statistics: What the blocks add up to.
      failures: All of them, in order.
      drawn: The sample that they are of, which their metadata then say under `SAMPLE_KEY`; None
        where they are of all examples.
    """
    tables = {
        CLASSES: statistics.classes,
        SLICES: statistics.slices,
        FOLDS: statistics.folds,
        CONFUSION: statistics.confusion,
        FAILURES: failures,
    }
    if drawn is None:
        return tables
    said = json.dumps(drawn.as_dict(), sort_keys=True).encode()
    return {
        name: table.replace_schema_metadata({**(table.schema.metadata or {}), SAMPLE_KEY: said})
        for name, table in tables.items()
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
