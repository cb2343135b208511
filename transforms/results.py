"""The files that finish an atlas: statistics, failures, manifest."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import Failure
from transforms.errors import RunError
from transforms.mapstore import TEMPORARY_FOLDER
from transforms.storage import Storage, join
from transforms.totals import RunTotals

MANIFEST = "manifest.json"
CLASSES = "statistics/classes.parquet"
FAILURES = "failures.parquet"

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


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """What the end of a run needs beside what flowed through it.

    Attributes:
      root: The atlas.
      manifest: What was known when the run began.
      started: Seconds since the epoch when it did.
      max_failed_fraction: Share of records, 0..1, beyond which the run has failed.
      lease: The run's lease, without which nothing is written; None where nobody holds one.
    """

    root: str
    manifest: Mapping[str, Any]
    started: float
    max_failed_fraction: float
    lease: str | None = None


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


def write_table(root: str, name: str, table: pa.Table, storage: Storage) -> str:
    """Writes one of the small tables and returns the SHA-256 of its bytes, in hex."""
    data = encode_table(table)
    _replace(root, name, memoryview(data), storage)
    return hashlib.sha256(data).hexdigest()


def encode_table(table: pa.Table) -> pa.Buffer:
    """One of the small tables as a Parquet file; the same bytes for the same table."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def write_manifest(root: str, manifest: Mapping[str, Any], storage: Storage) -> None:
    """Writes the manifest: sorted, indented, one trailing newline."""
    text = json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False)
    _replace(root, MANIFEST, (text + "\n").encode(), storage)


def read_manifest(root: str, storage: Storage) -> dict[str, Any] | None:
    """The manifest, or None where there is none."""
    try:
        with storage.open(join(root, MANIFEST)) as stream:
            manifest: dict[str, Any] = json.loads(stream.read())
    except FileNotFoundError:
        return None
    return manifest


def final_manifest(
    conclusion: Conclusion, totals: RunTotals, digests: Mapping[str, str]
) -> dict[str, Any]:
    """What ran, on what, with what result.

    Args:
      conclusion: What was known when the run began.
      totals: What its blocks add up to.
      digests: SHA-256 of each file written beside the maps, by name.
    """
    now = time.time()
    over_budget = totals.failed_fraction > conclusion.max_failed_fraction
    return {
        **conclusion.manifest,
        "status": "failed" if over_budget else "complete",
        "records_read": totals.records_read,
        "explained_examples": totals.explained_examples,
        "failed_records": totals.failed_records,
        "failed_fraction": totals.failed_fraction,
        "maps": totals.maps,
        "blocks": totals.blocks,
        "map_bytes": totals.map_bytes,
        "maps_digest": f"{totals.digest:016x}",
        "blocks_resumed": totals.blocks - totals.blocks_made,
        "wall_seconds": round(now - conclusion.started, 3),
        "examples_per_second": totals.examples_per_second,
        "finished": datetime.datetime.fromtimestamp(now, datetime.timezone.utc).isoformat(),
        "digests": dict(digests),
    }


def _replace(root: str, name: str, data: bytes | memoryview, storage: Storage) -> None:
    temporary = join(root, TEMPORARY_FOLDER, f"{uuid.uuid4().hex}-{name.replace('/', '-')}")
    try:
        storage.replace(temporary, join(root, name), data)
    except OSError as error:
        raise RunError(f"{join(root, name)} cannot be written ({error})") from error
