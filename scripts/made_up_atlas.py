"""Atlases whose maps are made up, in the real files: what their makers in scripts and tests share.

No model is needed for them, and nothing waits for the disk, as no power cut is to be survived.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transforms.disk import SystemDisk
from transforms.elements import ExplainedBlock, Shard
from transforms.storage import LocalStorage
from transforms.store.blocks import commit_block
from transforms.store.layout import FORMAT_VERSION
from transforms.store.lease_file import run_folder
from transforms.store.manifest import Manifest, RecordedMapFormat, RecordedShard, Status
from transforms.store.map_format import MapFormat
from transforms.store.outcome.result import RunResult, timestamp
from transforms.store.outcome.summary import AtlasSummary
from transforms.store.publishing import publish
from transforms.store.tables import final_tables

FINGERPRINT = "made up"
RUN = "0" * 32


class UnsyncedDisk(SystemDisk):
    """A disk that is not waited for."""

    def sync(self, file: int) -> None:
        """Waits for nothing."""

    def sync_folder(self, path: str) -> None:
        """Waits for nothing."""


def made_up_manifest(
    map_format: MapFormat,
    *,
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    shards: Sequence[Shard] = (),
    class_names: Sequence[str] = (),
    versions: Mapping[str, str] | None = None,
) -> Manifest:
    """The manifest of a run that has begun.

    Args:
      map_format: What is stored of a map.
      settings: What the maps' bytes are said to depend on.
      config: What is said to be the configuration.
      shards: What are said to be the input files.
      class_names: By class index.
      versions: Of what is said to have made the atlas.
    """
    return Manifest(
        format=FORMAT_VERSION,
        status="incomplete",
        fingerprint=FINGERPRINT,
        settings=dict(settings),
        config=dict(config),
        model={},
        shards=[RecordedShard.of(shard) for shard in shards],
        map_format=RecordedMapFormat.of(map_format),
        class_names=list(class_names),
        engine="tensorflow",
        engine_notes=[],
        engine_agreement=None,
        batch_size=8,
        batch_size_measured=None,
        threads=2,
        runner="in_memory",
        started=timestamp(1_780_000_000),
        versions=dict(versions or {}),
    )


def begin_blocks(root: Path) -> LocalStorage:
    """Makes an atlas's folder ready for `commit_block`; returns where it is."""
    storage = LocalStorage(UnsyncedDisk())
    storage.make_folder(run_folder(str(root), RUN))
    return storage


def write_made_up(
    root: Path,
    manifest: Manifest,
    blocks: Iterable[ExplainedBlock],
    *,
    status: Status = "complete",
) -> None:
    """Writes an atlas.

    Args:
      root: Its folder, to be made.
      manifest: Such as `made_up_manifest` makes.
      blocks: Its maps, of the input files that the manifest names.
      status: What the manifest is to say; where it is `incomplete`, there are no tables.
    """
    storage, summary = begin_blocks(root), AtlasSummary(manifest.stored, manifest.has_given_ids)
    for block in blocks:
        summary.add(commit_block(str(root), block, manifest.fingerprint, storage, RUN))

    def ended(digests: Mapping[str, str]) -> Manifest:
        result = RunResult.of(summary.record, digests, time.time(), time.time())
        return manifest if status == "incomplete" else manifest.ended(result, status)

    tables = {}
    if status != "incomplete":
        statistics = summary.statistics(manifest.class_names)
        tables = final_tables(statistics, summary.record.failures(), manifest.sample)
    publish(str(root), tables, ended, storage, run=RUN)
    storage.delete(run_folder(str(root), RUN))
