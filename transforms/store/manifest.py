"""The manifest: what ran, on what, with what result."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from collections.abc import Mapping
from typing import Any

from transforms.storage import Storage, join
from transforms.store.counts import RunCounts
from transforms.store.files import replace_file
from transforms.store.layout import MANIFEST


@dataclasses.dataclass(frozen=True)
class Publication:
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


def write_manifest(root: str, manifest: Mapping[str, Any], storage: Storage) -> None:
    """Writes the manifest: sorted, indented, one trailing newline."""
    text = json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False)
    replace_file(root, MANIFEST, (text + "\n").encode(), storage)


def read_manifest(root: str, storage: Storage) -> dict[str, Any] | None:
    """The manifest, or None where there is none."""
    try:
        with storage.open(join(root, MANIFEST)) as stream:
            manifest: dict[str, Any] = json.loads(stream.read())
    except FileNotFoundError:
        return None
    return manifest


def final_manifest(
    publication: Publication, counts: RunCounts, digests: Mapping[str, str]
) -> dict[str, Any]:
    """What ran, on what, with what result.

    Args:
      publication: What was known when the run began.
      counts: What its blocks add up to.
      digests: SHA-256 of each file written beside the maps, by name.
    """
    now = time.time()
    over_budget = counts.failed_fraction > publication.max_failed_fraction
    return {
        **publication.manifest,
        "status": "failed" if over_budget else "complete",
        "records_read": counts.records_read,
        "explained_examples": counts.explained_examples,
        "failed_records": counts.failed_records,
        "failed_fraction": counts.failed_fraction,
        "maps": counts.maps,
        "blocks": counts.blocks,
        "map_bytes": counts.map_bytes,
        "maps_digest": f"{counts.digest:016x}",
        "blocks_resumed": counts.blocks - counts.blocks_made,
        "wall_seconds": round(now - publication.started, 3),
        "examples_per_second": counts.examples_per_second,
        "finished": datetime.datetime.fromtimestamp(now, datetime.timezone.utc).isoformat(),
        "digests": dict(digests),
    }
