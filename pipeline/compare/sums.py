"""What pairs of blocks add up to: a monoid of integers and of short lists in a fixed order.

So a comparison is the same on every runner, whatever the order of its blocks.
"""

from __future__ import annotations

import collections
import heapq
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.compare.meeting import MetBlocks, Predictions
from pipeline.compare.pairing import Integers
from transforms.statistics.groups.rows import NO_CLASS

FIXED_BITS = 20
"""Measures are integers in units of 2**-20 before they are added: a millionth."""

BINS = 256
"""Of the histogram of a measure, over its range."""

MOST_MOVED = 20
"""How many pairs of maps are kept."""

_CUBE_BITS = 24  # of the lower part of a cube
_PREDICTED = 7  # counts of `PredictionSums`


class Moved(NamedTuple):
    """A pair of maps; the smallest of them are those that are least alike."""

    spearman: int
    example_id: str
    shard: str
    record: int
    target: int
    block: str
    other_block: str
    other_record: int
    overlap: int
    label: int
    predicted: int
    other_predicted: int


class PredictionSums(NamedTuple):
    """Counts of examples.

    Attributes:
      n: With a prediction in both.
      flips: Predicted as another class.
      labelled: Those of n with a label in both.
      correct: Right in the first.
      other_correct: Right in the second.
      both_correct: Right in both.
      relabelled: With another label in the second; of all, whatever is predicted.
    """

    n: int
    flips: int
    labelled: int
    correct: int
    other_correct: int
    both_correct: int
    relabelled: int

    def plus(self, other: PredictionSums) -> PredictionSums:
        """Both together."""
        return PredictionSums(*map(sum, zip(self, other, strict=True)))


class MeasureSums:
    """Exact sums of a measure over pairs of maps.

    Args:
      low: The least value that it can have; the largest is 1.
    """

    def __init__(self, low: int) -> None:
        self.low = low
        self.n = self.total = self.squares = self.cubes = 0
        self.bins = np.zeros(BINS, np.int64)

    def merge(self, other: MeasureSums) -> None:
        """Adds the sums of another."""
        self.n += other.n
        self.total += other.total
        self.squares += other.squares
        self.cubes += other.cubes
        self.bins = self.bins + other.bins

    def as_list(self) -> list[Any]:
        """What `of` takes."""
        return [self.low, self.n, self.total, self.squares, self.cubes, self.bins.tolist()]

    @classmethod
    def of(cls, low: int, *sums: Any) -> MeasureSums:
        """Takes back what `as_list` gives."""
        found = cls(low)
        found.n, found.total, found.squares, found.cubes, bins = sums
        found.bins = np.array(bins, np.int64)
        return found


class ClassSums:
    """Exact sums of the maps of one class explained."""

    def __init__(self) -> None:
        self.pairs = 0
        self.spearman, self.overlap = MeasureSums(-1), MeasureSums(0)
        self.predictions = PredictionSums(*[0] * _PREDICTED)

    def merge(self, other: ClassSums) -> None:
        """Adds the sums of another."""
        self.pairs += other.pairs
        self.spearman.merge(other.spearman)
        self.overlap.merge(other.overlap)
        self.predictions = self.predictions.plus(other.predictions)

    def as_list(self) -> list[Any]:
        """What `of` takes."""
        return [self.pairs, self.spearman.as_list(), self.overlap.as_list(), self.predictions]

    @classmethod
    def of(
        cls, pairs: int, spearman: list[Any], overlap: list[Any], predictions: list[int]
    ) -> ClassSums:
        """Takes back what `as_list` gives."""
        found = cls()
        found.pairs, found.predictions = pairs, PredictionSums(*predictions)
        found.spearman, found.overlap = MeasureSums.of(*spearman), MeasureSums.of(*overlap)
        return found


