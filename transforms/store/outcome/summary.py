"""Committed blocks, added up to what stands beside the maps."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from transforms.elements import CommittedBlock
from transforms.statistics.classes import ClassAccumulator
from transforms.statistics.rows import rows_by_class
from transforms.store.map_format import MapFormat
from transforms.store.outcome.record import AtlasRecord
from transforms.store.tables import final_tables


class AtlasSummary:
    """Adds committed blocks up, in any order, to what stands beside the maps.

    Args:
      map_format: What is stored of a map.
      with_ids: Whether ids were given.

    Attributes:
      record: All but the statistics.
    """

    def __init__(self, map_format: MapFormat, with_ids: bool) -> None:
        self._format = map_format
        self._classes: dict[int, ClassAccumulator] = {}
        self.record = AtlasRecord(with_ids)

    def add(self, block: CommittedBlock) -> None:
        """Adds a block."""
        self.record.add(block)
        for number, rows in rows_by_class(block.summary):
            if number not in self._classes:
                self._classes[number] = ClassAccumulator(
                    self._format.sketch_shape, self._format.with_boxes
                )
            self._classes[number].add(rows)

    def tables(self, class_names: Sequence[str]) -> dict[str, pa.Table]:
        """Statistics and failures, by the name of their file."""
        rows = [(number, sums.finish()) for number, sums in self._classes.items()]
        return final_tables(rows, self.record.failures(), self._format, class_names)
