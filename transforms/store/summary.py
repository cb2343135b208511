"""Committed blocks, added up to what stands beside the maps."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from transforms.elements import CommittedBlock, Failure
from transforms.statistics.classes import ClassAccumulator, classes_table
from transforms.statistics.rows import rows_by_class
from transforms.storage import Storage
from transforms.store.counts import RunCounts
from transforms.store.layout import CLASSES, FAILURES
from transforms.store.lease_file import check_lease
from transforms.store.manifest import Publication, final_manifest, write_manifest
from transforms.store.map_format import MapFormat
from transforms.store.tables import failures_table, write_table


class AtlasSummary:
    """Adds committed blocks up, in any order, to what stands beside the maps.

    Args:
      map_format: What is stored of a map.
    """

    def __init__(self, map_format: MapFormat) -> None:
        self._format = map_format
        self._classes: dict[int, ClassAccumulator] = {}
        self._failures: list[Failure] = []
        self.counts = RunCounts()

    def add(self, block: CommittedBlock) -> None:
        """Adds a block."""
        self.counts = self.counts.merge(RunCounts.of(block))
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
            CLASSES: statistics,
            FAILURES: failures_table(self._failures),
        }

    def write(self, root: str, class_names: Sequence[str], storage: Storage) -> dict[str, str]:
        """Writes statistics and failures; returns the SHA-256 of each, by name."""
        return {
            name: write_table(root, name, table, storage)
            for name, table in self.tables(class_names).items()
        }

    def publish(
        self, publication: Publication, class_names: Sequence[str], storage: Storage
    ) -> None:
        """Writes statistics, failures and, last, the manifest."""
        check_lease(publication.lease, storage)
        digests = self.write(publication.root, class_names, storage)
        manifest = final_manifest(publication, self.counts, digests)
        write_manifest(publication.root, manifest, storage)