class JoinedSums:
    """Exact sums over pairs of blocks, the same in any order.

    A class takes some 5 KB.

    Attributes:
      examples: Those in both.
      renamed: Records in the same place with another id.
      unmatched: Maps of the first, and of the second, whose class the other does not explain.
      predictions: Of the examples in both.
      flips: How many examples have which prediction in the first and which in the second.
      classes: By class explained.
      moved: The least alike, in order.
    """

    def __init__(self) -> None:
        self.examples = self.renamed = 0
        self.unmatched = (0, 0)
        self.predictions = PredictionSums(*[0] * _PREDICTED)
        self.flips: collections.Counter[tuple[int, int]] = collections.Counter()
        self.classes: dict[int, ClassSums] = {}
        self.moved: list[Moved] = []

    def add(self, met: MetBlocks) -> None:
        """Adds a pair of blocks."""
        self.examples += len(met.examples.labels)
        self.renamed += met.renamed
        self._add_unmatched(met.unmatched)
        (everyone,) = _counted(met.examples, np.zeros(1, np.int64))
        self.predictions = self.predictions.plus(everyone)
        self._add_flips(met.examples)
        if len(met.targets):
            self._add_classes(met)
            self._keep(_least_alike(met))

    def merge(self, other: JoinedSums) -> None:
        """Adds the sums of another."""
        self.examples += other.examples
        self.renamed += other.renamed
        self._add_unmatched(other.unmatched)
        self.predictions = self.predictions.plus(other.predictions)
        self.flips.update(other.flips)
        for number, sums in other.classes.items():
            self.classes.setdefault(number, ClassSums()).merge(sums)
        self._keep(other.moved)

    def to_json(self) -> bytes:
        """All of it, as a worker hands it on to who started it."""
        return json.dumps(
            {
                "examples": self.examples,
                "renamed": self.renamed,
                "unmatched": self.unmatched,
                "predictions": self.predictions,
                "flips": [[*pair, n] for pair, n in sorted(self.flips.items())],
                "classes": {
                    number: sums.as_list() for number, sums in sorted(self.classes.items())
                },
                "moved": self.moved,
            }
        ).encode()

    @classmethod
    def from_json(cls, data: bytes) -> JoinedSums:
        """Takes back what `to_json` gives."""
        given, sums = json.loads(data), cls()
        sums.examples, sums.renamed = given["examples"], given["renamed"]
        sums.unmatched = (given["unmatched"][0], given["unmatched"][1])
        sums.predictions = PredictionSums(*given["predictions"])
        sums.flips.update({(one, other): n for one, other, n in given["flips"]})
        sums.classes = {
            int(number): ClassSums.of(*each) for number, each in given["classes"].items()
        }
        sums.moved = [Moved(*each) for each in given["moved"]]
        return sums

    def whole(self) -> ClassSums:
        """The sums of all classes together."""
        every = ClassSums()
        for sums in self.classes.values():
            every.merge(sums)
        return every

    def _add_unmatched(self, maps: tuple[int, int]) -> None:
        self.unmatched = (self.unmatched[0] + maps[0], self.unmatched[1] + maps[1])

    def _add_flips(self, examples: Predictions) -> None:
        flipped = _flipped(examples)
        pairs = np.stack([examples.predicted[flipped], examples.other_predicted[flipped]])
        found, counts = np.unique(pairs, axis=1, return_counts=True)
        for one, other, n in zip(*found.tolist(), counts.tolist(), strict=True):
            self.flips[one, other] += n

    def _add_classes(self, met: MetBlocks) -> None:
        order = np.argsort(met.targets, kind="stable")
        targets = met.targets[order]
        starts = np.flatnonzero(np.diff(targets, prepend=targets[0] - 1))
        counted = _counted(met.predictions.taken(order), starts)
        pairs = np.diff([*starts, len(order)]).tolist()
        for number, n, predictions in zip(targets[starts].tolist(), pairs, counted, strict=True):
            sums = self.classes.setdefault(number, ClassSums())
            sums.pairs += n
            sums.predictions = sums.predictions.plus(predictions)
        numbers = np.cumsum(np.diff(targets, prepend=targets[0]) != 0)
        for name, low in (("spearman", -1), ("overlap", 0)):
            values = getattr(met.similarity, name)[order]
            for place, found in _measured(values, numbers, len(starts), low):
                getattr(self.classes[int(targets[starts[place]])], name).merge(found)

    def _keep(self, candidates: Sequence[Moved]) -> None:
        self.moved = heapq.nsmallest(MOST_MOVED, [*self.moved, *candidates])


