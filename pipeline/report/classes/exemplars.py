"""Which examples stand for a class, by rules that need no judgement, in one pass over the maps.

Memory holds the chosen ones alone, whatever the number of maps. Of equal ones the first in the
order of files and rows is taken, so that the same atlas gives the same examples.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.atlas import Atlas
from pipeline.pictures import in_times_uniform, pooled
from pipeline.report.drawing.regions import Region
from transforms.codec import decode
from transforms.store.map_format import MAP, THUMBNAIL, map_codes, tensor_values

TYPICAL, ATYPICAL, WRONG, IN_PLACE = "typical", "atypical", "wrong", "in place"
_HIGHEST = "highest "
LONGEST_MAP = 64
"""Pixels of a map's longer side on the page."""

_NAMED = ("example_id", "shard", "record", "label", "target", "predicted", "predicted_score")

Floats = npt.NDArray[np.floating]


@dataclasses.dataclass(frozen=True)
class Exemplar:
    """An example chosen to stand for others.

    Attributes:
      example_id: Its id.
      shard: The input file's name.
      record: Its number there.
      label: Its class, None without one.
      target: The class explained.
      predicted: The largest output's class; None where the model gives no classes.
      predicted_score: The output there.
      statistics: Of its map, by name; None where undefined.
      plane: (H, W) its map in times uniform.
      thumbnail: A JPEG of the input; None where the atlas has none.
    """

    example_id: str
    shard: str
    record: int
    label: int | None
    target: int
    predicted: int | None
    predicted_score: float | None
    statistics: Mapping[str, float | None]
    plane: npt.NDArray[np.float64]
    thumbnail: bytes | None

    @property
    def is_wrong(self) -> bool:
        """Whether the model takes it for another class than its label."""
        return None not in (self.label, self.predicted) and self.label != self.predicted


@dataclasses.dataclass(frozen=True)
class Selection:
    """What is chosen, and how much is kept of it.

    Attributes:
      statistics: Those of which each class shows the highest examples.
      per_rule: How many examples each rule gives.
      per_rule_of: The same for some classes, by their number.
      whole_maps: Whether maps are shown as they are stored; else as their sketches, and no
        atypical ones: there are many classes.
      longest: Pixels of a map's longer side, above which it is pooled; None for as it is.
      regions: By class, `(y0, x0, y1, x1)` in 0..1: a place whose strongest examples are shown.
      ids: Examples that are shown whatever the rules choose.
      has_outcomes: Whether predictions are right or wrong, which takes labels and classes.
    """

    statistics: tuple[str, ...]
    per_rule: int
    per_rule_of: Mapping[int, int]
    whole_maps: bool
    longest: int | None = LONGEST_MAP
    regions: Mapping[int, Region] = dataclasses.field(default_factory=dict)
    ids: frozenset[str] = frozenset()
    has_outcomes: bool = True

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of the rules, in the order in which they are shown."""
        atypical = (ATYPICAL,) if self.whole_maps else ()
        in_place = (IN_PLACE,) if self.regions else ()
        highest_of = (highest(name) for name in self.statistics)
        return (TYPICAL, WRONG, *atypical, *highest_of, *in_place)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The exemplars of all classes.

    Attributes:
      by_rule: By class and rule, the best first; a rule that finds none is left out.
      by_id: Those that were asked for, by class explained and id; of equal ids the first.
    """

    by_rule: Mapping[int, Mapping[str, Sequence[Exemplar]]]
    by_id: Mapping[tuple[int, str], Exemplar]


def highest(statistic: str) -> str:
    """The rule that takes the examples with the highest value of a statistic."""
    return _HIGHEST + statistic


@dataclasses.dataclass(frozen=True, order=True)
class _Place:
    """A row of an atlas: the file's number, the row in it."""

    file: int
    row: int


