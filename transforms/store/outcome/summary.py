"""Committed blocks, added up to what stands beside the maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transforms.elements import CommittedBlock
from transforms.statistics.groups.sums import StatisticsTables
from transforms.store.map_format import MapFormat
from transforms.store.outcome.record import AtlasRecord


class AtlasSummary:
    """Sums over committed blocks: a monoid, exact and the same in any order.

    Args:
      map_format: What is stored of a map.
      with_ids: Whether ids were given.

    Attributes:
      record: All but the statistics.
    """

    def __init__(self, map_format: MapFormat, with_ids: bool) -> None:
        self._map_format = map_format
        self._with_ids = with_ids
        self._sums = map_format.no_sums()
        self.record = AtlasRecord(with_ids)

    def add(self, block: CommittedBlock) -> None:
        """Adds a block."""
        self.record.add(block)
        self._sums.add(block.summary)

    def merge(self, other: AtlasSummary) -> None:
        """Adds the sums of another, of the same atlas."""
        self.record.merge(other.record)
        self._sums.merge(other._sums)

    def parts(self, count: int) -> Iterator[tuple[int, AtlasSummary]]:
        """Takes the statistics apart by class modulo `count`; merged, the parts are the whole.

        Yields:
          (number, part), less the parts without anything in them; the record is in the first.
        """
        for number, sums in self._sums.parts(count):
            part = AtlasSummary(self._map_format, self._with_ids)
            part._sums = sums
            if number == 0:
                part.record = self.record
            yield number, part

    def statistics(self, class_names: Sequence[str]) -> StatisticsTables:
        """What the statistics come to."""
        return self._sums.tables(class_names)