def _measured(
    values: npt.NDArray[np.float64], numbers: Integers, groups: int, low: int
) -> list[tuple[int, MeasureSums]]:
    """The sums of each group's values, but for undefined ones.

    Args:
      values: (N,) in the order of their groups.
      numbers: (N,) the groups, ascending from 0.
      groups: How many there are.
      low: The least value that there can be.
    """
    defined = ~np.isnan(values)
    values, numbers = values[defined], numbers[defined]
    if not len(values):
        return []
    fixed = np.rint(values * (1 << FIXED_BITS)).astype(np.int64)
    squares = fixed * fixed
    cubes = squares * fixed  # up to 2**60, so they are added in two parts
    slots = np.minimum((values - low) / (1 - low) * BINS, BINS - 1).astype(np.int64)
    counts = np.bincount(numbers * BINS + slots, minlength=groups * BINS).reshape(groups, BINS)
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    terms = (fixed, squares, cubes >> _CUBE_BITS, cubes & ((1 << _CUBE_BITS) - 1))
    sums = zip(*(np.add.reduceat(each, starts).tolist() for each in terms), strict=True)
    found = []
    for place, (total, square, upper, lower) in zip(numbers[starts].tolist(), sums, strict=True):
        measure = MeasureSums(low)
        measure.n, measure.total, measure.squares = int(counts[place].sum()), total, square
        measure.cubes = (upper << _CUBE_BITS) + lower
        measure.bins = counts[place].copy()
        found.append((place, measure))
    return found


def _counted(examples: Predictions, starts: Integers) -> list[PredictionSums]:
    """Counts of each group of consecutive examples that begins at a place."""
    labels, others = examples.labels, examples.other_labels
    predicted, other_predicted = examples.predicted, examples.other_predicted
    known = (predicted != NO_CLASS) & (other_predicted != NO_CLASS)
    labelled = known & (labels != NO_CLASS) & (others != NO_CLASS)
    correct, other_correct = labels == predicted, others == other_predicted
    columns = (
        known,
        _flipped(examples),
        labelled,
        labelled & correct,
        labelled & other_correct,
        labelled & correct & other_correct,
        labels != others,
    )
    if not len(labels):
        return [PredictionSums(*[0] * _PREDICTED)] * len(starts)
    sums = np.add.reduceat(np.stack(columns).astype(np.int64), starts, axis=1)
    return [PredictionSums(*each) for each in sums.T.tolist()]


def _flipped(examples: Predictions) -> npt.NDArray[np.bool_]:
    known = (examples.predicted != NO_CLASS) & (examples.other_predicted != NO_CLASS)
    return np.asarray(known & (examples.predicted != examples.other_predicted))


def _least_alike(met: MetBlocks) -> list[Moved]:
    """The first few of a pair of blocks, and whatever is as little alike as the last of them."""
    fixed = np.rint(met.similarity.spearman * (1 << FIXED_BITS))
    defined = np.flatnonzero(~np.isnan(fixed))
    if len(defined) > MOST_MOVED:
        last = np.partition(fixed[defined], MOST_MOVED - 1)[MOST_MOVED - 1]
        defined = defined[fixed[defined] <= last]
    overlap = np.rint(met.similarity.overlap * (1 << FIXED_BITS))
    predictions = met.predictions
    found = [
        Moved(
            spearman=int(fixed[row]),
            example_id=met.ids[row].as_py(),
            shard=met.shards[row].as_py(),
            record=int(met.records[row]),
            target=int(met.targets[row]),
            block=met.pair.first,
            other_block=met.pair.second,
            other_record=int(met.other_records[row]),
            overlap=int(overlap[row]),
            label=int(predictions.labels[row]),
            predicted=int(predictions.predicted[row]),
            other_predicted=int(predictions.other_predicted[row]),
        )
        for row in defined.tolist()
    ]
    return heapq.nsmallest(MOST_MOVED, found)
