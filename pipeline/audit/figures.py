"""The figures of a gate's groups, each with its interval: of one atlas, or against a baseline."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.atlas import Atlas
from pipeline.audit.estimation.divergence import Folds, Jackknifed, jackknife
from pipeline.audit.estimation.intervals import (
    Floats,
    Intervals,
    Moments,
    mean_interval,
    recovered_difference,
    share_interval,
)
from pipeline.audit.groups import Groups
from pipeline.audit.judging import Judged
from pipeline.audit.pairs import CORRECT, Group, PairSums
from pipeline.audit.statistics import ACCURACY, UNDEFINED, Figures, Statistic
from transforms.statistics.groups.folds import FOLDS

Paired = Mapping[str, Mapping[Group, PairSums]]
"""Sums of pairs by statistic of the maps table and group."""


def of_value(statistic: Statistic, groups: Groups) -> Judged:
    """A statistic by itself."""
    figures = statistic.figures(groups)
    return Judged(np.nan_to_num(figures.n), figures.value, figures.value, figures.intervals)


def of_failures(atlas: Atlas) -> tuple[Groups, Judged]:
    """The share of records that failed, of the whole atlas: one group without a class."""
    manifest = atlas.manifest
    share, explained = manifest["failed_fraction"], manifest["explained_examples"]
    # Where no record can be made out, how many failed is an estimate.
    n = round(explained / (1 - share)) if share < 1 else manifest["records_read"]
    whole = Groups(
        pa.table(
            {"class": pa.array([None], pa.int32()), "class_name": pa.array([None], pa.string())}
        ),
        None,
    )
    counted, value = np.array([float(n)]), np.array([share], np.float64)
    intervals = functools.partial(share_interval, value * counted, counted)
    return whole, Judged(counted, value, value, intervals)


def paired_column(statistic: Statistic) -> str | None:
    """What of each example makes a statistic whose changes can be paired; None of others."""
    if statistic.name == ACCURACY:
        return CORRECT
    can = statistic.kind in ("mean", "share") and statistic.name != UNDEFINED
    return statistic.of if can else None


def of_change(statistic: Statistic, groups: Groups, others: Groups, pairs: Paired) -> Judged:
    """A statistic's change from the baseline: paired where the examples of a group are the same.

    Args:
      statistic: The statistic.
      groups: Of the atlas.
      others: The same groups of the baseline; what is not there is null.
      pairs: Sums over the examples of both.
    """
    ours, theirs = statistic.figures(groups), statistic.figures(others)
    n, other_n = np.nan_to_num(ours.n), np.nan_to_num(theirs.n)
    unpaired = statistic.change(groups, others)
    sums = pairs.get(paired_column(statistic) or "", {})
    keys = zip(groups.numbers, groups.values, strict=True)
    of_groups = [sums.get(key, PairSums(0, np.zeros(3), np.zeros(3))) for key in keys]
    both = np.array([each.n for each in of_groups])
    paired = (both > 0) & (both == n) & (both == other_n)
    places = np.flatnonzero(paired)
    chosen = [of_groups[place] for place in places.tolist()]

    def intervals(confidence: float) -> Intervals:
        low, high = (end.copy() for end in unpaired(confidence))
        if statistic.kind == "mean":
            found = _of_differences(chosen, confidence)
        else:
            found = _of_changed_shares(ours, theirs, places, chosen, confidence)
        low[places], high[places] = found
        return Intervals(low, high)

    change = ours.value - theirs.value
    around = intervals if len(places) else unpaired
    return Judged(n, ours.value, change, around, other_n, theirs.value, paired)


def _of_differences(sums: Sequence[PairSums], confidence: float) -> Intervals:
    columns = ([each.n, each.mean, each.std, each.skewness] for each in sums)
    return mean_interval(Moments(*np.array(list(columns), np.float64).T), confidence)


def _of_changed_shares(
    ours: Figures,
    theirs: Figures,
    places: npt.NDArray[np.intp],
    sums: Sequence[PairSums],
    confidence: float,
) -> Intervals:
    sides = [
        (side.value[places], Intervals(*(end[places] for end in side.intervals(confidence))))
        for side in (ours, theirs)
    ]
    correlation = np.array([each.correlation for each in sums])
    return recovered_difference(*sides[0], *sides[1], correlation)


@dataclasses.dataclass(frozen=True)
class ClassFolds:
    """Mean maps of the folds of an atlas's classes.

    Attributes:
      folds: By the class's number.
      names: Of the classes; None of one that has none.
    """

    folds: Mapping[int, Folds]
    names: Mapping[int, str | None]

    @classmethod
    def read(cls, atlas: Atlas) -> ClassFolds:
        """Those of an atlas."""
        table = atlas.folds
        column = table["mean_map"].combine_chunks()
        means = column.storage.flatten().to_numpy().astype(np.float64).reshape(len(table), -1)
        names = table["class_name"].to_pylist()
        numbers, folds = table["class"].to_pylist(), table["fold"].to_numpy()
        n = table["n"].to_numpy()
        rows: dict[int, list[int]] = {}
        for row, number in enumerate(numbers):
            rows.setdefault(number, []).append(row)
        found = {number: _class_folds(folds[at], n[at], means[at]) for number, at in rows.items()}
        return cls(found, dict(zip(numbers, names, strict=True)))

    def of(self, number: int, name: str | None) -> Folds:
        """Those of a class that is called so, as `Groups.places_of` has it; empty ones of none."""
        if self.names.get(number, _NO_NAME) == name:
            return self.folds[number]
        called = [each for each, other in self.names.items() if name is not None and other == name]
        return self.folds[called[0]] if len(called) == 1 else _NO_FOLDS

    def mean_map(self, number: int, name: str | None) -> Floats:
        """(cells,) the mean map of a class."""
        return np.asarray(self.of(number, name).sums.sum(axis=0))


_NO_NAME = object()  # unlike None, which is that a class has no name
_NO_FOLDS = Folds(np.zeros(FOLDS, np.int64), np.zeros((FOLDS, 1)))


def _class_folds(numbers: Floats, n: Floats, means: Floats) -> Folds:
    every = np.zeros(FOLDS, np.int64)
    maps = np.zeros((FOLDS, means.shape[1]))
    every[numbers], maps[numbers] = n, np.nan_to_num(means)
    return Folds(every, maps)


def of_drift(groups: Groups, ours: ClassFolds, theirs: ClassFolds) -> Judged:
    """The divergence of classes' mean maps from the baseline's."""
    classes = list(zip(groups.numbers, groups.names, strict=True))
    pairs = [(ours.of(*each), theirs.of(*each)) for each in classes]
    unknown = Jackknifed(np.nan, np.nan, 0)
    found = [
        jackknife(one, other) if one.n.any() and other.n.any() else unknown for one, other in pairs
    ]

    def intervals(confidence: float) -> Intervals:
        ends = [each.drift(confidence)[1:] for each in found]
        low, high = np.array(ends, np.float64).reshape(-1, 2).T
        return Intervals(low, high)

    value = np.array([each.value for each in found], np.float64)
    n, other_n = (
        np.array([side.n.sum() for side in sides], np.float64) for sides in zip(*pairs, strict=True)
    )
    return Judged(n, value, value, intervals, other_n)
