"""Committed blocks, added up to what stands beside the maps."""

from __future__ import annotations

from collections.abc import Sequence

from transforms.elements import CommittedBlock
from transforms.statistics.groups.sums import StatisticsTables
from transforms.store.map_format import MapFormat
from transforms.store.outcome.record import AtlasRecord


class AtlasSummary:
    """Adds committed blocks up, in any order, to what stands beside the maps.

    Args:
      map_format: What is stored of a map.
      with_ids: Whether ids were given.

    Attributes:
      record: All but the statistics.
    """

    def __init__(self, map_format: MapFormat, with_ids: bool) -> None:
        self._sums = map_format.no_sums()
        self.record = AtlasRecord(with_ids)

    def add(self, block: CommittedBlock) -> None:
        """Adds a block."""
        self.record.add(block)
        self._sums.add(block.summary)

    def statistics(self, class_names: Sequence[str]) -> StatisticsTables:
        """What the statistics come to."""
        return self._sums.tables(class_names)