class _Best:
    """The best few of each class by one rule: those with the smallest costs."""

    def __init__(self, classes: int, sizes: npt.NDArray[np.int64]) -> None:
        self._sizes = sizes
        self._heaps: list[list[tuple[float, int, int]]] = [[] for _ in range(classes)]
        self._worst = np.where(sizes > 0, np.inf, -np.inf)

    def add(self, file: int, first: int, classes: npt.NDArray[np.intp], costs: Floats) -> None:
        """Takes in rows of a file; NaN is no candidate."""
        for row in np.flatnonzero(costs < self._worst[classes]).tolist():
            number = int(classes[row])
            cost = float(costs[row])
            heap = self._heaps[number]
            # The root is the worst: largest cost, then latest place.
            entry = (-cost, -file, -(first + row))
            if len(heap) < self._sizes[number]:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)
            if len(heap) == self._sizes[number]:
                self._worst[number] = -heap[0][0]

    def places(self, number: int) -> list[_Place]:
        """Where a class's are, the best first."""
        return [_Place(-file, -row) for _, file, row in sorted(self._heaps[number], reverse=True)]


def choose(atlas: Atlas, mean_maps: Mapping[int, Floats], selection: Selection) -> Chosen:
    """Chooses the exemplars of all classes.

    Args:
      atlas: The atlas.
      mean_maps: By class, of unit mass; its classes are those that have exemplars.
      selection: What is chosen.

    Returns:
      The exemplars; in one pass over the maps' rows, and one over the rows that were chosen.
    """
    if not mean_maps:
        return Chosen({}, {})
    places, named = _places(atlas, mean_maps, selection)
    wanted = sorted(
        {place for rules in places.values() for found in rules.values() for place in found}
        | {*named.values()}
    )
    exemplars = dict(zip(wanted, _read(atlas, wanted, selection), strict=True))
    by_rule = {
        number: {rule: [exemplars[place] for place in found] for rule, found in rules.items()}
        for number, rules in places.items()
    }
    return Chosen(by_rule, {key: exemplars[place] for key, place in named.items()})


Places = dict[int, dict[str, list[_Place]]]


def _places(
    atlas: Atlas, mean_maps: Mapping[int, Floats], selection: Selection
) -> tuple[Places, dict[tuple[int, str], _Place]]:
    numbers = np.array(sorted(mean_maps))
    means = np.stack([mean_maps[number].reshape(-1) for number in numbers]).astype(np.float32)
    regions = _region_shares(numbers, mean_maps, selection)
    sizes = np.array([selection.per_rule_of.get(int(n), selection.per_rule) for n in numbers])
    best = {rule: _Best(len(numbers), sizes) for rule in selection.rules}
    named: dict[tuple[int, str], _Place] = {}
    ids = pa.array(sorted(selection.ids), pa.string())
    columns = ["label", "target", "predicted", "predicted_score", "sketch", *selection.statistics]
    columns += ["example_id"] if len(ids) else []
    for number, path in enumerate(atlas.block_paths):
        first = 0
        for batch in atlas.open_block(path).iter_batches(columns=columns):
            targets = batch.column("target").to_numpy()
            classes = np.searchsorted(numbers, targets)
            classes = np.minimum(classes, len(numbers) - 1)
            known = numbers[classes] == targets
            for rule, costs in _costs(batch, means[classes], regions, classes, selection):
                if rule in best:
                    best[rule].add(number, first, classes, np.where(known, costs, np.nan))
            if len(ids):
                found = pc.is_in(batch.column("example_id"), ids).to_numpy(zero_copy_only=False)
                for row in np.flatnonzero(found).tolist():
                    key = (int(targets[row]), batch.column("example_id")[row].as_py())
                    named.setdefault(key, _Place(number, first + row))
            first += batch.num_rows
    places = {
        int(number): {
            rule: found for rule in selection.rules if (found := best[rule].places(place))
        }
        for place, number in enumerate(numbers)
    }
    return places, named


def _region_shares(
    numbers: npt.NDArray[np.int64], mean_maps: Mapping[int, Floats], selection: Selection
) -> Floats:
    """(classes, cells) how much of each cell is in the class's region; NaN without one."""
    shape = next(iter(mean_maps.values())).shape
    shares = np.full((len(numbers), math.prod(shape)), np.nan, np.float32)
    for place, number in enumerate(numbers.tolist()):
        if number in selection.regions:
            top, left, bottom, right = selection.regions[number]
            rows = _overlap(shape[0], top, bottom)
            columns = _overlap(shape[1], left, right)
            shares[place] = np.outer(rows, columns).reshape(-1)
    return shares


