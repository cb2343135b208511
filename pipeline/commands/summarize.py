"""Rebuilds what finishes an atlas from its maps folder alone."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any

from pipeline.run.lease import claimed
from transforms.errors import ConfigurationError
from transforms.storage import Storage, join
from transforms.store.blocks import list_all_blocks, read_committed
from transforms.store.layout import CLASSES, MANIFEST
from transforms.store.manifest import read_manifest
from transforms.store.map_format import MapFormat
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
    manifest = read_manifest(root, storage)
    if manifest is None:
        raise ConfigurationError(
            f"{atlas_path} is no atlas: it has no {MANIFEST}; give the output.path of a run"
        )
    with claimed(root, uuid.uuid4().hex, storage):
        summary = AtlasSummary(recorded_format(manifest))
        for file in list_all_blocks(root, storage):
            summary.add(read_committed(file.path, file.size, manifest["fingerprint"], storage))
        digests = summary.write(root, manifest["class_names"], storage)
    recorded = manifest.get("digests")
    return {
        "atlas": root,
        **{
            name: value
            for name, value in dataclasses.asdict(summary.counts).items()
            if name in ("records_read", "explained_examples", "failed_records", "maps", "blocks")
        },
        "statistics": join(root, CLASSES),
        "digests": digests,
        "unchanged": None if recorded is None else recorded == digests,
    }


def recorded_format(manifest: Mapping[str, Any]) -> MapFormat:
    """What an atlas stores of a map, by its manifest."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in manifest["map_format"].items()
    }
    return MapFormat(**fields)
