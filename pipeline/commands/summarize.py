"""Rebuilds what finishes an atlas from its maps folder alone."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from typing import Any

from pipeline.run.lease import claimed
from transforms.elements import CommittedBlock, Shard
from transforms.errors import RunError
from transforms.storage import Storage, join
from transforms.store.blocks import (
    UntrustedBlockError,
    list_blocks,
    missing_blocks,
    read_committed,
)
from transforms.store.layout import CLASSES, block_path
from transforms.store.lease_file import lease_path
from transforms.store.manifest import Manifest, existing_manifest
from transforms.store.outcome.summary import AtlasSummary
from transforms.store.publishing import publish, warn_of_left_out
from transforms.store.tables import final_tables


def summarize(atlas_path: str, storage: Storage) -> dict[str, Any]:
    """Rebuilds statistics and failures of an atlas from its maps, byte for byte.

    Args:
      atlas_path: The atlas.
      storage: Where it is.

    Returns:
      Counts of what the maps hold, the digests of the files written, and under `unchanged` whether
      they are what the manifest recorded (None for an atlas that was never finished).

    Raises:
      ConfigurationError: There is no atlas, or a run works on it.
      RunError: A file in the maps folder is damaged or not of this atlas.
    """
    root = storage.absolute(atlas_path)
    manifest = existing_manifest(root, storage)
    run = uuid.uuid4().hex
    with claimed(root, run, storage):
        summary = AtlasSummary(manifest.stored, manifest.has_given_ids)
        for shard in manifest.input_files:
            for block in _blocks_of(root, shard, manifest, storage):
                summary.add(block)
        statistics = summary.statistics(manifest.class_names)
        warn_of_left_out(statistics.left_out)
        published = publish(
            root,
            final_tables(statistics, summary.record.failures(), manifest.sample),
            lambda digests: manifest.recounted(summary.record, digests, statistics.left_out),
            storage,
            run=run,
            lease=lease_path(root, run),
        )
    recorded = None if manifest.result is None else manifest.result.digests
    counted = dataclasses.asdict(summary.record.counts)
    names = (
        "records_read",
        "explained_examples",
        "failed_records",
        "left_out_records",
        "maps",
        "blocks",
    )
    return {
        "atlas": root,
        **{name: counted[name] for name in names},
        "statistics": join(root, CLASSES),
        "digests": dict(published.digests),
        "unchanged": None if recorded is None else recorded == published.digests,
    }


def _blocks_of(
    root: str, shard: Shard, manifest: Manifest, storage: Storage
) -> Iterator[CommittedBlock]:
    """The blocks of an input file, all of them if the atlas was finished."""
    blocks = []
    for file in list_blocks(root, shard, storage):
        try:
            block = read_committed(file, shard, manifest.fingerprint, storage)
        except UntrustedBlockError as error:
            raise RunError(f"{error}: make it anew with run --resume") from error
        blocks.append(block.key)
        yield block
    if manifest.result is not None:
        for number in missing_blocks(blocks):
            raise RunError(
                f"{block_path(root, shard, number)} is missing, so the statistics would not be "
                "those of the atlas: make it anew with run --resume"
            )