def _overlap(cells: int, low: float, high: float) -> Floats:
    """(cells,) how much of each of so many equal parts of 0..1 is between two numbers."""
    edges = np.linspace(0, 1, cells + 1)
    shared = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    shares: Floats = np.clip(shared * cells, 0, 1)
    return shares


def _costs(
    batch: pa.RecordBatch,
    means: Floats,
    regions: Floats,
    classes: npt.NDArray[np.intp],
    selection: Selection,
) -> Iterator[tuple[str, Floats]]:
    """For each rule the rows' costs: the smaller the better, NaN where the rule is not for them."""
    sketches = tensor_values(batch.column("sketch")).reshape(batch.num_rows, -1)
    totals = sketches.sum(axis=1, dtype=np.int64).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        masses = sketches / totals[:, np.newaxis]
        distances = np.abs(masses - means).sum(axis=1)
    labels = _floats(batch, "label")
    predicted = _floats(batch, "predicted")
    wrong = (labels != predicted) & ~np.isnan(labels) & ~np.isnan(predicted)
    # A class's label decides whether its target is explained for right or wrong ones.
    yield TYPICAL, np.where(wrong, np.nan, distances)
    yield ATYPICAL, -distances
    yield WRONG, np.where(wrong, -_floats(batch, "predicted_score"), np.nan)
    for name in selection.statistics:
        yield highest(name), -_floats(batch, name)
    if selection.regions:
        yield IN_PLACE, -np.einsum("ij,ij->i", masses, regions[classes])


def _floats(batch: pa.RecordBatch, name: str) -> npt.NDArray[np.float64]:
    column = batch.column(name).to_numpy(zero_copy_only=False)
    values: npt.NDArray[np.float64] = column.astype(np.float64)
    return values


def _read(atlas: Atlas, places: Sequence[_Place], selection: Selection) -> Iterator[Exemplar]:
    """The rows at some places, in their order."""
    paths = atlas.block_paths
    start = 0
    while start < len(places):
        stop = start
        while stop < len(places) and places[stop].file == places[start].file:
            stop += 1
        rows = [place.row for place in places[start:stop]]
        yield from _read_block(atlas.open_block(paths[places[start].file]), rows, selection)
        start = stop


def _read_block(
    block: pq.ParquetFile, rows: Sequence[int], selection: Selection
) -> Iterator[Exemplar]:
    names = block.schema_arrow.names
    pictures = [MAP, "map_scale"] if selection.whole_maps else ["sketch"]
    columns = [*_NAMED, *selection.statistics, *pictures, *({THUMBNAIL} & {*names})]
    first = 0
    for group in range(block.num_row_groups):
        size = block.metadata.row_group(group).num_rows
        here = [row - first for row in rows if first <= row < first + size]
        if here:
            yield from _exemplars(block.read_row_group(group, columns).take(here), selection)
        first += size


def _exemplars(table: pa.Table, selection: Selection) -> Iterator[Exemplar]:
    planes: Sequence[Floats]
    if selection.whole_maps:
        planes = list(decode(map_codes(table), table["map_scale"].to_numpy()))
    else:
        planes = list(tensor_values(table["sketch"]).astype(np.float64))
    keep = [name for name in table.column_names if name not in (MAP, "sketch", "map_scale")]
    for row, plane in zip(table.select(keep).to_pylist(), planes, strict=True):
        yield _exemplar(row, plane, selection)


def _exemplar(row: Mapping[str, Any], plane: Floats, selection: Selection) -> Exemplar:
    score = row["predicted_score"]
    multiples = in_times_uniform(plane)
    return Exemplar(
        **{name: row[name] for name in _NAMED if name != "predicted_score"},
        predicted_score=None if score is None or not math.isfinite(score) else score,
        statistics={name: row[name] for name in selection.statistics},
        plane=multiples if selection.longest is None else pooled(multiples, selection.longest),
        thumbnail=row.get(THUMBNAIL),
    )
