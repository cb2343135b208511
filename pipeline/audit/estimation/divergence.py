"""How far two mean maps are from each other, with an interval from the folds of their examples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.audit.estimation.intervals import Floats


def jensen_shannon(first: Floats, second: Floats) -> Floats:
    """The Jensen-Shannon divergence of mass over cells, in bits: 0 for the same, 1 for apart.

    Lin, IEEE Transactions on Information Theory 37 (1991), base 2. Both are scaled to sum to 1
    first. A divergence itself, not its root, the Jensen-Shannon distance.

    Args:
      first: (..., cells) mass, none negative.
      second: The same shape.

    Returns:
      (...) divergences; NaN where a side has no mass.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        p = first / first.sum(axis=-1, keepdims=True)
        q = second / second.sum(axis=-1, keepdims=True)
        middle = (p + q) / 2
        terms = _surprise(p, middle) + _surprise(q, middle)
    return np.asarray(np.clip(terms.sum(axis=-1) / 2, 0.0, 1.0))


def _surprise(p: Floats, middle: Floats) -> Floats:
    return np.where(
        p > 0, p * np.log2(p / np.where(middle > 0, middle, 1.0)), np.where(p == 0, 0.0, p)
    )


class Folds(NamedTuple):
    """Mean maps of the folds of one class's examples.

    Attributes:
      n: (folds,) examples of each.
      means: (folds, cells) their mean maps; whatever it is where n is 0.
    """

    n: npt.NDArray[np.int64]
    means: Floats

    @property
    def sums(self) -> Floats:
        """(folds, cells): what each fold adds to the class's sum."""
        return np.where(self.n[:, np.newaxis] > 0, self.means, 0.0) * self.n[:, np.newaxis]


class Drift(NamedTuple):
    """A divergence and the interval around it; NaN where there is none."""

    value: float
    low: float
    high: float


class Jackknifed(NamedTuple):
    """A divergence before a confidence is chosen.

    Attributes:
      value: The divergence, less its bias where it could be estimated.
      variance: Of it; NaN where it cannot be estimated.
      folds: Of how many folds.
    """

    value: float
    variance: float
    folds: int

    def drift(self, confidence: float) -> Drift:
        """It with an interval of this confidence."""
        if np.isnan(self.variance):
            return Drift(self.value, np.nan, np.nan)
        student = float(stats.t.ppf((1 + confidence) / 2, self.folds - 1))
        return _around(self.value, student * float(np.sqrt(self.variance)))


def drift(first: Folds, second: Folds, confidence: float) -> Drift:
    """The divergence of two mean maps with an interval, as `jackknife` estimates it.

    Args:
      first: Folds of one atlas's class.
      second: The same folds of the other's.
      confidence: Of the interval.
    """
    return jackknife(first, second).drift(confidence)


def jackknife(first: Folds, second: Folds) -> Jackknifed:
    """The divergence of two mean maps, less its bias, and its variance: a delete-a-fold jackknife.

    Efron, The Jackknife, the Bootstrap and Other Resampling Plans (1982); folds of unequal size as
    in Busing, Meijer and van der Leeden, Statistics and Computing 9 (1999). A fold is left out of
    both at once: folds are made by the examples' ids, so the same examples are left out where both
    have the same ones, and any where they have not. Mass is not counts, so a multinomial bootstrap
    would not do. Holds for independent examples; how well at how few, says `scripts/coverage`.

    Args:
      first: Folds of one atlas's class.
      second: The same folds of the other's.
    """
    sums, others = first.sums, second.sums
    whole = float(jensen_shannon(sums.sum(axis=0), others.sum(axis=0)))
    part = (first.n / max(first.n.sum(), 1) + second.n / max(second.n.sum(), 1)) / 2
    used = part > 0
    folds = int(used.sum())
    if folds <= 1 or np.isnan(whole):
        return Jackknifed(whole, np.nan, folds)
    left = jensen_shannon(sums.sum(axis=0) - sums[used], others.sum(axis=0) - others[used])
    share = part[used]
    value = folds * whole - float(((1 - share) * left).sum())
    pseudo = (whole - (1 - share) * left) / share
    variance = float((share / (1 - share) * (pseudo - value) ** 2).sum()) / folds
    return Jackknifed(value, variance, folds)


def _around(value: float, reach: float) -> Drift:
    """The interval that is symmetric around the root: (sqrt(value) -+ reach / 2 sqrt(value))^2.

    Near 0 a divergence is skewed, and spreads less the smaller it is; its root does neither. How
    far that lifts the upper end is bounded, as at 0 the root has no slope. Where the lower end is 0
    it cannot miss, so of a divergence near 0 more intervals hold the truth than the confidence
    says: half of the misses that it allows are due.
    """
    lift = reach**2 / (4 * value) if value > 0 else np.inf
    low = value - reach + lift if lift < value else 0.0
    return Drift(value, max(low, 0.0), min(value + reach + min(lift, reach / 2), 1.0))
