"""Two atlases of other examples: how their classes, and parts of classes, differ as groups."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from scipy import stats

from pipeline.atlas import Atlas
from pipeline.audit.comparable import other_statistics
from pipeline.audit.estimation.divergence import jensen_shannon
from pipeline.audit.estimation.intervals import Floats, Intervals
from pipeline.audit.figures import ClassFolds, of_drift
from pipeline.audit.groups import Groups
from pipeline.audit.statistics import ACCURACY, Statistic, statistic
from pipeline.compare.joined import CONFIDENCE, estimate
from pipeline.compare.relation import Relation
from pipeline.compare.result import Distributions, Estimate, GroupChange, StatisticChange
from transforms.store.layout import CLASSES, SLICES
from transforms.store.map_format import tensor_values

_MOST_SLICES = 200
_MEAN = "_mean"
_TENTHS = 10
_BITS = 8 * math.log(2)  # of a Jensen-Shannon divergence, per chi-square of two samples

Integers = npt.NDArray[np.int64]


def compare_distributions(relation: Relation) -> Distributions:
    """Compares the tables of classes and of slices: small ones, however many maps there are.

    Args:
      relation: What the two atlases are to each other.
    """
    first, second = relation.first.atlas, relation.second.atlas
    classes = Groups(first.statistics(CLASSES), None), Groups(second.statistics(CLASSES), None)
    keys, others = ([key for key, _ in each.keys] for each in classes)
    unlike = other_statistics(first, second)
    of_slices = [
        found
        for pair in _slices(first, second)
        for found in _changes(*_in_both(*pair), drifts=None, unlike=unlike)
    ]
    both = _in_both(*classes)
    folds = ClassFolds.read(first), ClassFolds.read(second)
    return Distributions(
        classes=_most_drifted(_changes(*both, drifts=folds, unlike=unlike)),
        slices=_most_drifted(of_slices)[:_MOST_SLICES],
        slices_in_all=len(of_slices),
        only_first=[key for key in keys if key not in others],
        only_second=[key for key in others if key not in keys],
    )


def _most_drifted(found: Sequence[GroupChange]) -> list[GroupChange]:
    return sorted(found, key=lambda each: (each.drift.value is None, -(each.drift.value or 0.0)))


def _slices(first: Atlas, second: Atlas) -> Iterator[tuple[Groups, Groups]]:
    """The groups of each slice that both have."""
    tables = first.statistics(SLICES), second.statistics(SLICES)
    names = [table["slice"].unique().to_pylist() for table in tables]
    for name in names[0]:
        if name in names[1]:
            where = pc.field("slice") == name
            yield Groups(tables[0].filter(where), name), Groups(tables[1].filter(where), name)


def _in_both(first: Groups, second: Groups) -> tuple[Groups, Groups]:
    """The groups of the first that the second has, and the second's, in one order."""
    places = second.places_of(first)
    there = np.flatnonzero(places >= 0)
    return first.taken(there), second.taken(places[there])


def _changes(
    first: Groups,
    second: Groups,
    drifts: tuple[ClassFolds, ClassFolds] | None,
    unlike: Container[str],
) -> list[GroupChange]:
    if not len(first):
        return []
    moved = _mean_map_drifts(first, second) if drifts is None else _fold_drifts(first, *drifts)
    by_statistic = [
        _statistic_changes(statistic(name), first, second)
        for name in _shared(first, second)
        if statistic(name).of not in unlike
    ]
    accuracy = statistic(ACCURACY)
    one, other = (accuracy.figures(each).value for each in (first, second))
    around = accuracy.change(second, first)(CONFIDENCE)
    change = _estimates(other - one, around)
    counts = [each.column("n").astype(np.int64).tolist() for each in (first, second)]
    groups = zip(first.numbers, first.names, first.values, strict=True)
    return [
        GroupChange(
            class_number=number,
            class_name=name,
            slice=first.slice,
            value=value,
            n_first=counts[0][place],
            n_second=counts[1][place],
            drift=moved[place],
            accuracy_first=_number(one[place]),
            accuracy_second=_number(other[place]),
            accuracy_change=change[place],
            statistics=[each[place] for each in by_statistic],
        )
        for place, (number, name, value) in enumerate(groups)
    ]


