"""Which examples an experiment is made with: none that had a part in finding the candidate."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
from collections.abc import Iterator

import pyarrow.compute as pc

from pipeline.atlas import Atlas
from pipeline.rereading import Place
from transforms.statistics.groups.folds import folds_of


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Examples of half b, the odd folds.

    Attributes:
      own: Of the class, explained for it.
      others: Of other classes.
    """

    own: tuple[Place, ...]
    others: tuple[Place, ...]


def choose_examples(atlas: Atlas, target: int, count: int) -> Chosen:
    """The examples with the smallest SHA-256 of their ids: a sample that any run draws again.

    Args:
      atlas: The atlas.
      target: The class.
      count: How many of the class, and of the others, at most.
    """
    is_own = pc.field("label") == target
    own = _places(atlas, is_own & (pc.field("target") == target))
    others = _places(atlas, ~is_own)  # Without a label it is neither.
    return Chosen(_smallest(own, count), _smallest(others, count))


def _places(atlas: Atlas, where: pc.Expression) -> Iterator[Place]:
    """Places in odd folds; one that has several maps comes as often."""
    for shard in atlas.shards:
        for batch in atlas.batches(["example_id", "record"], where, shard.folder):
            ids, records = batch["example_id"].to_pylist(), batch["record"].to_pylist()
            for name, record, fold in zip(ids, records, folds_of(ids).tolist(), strict=True):
                if fold % 2:
                    yield Place(shard.folder, record, name)


def _smallest(places: Iterator[Place], count: int) -> tuple[Place, ...]:
    digests = {_digest(place): place for place in places}
    return tuple(digests[digest] for digest in heapq.nsmallest(count, digests))


def _digest(place: Place) -> bytes:
    """Of an id; examples that share one are told apart by their places."""
    named = hashlib.sha256(place.example_id.encode(errors="surrogatepass")).digest()
    return named + f"{place.folder}:{place.record}".encode(errors="surrogatepass")
