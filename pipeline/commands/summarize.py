"""Rebuilds what finishes an atlas from its maps folder alone."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from pipeline.run.lease import claimed
from transforms.storage import Storage, join
from transforms.store.blocks import list_all_blocks, read_committed
from transforms.store.layout import CLASSES
from transforms.store.lease_file import lease_path
from transforms.store.manifest import existing_manifest
from transforms.store.publishing import publish
from transforms.store.summary import AtlasSummary


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
        summary = AtlasSummary(manifest.stored)
        for file in list_all_blocks(root, storage):
            summary.add(read_committed(file.path, file.size, manifest.fingerprint, storage))
        published = publish(
            root,
            summary.tables(manifest.class_names),
            lambda digests: manifest.recounted(summary.counts, digests),
            storage,
            run=run,
            lease=lease_path(root, run),
        )
    recorded = None if manifest.result is None else manifest.result.digests
    counted = dataclasses.asdict(summary.counts)
    names = ("records_read", "explained_examples", "failed_records", "maps", "blocks")
    return {
        "atlas": root,
        **{name: counted[name] for name in names},
        "statistics": join(root, CLASSES),
        "digests": dict(published.digests),
        "unchanged": None if recorded is None else recorded == published.digests,
    }