def _fold_drifts(first: Groups, ours: ClassFolds, theirs: ClassFolds) -> list[Estimate]:
    judged = of_drift(first, ours, theirs)
    return _estimates(judged.value, judged.intervals(CONFIDENCE))


def _mean_map_drifts(first: Groups, second: Groups) -> list[Estimate]:
    maps = [
        tensor_values(each.table["mean_map"]).reshape(len(each), -1).astype(np.float64)
        for each in (first, second)
    ]
    value = jensen_shannon(*maps)
    nothing = np.full(len(first), np.nan)
    return _estimates(value, Intervals(nothing, nothing))


def _shared(first: Groups, second: Groups) -> list[str]:
    """Names of the means whose moments and histograms both have."""
    return [
        name
        for name in first.table.column_names
        if name.endswith(_MEAN)
        and statistic(name).kind == "mean"
        and all(each.has(name, *statistic(name).columns) for each in (first, second))
    ]


def _statistic_changes(of: Statistic, first: Groups, second: Groups) -> list[StatisticChange]:
    one, other = of.moments(first), of.moments(second)
    change, around = other.mean - one.mean, of.change(second, first)(CONFIDENCE)
    spread = np.sqrt((one.std**2 + other.std**2) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = change / spread
        around_effect = Intervals(around.low / spread, around.high / spread)
        # The table's deviations are the population's, the test's those of samples.
        samples = [
            (each.mean, each.std * np.sqrt(each.n / (each.n - 1)), each.n) for each in (other, one)
        ]
        p = stats.ttest_ind_from_stats(*samples[0], *samples[1], equal_var=False).pvalue
    divergence, chance = histogram_divergences(of.of, first, second)
    changes, effects = _estimates(change, around), _estimates(effect, around_effect)
    return [
        StatisticChange(
            statistic=of.of,
            first=_number(one.mean[place]),
            second=_number(other.mean[place]),
            change=changes[place],
            effect=effects[place],
            p=_number(p[place]),
            divergence=_number(divergence[place]),
            chance=_number(chance[place]),
        )
        for place in range(len(first))
    ]


def histogram_divergences(name: str, first: Groups, second: Groups) -> tuple[Floats, Floats]:
    """Of histograms over tenths of all values of both, and what it is by chance alone.

    Tenths, as the population stability index has them, since a bin in which there is hardly
    anything says nothing. Near 0 the divergence is chi-square's statistic of two samples, by
    8 ln 2 / (1/n + 1/m), whose mean is the number of bins less 1; so chance makes
    (bins - 1) (1/n + 1/m) / (8 ln 2) of it.
    """
    if not first.has(f"{name}_histogram"):  # scores have no bounds, and no histogram
        nothing = np.full(len(first), np.nan)
        return nothing, nothing
    counts = _in_tenths(*(each.counts(name) for each in (first, second)))
    sizes = [each.sum(axis=1) for each in counts]
    occupied = ((counts[0] > 0) | (counts[1] > 0)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = (occupied - 1) * (1 / sizes[0] + 1 / sizes[1]) / _BITS
    value = jensen_shannon(*(each.astype(np.float64) for each in counts))
    return value, np.where(np.isnan(value), np.nan, np.minimum(chance, 1.0))


def _in_tenths(first: Integers, second: Integers) -> tuple[Integers, Integers]:
    """(G, bins) counts as (G, 10): each bin belongs to the tenth of all in which its middle is."""
    both = first + second
    total = np.maximum(both.sum(axis=1, keepdims=True), 1)
    tenths = np.minimum((2 * np.cumsum(both, axis=1) - both) * _TENTHS // (2 * total), _TENTHS - 1)
    groups = np.arange(len(both))[:, np.newaxis]
    found = np.zeros((2, len(both), _TENTHS), np.int64)
    for side, counts in enumerate((first, second)):
        np.add.at(found[side], (groups, tenths), counts)
    return found[0], found[1]


def _estimates(values: Floats, around: Intervals) -> list[Estimate]:
    columns = (each.tolist() for each in (values, around.low, around.high))
    return [estimate(*each) for each in zip(*columns, strict=True)]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
