"""Draws a sample: one pass over the ids of all examples, which reads nothing else of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from transforms.elements import Shard
from transforms.formats.reader import read_ids
from transforms.formats.sample import DrawnSample, Sample
from transforms.formats.source import SourceSpec
from transforms.ids import id_hashes
from transforms.process.prefetch import computed_ahead
from transforms.storage import Storage

_READERS = 4  # files read at once, as each may wait for its storage
_SPARE = 1 << 14  # places held before they are sorted out, beside twice the sample


def draw_sample(
    shards: Sequence[Shard], source: SourceSpec, block_size: int, size: int, storage: Storage
) -> DrawnSample:
    """Finds the examples with the smallest hashes of ids.

    Where ids are given, all of the files is read (of Parquet, the column of ids), but no input is
    decoded. Ids that are not given are places, so that records are counted only. Memory: some 50
    bytes per example of the sample and file that is being read.

    Args:
      shards: All files, each once.
      source: What is in them.
      block_size: Records read at a time.
      size: How many examples, at least 1.
      storage: Where the files are.

    Raises:
      RunError: A file cannot be read.
    """
    ordered = sorted(shards, key=lambda shard: shard.folder)

    def smallest_of(rank: int) -> _Smallest:
        found = _Smallest(size)
        for first, ids in read_ids(ordered[rank], source, block_size, storage):
            found.add_ids(rank, first, ids)
        return found

    smallest = _Smallest(size)
    with ThreadPoolExecutor(_READERS, "ids") as pool:
        for found in computed_ahead(smallest_of, range(len(ordered)), pool, _READERS):
            smallest.merge(found)
    if smallest.seen <= size:
        return DrawnSample(size, smallest.seen, None)
    id_hash, rank, record = smallest.last()
    return DrawnSample(size, smallest.seen, Sample(id_hash, ordered[rank].folder, record))


_PLACE = np.dtype([("id_hash", np.uint64), ("rank", np.int64), ("record", np.int64)])
"""An example: its id's hash, which of the files it is in, by their folders' order, and where."""


class _Smallest:
    """The first of many places, in their order.

    Attributes:
      seen: How many were added.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._parts: list[npt.NDArray[np.void]] = []
        self._held = 0
        self._largest: np.uint64 | None = None  # hash that still counts; None while all do
        self.seen = 0

    def add_ids(self, rank: int, first: int, ids: Sequence[str | None]) -> None:
        """Adds the examples of consecutive records; what has no id is none."""
        rows = [row for row, name in enumerate(ids) if name is not None]
        places = np.zeros(len(rows), _PLACE)
        places["id_hash"] = id_hashes(name for name in ids if name is not None)
        places["rank"] = rank
        places["record"] = np.array(rows, np.int64) + first
        self._add(places)
        self.seen += len(places)

    def merge(self, other: _Smallest) -> None:
        """Adds those of another one."""
        for part in other._parts:
            self._add(part)
        self.seen += other.seen

    def last(self) -> tuple[int, int, int]:
        """The hash, file and record of the last of them; as many have been added."""
        self._cut()
        id_hash, rank, record = self._parts[0][-1].tolist()
        return id_hash, rank, record

    def _add(self, places: npt.NDArray[np.void]) -> None:
        if self._largest is not None:
            places = places[places["id_hash"] <= self._largest]
        self._parts.append(places)
        self._held += len(places)
        if self._held > 2 * self._size + _SPARE:
            self._cut()

    def _cut(self) -> None:
        held = np.concatenate(self._parts)
        order = np.lexsort((held["record"], held["rank"], held["id_hash"]))
        kept = held[order[: self._size]]
        self._parts, self._held = [kept], len(kept)
        if len(kept) == self._size:
            self._largest = kept["id_hash"][-1]
