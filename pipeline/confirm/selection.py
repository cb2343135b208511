"""Which examples are shown to the model: in an experiment none that had a part in the finding."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow.compute as pc

from pipeline.atlas import Atlas
from pipeline.confirm.interventions import Mask
from pipeline.rereading import Place
from transforms.codec import decode
from transforms.statistics.groups.folds import folds_of
from transforms.statistics.peak_windows import peak_square
from transforms.store.map_format import MAP, map_codes

_WITH_CHANNELS = 4  # Axes of maps (N, H, W, C), made with reducer none.


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


def choose_labelled(atlas: Atlas, label: int, count: int) -> tuple[Place, ...]:
    """The examples of a class, whatever they were explained for, chosen in the same way.

    Args:
      atlas: The atlas.
      label: The class.
      count: How many at most.
    """
    return _smallest(_places(atlas, pc.field("label") == label), count)


def choose_for_screening(atlas: Atlas, target: int, count: int) -> tuple[Place, ...]:
    """Examples of half a that the model takes for their class, to screen proposals with.

    Args:
      atlas: The atlas.
      target: The class.
      count: How many at most.
    """
    same = [pc.field(name) == target for name in ("label", "target", "predicted")]
    return _smallest(_places(atlas, same[0] & same[1] & same[2], half=0), count)


def peak_masks(atlas: Atlas, places: Sequence[Place]) -> dict[Place, Mask]:
    """Where the map of each example's label peaks: the square that its peak window was made of.

    Args:
      atlas: The atlas, of images whose maps have two sides of at least 11.
      places: Of the examples.

    Returns:
      (H, W) masks; none of an example whose map is all zero.
    """
    found: dict[Place, Mask] = {}
    columns = ["example_id", "record", MAP, "map_scale"]
    by_folder: dict[str, dict[tuple[int, str], Place]] = {}
    for place in places:
        named = by_folder.setdefault(place.folder, {})
        named[place.record, place.example_id] = place
    for folder, wanted in by_folder.items():
        is_wanted = pc.field("record").isin([record for record, _ in wanted])
        where = (pc.field("target") == pc.field("label")) & is_wanted
        for batch in atlas.batches(columns, where, folder):
            values = np.abs(decode(map_codes(batch), batch["map_scale"].to_numpy()))
            if values.ndim == _WITH_CHANNELS:
                values = values.max(axis=-1)
            keys = zip(batch["record"].to_pylist(), batch["example_id"].to_pylist(), strict=True)
            for key, each in zip(keys, values, strict=True):
                if key in wanted and each.any():
                    found[wanted[key]] = peak_square(each)
    return found


def _places(atlas: Atlas, where: pc.Expression, half: int = 1) -> Iterator[Place]:
    """Places in odd folds, or of half 0 in even ones; one with several maps comes as often."""
    for shard in atlas.shards:
        for batch in atlas.batches(["example_id", "record"], where, shard.folder):
            ids, records = batch["example_id"].to_pylist(), batch["record"].to_pylist()
            for name, record, fold in zip(ids, records, folds_of(ids).tolist(), strict=True):
                if fold % 2 == half:
                    yield Place(shard.folder, record, name)


def _smallest(places: Iterator[Place], count: int) -> tuple[Place, ...]:
    digests = {_digest(place): place for place in places}
    return tuple(digests[digest] for digest in heapq.nsmallest(count, digests))


def _digest(place: Place) -> bytes:
    """Of an id; examples that share one are told apart by their places."""
    named = hashlib.sha256(place.example_id.encode(errors="surrogatepass")).digest()
    return named + f"{place.folder}:{place.record}".encode(errors="surrogatepass")
