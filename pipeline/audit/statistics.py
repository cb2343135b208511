"""What a gate can be about: each kind of statistic with its value, its n and its interval."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np

from pipeline.audit.estimation.intervals import (
    Floats,
    Intervals,
    Moments,
    difference_interval,
    mean_interval,
    recovered_difference,
    share_interval,
)
from pipeline.audit.estimation.quantiles import histogram_interval
from pipeline.audit.groups import Groups
from transforms.statistics.columns import SHARES, UNBOUNDED

ACCURACY, FAILED, UNDEFINED, DRIFT = "accuracy", "failed_fraction", "undefined_fraction", "drift"
OWN_STATISTICS = (ACCURACY, FAILED, UNDEFINED, DRIFT)
"""Figures that are no columns of the table of classes."""

Kind = Literal["mean", "quantile", "share", "failed", "drift"]
_QUANTILE = re.compile(r"(\w+)_q(\d\d)")
_MEAN = re.compile(r"(\w+)_mean")
_PERCENT = 100
_UNCOUNTED = {"score", *UNBOUNDED}  # every row has one


class Figures(NamedTuple):
    """A statistic of some groups.

    Attributes:
      n: (G,) of how many examples.
      value: (G,) NaN where it is undefined.
      intervals: Of it, with a confidence that each has.
    """

    n: Floats
    value: Floats
    intervals: Callable[[float], Intervals]


@dataclasses.dataclass(frozen=True)
class Statistic:
    """A statistic that has an interval.

    Attributes:
      name: As a gate has it.
      kind: Which kind of interval.
      of: The statistic of single maps that it is made of; of shares whatever is counted.
      share: Of quantiles: which, above 0 and below 1.
    """

    name: str
    kind: Kind
    of: str
    share: float = 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table of groups that it needs, beside those that are always there."""
        if self.kind == "mean":
            histogram = () if self.of in _UNCOUNTED else (f"{self.of}_histogram",)
            return (f"{self.of}_mean", f"{self.of}_std", f"{self.of}_skewness", *histogram)
        if self.kind == "quantile":
            return (self.name, f"{self.of}_histogram")
        if self.of in SHARES:
            return (self.name,)
        return ("n_correct",) if self.name == ACCURACY else ()

    def figures(self, groups: Groups) -> Figures:
        """The statistic of groups."""
        if self.kind == "mean":
            moments = self.moments(groups)
            of_means = functools.partial(mean_interval, moments)
            return Figures(moments.n, moments.mean, of_means)
        if self.kind == "quantile":
            counts, edges = groups.counts(self.of), groups.edges(self.of)
            of_quantiles = functools.partial(histogram_interval, counts, edges, self.share)
            n = counts.sum(axis=1).astype(np.float64)
            return Figures(n, groups.column(self.name), of_quantiles)
        count, n = self._counted(groups)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Figures(n, count / n, functools.partial(share_interval, count, n))

    def moments(self, groups: Groups) -> Moments:
        """What is known of a mean's values."""
        mean, std, skewness = (
            groups.column(f"{self.of}_{each}") for each in ("mean", "std", "skewness")
        )
        return Moments(groups.defined(self.of), mean, std, skewness)

    def _counted(self, groups: Groups) -> tuple[Floats, Floats]:
        if self.name == ACCURACY:
            return groups.column("n_correct"), groups.column("n")
        if self.name == UNDEFINED:
            return groups.column("undefined_maps"), groups.column("n")
        n = groups.defined(self.of)
        return np.rint(groups.column(self.name) * n), n

    def change(self, groups: Groups, others: Groups) -> Callable[[float], Intervals]:
        """Intervals of the change from others, which are about other examples."""
        if self.kind == "mean":
            moments, of_others = self.moments(groups), self.moments(others)
            return functools.partial(difference_interval, moments, of_others)
        ours, theirs = self.figures(groups), self.figures(others)

        def intervals(confidence: float) -> Intervals:
            around = [side.intervals(confidence) for side in (ours, theirs)]
            return recovered_difference(ours.value, around[0], theirs.value, around[1])

        return intervals


def known_statistics(columns: Iterable[str]) -> list[str]:
    """The statistics that a gate can be about, of an atlas with these columns of groups."""
    named = [name for name in columns if _MEAN.fullmatch(name) or _QUANTILE.fullmatch(name)]
    return [*named, *OWN_STATISTICS]


def statistic(name: str) -> Statistic:
    """The statistic of this name, which is a known one."""
    quantile, mean = _QUANTILE.fullmatch(name), _MEAN.fullmatch(name)
    if quantile:
        return Statistic(name, "quantile", quantile[1], int(quantile[2]) / _PERCENT)
    if mean:
        return Statistic(name, "share" if mean[1] in SHARES else "mean", mean[1])
    if name in (FAILED, DRIFT):
        return Statistic(name, "failed" if name == FAILED else "drift", name)
    return Statistic(name, "share", name)
