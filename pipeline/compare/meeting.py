"""A pair of blocks: the examples that both hold, and how alike their maps are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.compare.pairing import BlockPair, Integers, Open
from pipeline.compare.similarity import Similarity, similarity
from transforms.errors import RunError
from transforms.statistics.groups.rows import NO_CLASS
from transforms.store.map_format import MAP, map_codes, tensor_values

_SKETCH = "sketch"
_ROWS = ("example_id", "shard", "record", "label", "target", "predicted")
_NOT_MET = -1  # as a record's number

Classes = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class MapRule:
    """How maps are met.

    Attributes:
      whole: Whether the maps themselves are; else their sketches.
      signed: Whether both have a sign (`similarity`).
      with_ids: Whether the data name the examples, so that the same place has to have the same id.
    """

    whole: bool
    signed: bool
    with_ids: bool


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Labels and predictions of examples or maps in both atlases; `NO_CLASS` where there is none.

    Attributes:
      labels: (N,) in the first.
      other_labels: (N,) in the second.
      predicted: (N,) in the first.
      other_predicted: (N,) in the second.
    """

    labels: Classes
    other_labels: Classes
    predicted: Classes
    other_predicted: Classes

    def taken(self, places: Integers) -> Predictions:
        """Some of them."""
        return Predictions(*(each[places] for each in dataclasses.astuple(self)))


@dataclasses.dataclass(frozen=True)
class MetBlocks:
    """What a pair of blocks comes to.

    Attributes:
      pair: The blocks.
      examples: Predictions of the examples in both, each once.
      renamed: How many examples have the same place and another id, and so are not met.
      unmatched: Maps of the first and of the second whose example is met, and whose class is not.
      ids: (N,) of the maps that are met: those of the same example and class explained.
      shards: (N,) the input file's name, in the first.
      records: (N,) the record's number, in the first.
      other_records: (N,) in the second.
      targets: (N,) the class explained.
      predictions: Of each map's example.
      similarity: How alike the maps are.
    """

    pair: BlockPair
    examples: Predictions
    renamed: int
    unmatched: tuple[int, int]
    ids: pa.StringArray
    shards: pa.StringArray
    records: Integers
    other_records: Integers
    targets: Classes
    predictions: Predictions
    similarity: Similarity


def meet(pair: BlockPair, rule: MapRule, open_first: Open, open_second: Open) -> MetBlocks:
    """Meets two blocks. Of maps, a row group of each is in memory at a time.

    Args:
      pair: The blocks.
      rule: How maps are met.
      open_first: Opens a block of the first atlas.
      open_second: Of the second.

    Raises:
      RunError: A block cannot be read.
    """
    try:
        return _meet(pair, rule, open_first(pair.first), open_second(pair.second))
    except (pa.ArrowException, OSError) as error:  # what damage makes Arrow raise
        raise RunError(
            f"{pair.first} and {pair.second} cannot be compared "
            f"({' '.join(str(error).split())}): saliency-atlas verify says which is damaged"
        ) from error


def _meet(
    pair: BlockPair, rule: MapRule, first: pq.ParquetFile, second: pq.ParquetFile
) -> MetBlocks:
    ours, theirs = (each.read(list(_ROWS)).combine_chunks() for each in (first, second))
    records, others = (_integers(each, "record") for each in (ours, theirs))
    targets, other_targets = (_integers(each, "target") for each in (ours, theirs))
    if pair.records is not None:
        others = _renumbered(others, *pair.records)
        records = np.where(np.isin(records, pair.records[0]), records, _NOT_MET)
    place, other_place = _common(*_examples(records), *_examples(others))
    same = _same_ids(ours, theirs, place, other_place, rule)
    met = records[place[same]]
    inside, other_inside = (np.flatnonzero(np.isin(each, met)) for each in (records, others))
    keys = _keys(
        (records[inside], targets[inside]), (others[other_inside], other_targets[other_inside])
    )
    rows, other_rows = _common(keys[0], inside, keys[1], other_inside)
    return MetBlocks(
        pair=pair,
        examples=_predictions(ours, theirs, place[same], other_place[same]),
        renamed=int((~same).sum()),
        unmatched=(len(inside) - len(rows), len(other_inside) - len(rows)),
        ids=_taken(ours, "example_id", rows),
        shards=_taken(ours, "shard", rows),
        records=_integers(ours, "record")[rows],
        other_records=_integers(theirs, "record")[other_rows],
        targets=targets[rows].astype(np.int32),
        predictions=_predictions(ours, theirs, rows, other_rows),
        similarity=_similarity(first, second, rows, other_rows, rule),
    )


