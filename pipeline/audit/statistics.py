"""What a gate can be about: each kind of statistic with its value, its n and its interval."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
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
from transforms.statistics.columns import SHARES

ACCURACY, FAILED, UNDEFINED, DRIFT = "accuracy", "failed_fraction", "undefined_fraction", "drift"
OWN_STATISTICS = (ACCURACY, FAILED, UNDEFINED, DRIFT)
"""Figures that are no columns of the table of classes."""

Kind = Literal["mean", "quantile", "share", "failed", "drift"]
_QUANTILE = re.compile(r"(\w+)_q(\d\d)")
_MEAN = re.compile(r"(\w+)_mean")
_PERCENT = 100


class Figures(NamedTuple):
    """A statistic of some groups.

    Attributes:
      n: (G,) of how many examples.
      value: (G,) NaN where it is undefined.
      around: Its interval.
    """

    n: Floats
    value: Floats
    around: Intervals


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
            histogram = () if self.of == "score" else (f"{self.of}_histogram",)
            return (f"{self.of}_mean", f"{self.of}_std", f"{self.of}_skewness", *histogram)
        if self.kind == "quantile":
            return (self.name, f"{self.of}_histogram")
        if self.of in SHARES:
            return (self.name, "box_energy_histogram")
        return ("n_correct",) if self.name == ACCURACY else ()

    def figures(self, groups: Groups, confidence: float) -> Figures:
        """The statistic of groups, with intervals of this confidence."""
        if self.kind == "mean":
            moments = self.moments(groups)
            return Figures(moments.n, moments.mean, mean_interval(moments, confidence))
        if self.kind == "quantile":
            counts = groups.counts(self.of)
            around = histogram_interval(counts, groups.edges(self.of), self.share, confidence)
            return Figures(counts.sum(axis=1).astype(np.float64), groups.column(self.name), around)
        count, n = self._counted(groups)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Figures(n, count / n, share_interval(count, n, confidence))

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

    def change(self, groups: Groups, others: Groups, confidence: float) -> Intervals:
        """Intervals of the change from others, which are about other examples."""
        if self.kind == "mean":
            return difference_interval(self.moments(groups), self.moments(others), confidence)
        ours, theirs = self.figures(groups, confidence), self.figures(others, confidence)
        return recovered_difference(ours.value, ours.around, theirs.value, theirs.around)


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
