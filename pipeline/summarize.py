"""Rebuilds what finishes an atlas from its maps folder alone."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.lease import claimed
from transforms import mapstore, results
from transforms.elements import CommittedBlock, Failure
from transforms.errors import ConfigurationError
from transforms.mapstore import MapFormat, check_lease
from transforms.results import Conclusion, read_manifest
from transforms.statistics.classes import ClassAccumulator, classes_table
from transforms.statistics.rows import rows_by_class
from transforms.storage import Storage, join
from transforms.totals import RunTotals


class AtlasSummary:
    """Adds committed blocks up, in any order, to what stands beside the maps.

    Args:
      map_format: What is stored of a map.
    """

    def __init__(self, map_format: MapFormat) -> None:
        self._format = map_format
        self._classes: dict[int, ClassAccumulator] = {}
        self._failures: list[Failure] = []
        self.totals = RunTotals()

    def add(self, block: CommittedBlock) -> None:
        """Adds a block."""
        self.totals = self.totals.merge(RunTotals.of(block))
        self._failures += block.failures
        for number, rows in rows_by_class(block.summary):
            if number not in self._classes:
                self._classes[number] = ClassAccumulator(
                    self._format.sketch_shape, self._format.with_boxes
                )
            self._classes[number].add(rows)

    def tables(self, class_names: Sequence[str]) -> dict[str, pa.Table]:
        """Statistics and failures, by the name of their file."""
        statistics = classes_table(
            [(number, sums.finish()) for number, sums in self._classes.items()],
            self._format.sketch_shape,
            self._format.with_boxes,
            class_names,
        )
        return {
            results.CLASSES: statistics,
            results.FAILURES: results.failures_table(self._failures),
        }

    def write(self, root: str, class_names: Sequence[str], storage: Storage) -> dict[str, str]:
        """Writes statistics and failures; returns the SHA-256 of each, by name."""
        return {
            name: results.write_table(root, name, table, storage)
            for name, table in self.tables(class_names).items()
        }

    def publish(self, conclusion: Conclusion, class_names: Sequence[str], storage: Storage) -> None:
        """Writes statistics, failures and, last, the manifest."""
        check_lease(conclusion.lease, storage)
        digests = self.write(conclusion.root, class_names, storage)
        manifest = results.final_manifest(conclusion, self.totals, digests)
        results.write_manifest(conclusion.root, manifest, storage)


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
            f"{atlas_path} is no atlas: it has no {results.MANIFEST}; give the output.path of a run"
        )
    with claimed(root, uuid.uuid4().hex, storage):
        summary = AtlasSummary(recorded_format(manifest))
        for file in mapstore.list_all_blocks(root, storage):
            summary.add(
                mapstore.read_committed(file.path, file.size, manifest["fingerprint"], storage)
            )
        digests = summary.write(root, manifest["class_names"], storage)
    recorded = manifest.get("digests")
    return {
        "atlas": root,
        **{
            name: value
            for name, value in dataclasses.asdict(summary.totals).items()
            if name in ("records_read", "explained_examples", "failed_records", "maps", "blocks")
        },
        "statistics": join(root, results.CLASSES),
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