def _renumbered(records: Integers, ours: Integers, theirs: Integers) -> Integers:
    """The numbers in the first atlas of records of the second; `_NOT_MET` of all others."""
    order = np.argsort(theirs)
    found = np.minimum(np.searchsorted(theirs[order], records), len(theirs) - 1)
    known = theirs[order][found] == records
    return np.where(known, ours[order][found], _NOT_MET)


def _examples(records: Integers) -> tuple[Integers, Integers]:
    """Numbers of the examples that may be met, and the first row of each."""
    numbers, rows = np.unique(records, return_index=True)
    known = numbers != _NOT_MET
    return numbers[known], np.asarray(rows[known], np.int64)


def _keys(
    first: tuple[Integers, Integers], second: tuple[Integers, Integers]
) -> tuple[Integers, Integers]:
    """A number per record and class, the same one in both.

    Args:
      first: (N,) records, (N,) classes.
      second: (M,) the same.
    """
    records, targets = (np.concatenate(each) for each in zip(first, second, strict=True))
    places = np.unique(records, return_inverse=True)[1].reshape(-1)
    keys = places * (int(targets.max(initial=0)) + 1) + targets
    return keys[: len(first[0])], keys[len(first[0]) :]


def _common(
    keys: Integers, rows: Integers, other_keys: Integers, other_rows: Integers
) -> tuple[Integers, Integers]:
    """Rows of the keys that both have, in the order of the first's rows; each key is there once."""
    if np.array_equal(keys, other_keys):
        return rows, other_rows
    _, place, other_place = np.intersect1d(
        keys, other_keys, assume_unique=True, return_indices=True
    )
    order = np.argsort(rows[place])
    return rows[place[order]], other_rows[other_place[order]]


def _taken(table: pa.Table, name: str, rows: Integers) -> pa.Array:
    column = table[name].take(pa.array(rows)).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def _same_ids(
    ours: pa.Table, theirs: pa.Table, rows: Integers, other_rows: Integers, rule: MapRule
) -> npt.NDArray[np.bool_]:
    if not rule.with_ids or not len(rows):
        return np.ones(len(rows), np.bool_)
    first = ours["example_id"].take(pa.array(rows)).to_pylist()
    second = theirs["example_id"].take(pa.array(other_rows)).to_pylist()
    return np.fromiter(map(str.__eq__, first, second), np.bool_, len(rows))


def _predictions(
    ours: pa.Table, theirs: pa.Table, rows: Integers, other_rows: Integers
) -> Predictions:
    columns = [
        _classes(table, name)[places]
        for name in ("label", "predicted")
        for table, places in ((ours, rows), (theirs, other_rows))
    ]
    return Predictions(*columns)


def _classes(table: pa.Table, name: str) -> Classes:
    return np.asarray(table[name].fill_null(NO_CLASS).to_numpy(), np.int32)


def _integers(table: pa.Table, name: str) -> Integers:
    return np.asarray(table[name].to_numpy(), np.int64)


def _similarity(
    first: pq.ParquetFile,
    second: pq.ParquetFile,
    rows: Integers,
    other_rows: Integers,
    rule: MapRule,
) -> Similarity:
    name = MAP if rule.whole else _SKETCH
    ours, theirs = _StoredMaps(first, name), _StoredMaps(second, name)
    found = [
        similarity(ours.taken(rows[part]), theirs.taken(other_rows[part]), signed=rule.signed)
        for part in ours.parts(rows)
    ]
    if not found:
        return Similarity(np.zeros(0), np.zeros(0))
    return Similarity(*(np.concatenate(each) for each in zip(*found, strict=True)))


class _StoredMaps:
    """Maps or sketches of a block, read a row group at a time; the last one read is kept."""

    def __init__(self, block: pq.ParquetFile, name: str) -> None:
        self._block, self._name = block, name
        groups = range(block.num_row_groups)
        self._ends = np.cumsum([block.metadata.row_group(group).num_rows for group in groups])
        self._kept: tuple[int, npt.NDArray[Any]] | None = None

    def parts(self, rows: Integers) -> Iterator[Integers]:
        """Places of some ascending rows, those of a row group at a time."""
        groups = np.searchsorted(self._ends, rows, side="right")
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(groups)) + 1):
            if len(part):
                yield part

    def taken(self, rows: Integers) -> npt.NDArray[Any]:
        """The codes of some rows, in their order."""
        parts = []
        for part in self.parts(rows):
            group = int(np.searchsorted(self._ends, rows[part[0]], side="right"))
            start = int(self._ends[group - 1]) if group else 0
            parts.append(self._group(group)[rows[part] - start])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _group(self, number: int) -> npt.NDArray[Any]:
        if self._kept is None or self._kept[0] != number:
            table = self._block.read_row_group(number, [self._name], use_threads=False)
            values = map_codes(table) if self._name == MAP else tensor_values(table[self._name])
            self._kept = number, values
        return self._kept[1]
