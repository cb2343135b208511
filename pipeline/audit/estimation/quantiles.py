"""Confidence intervals of quantiles, by order statistics: nothing is assumed of the values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from pipeline.audit.estimation.intervals import Floats, Intervals, Numbers

_HALVINGS = 40  # of the ranks: to 1e-12 of n
_CENTRE = 0.5  # the k-th of the values stands for the counts from k - 1 to k


def quantile_ranks(n: Numbers, share: float, confidence: float) -> Intervals:
    """Ranks, 1 for the smallest value, between which a quantile lies.

    The k-th of n values is below the quantile with the probability that a Beta(k, n + 1 - k)
    variable is below `share`. Ranks between whole ones solve the same equation (Hutson, Journal of
    Applied Statistics 26, 1999), so the confidence is met at small n, too. Holds for independent
    examples of a continuous statistic; where many values are equal it is too wide.

    Args:
      n: (G,) how many values.
      share: Which quantile, above 0 and below 1.
      confidence: Of the interval.

    Returns:
      Ranks; below 1 and above n where n is too small for an end.
    """
    tail = (1 - confidence) / 2
    different, places = np.unique(np.asarray(n, np.float64), return_inverse=True)
    low = _rank(different, share, 1 - tail)[places]
    high = _rank(different, share, tail)[places]
    return Intervals(low, high)


def _rank(n: Floats, share: float, probability: float) -> Floats:
    """The rank r for which P(Beta(r, n + 1 - r) <= share) is the probability; it falls with r."""
    low, high = np.zeros_like(n), n + 1
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_small = special.betainc(middle, n + 1 - middle, share) > probability
        low, high = np.where(too_small, middle, low), np.where(too_small, high, middle)
    return np.asarray((low + high) / 2)


def histogram_interval(
    counts: npt.NDArray[np.int64], edges: Floats, share: float, confidence: float
) -> Intervals:
    """Of quantiles, read off histograms: no further off than a bin is wide.

    Holds where `quantile_ranks` holds. An end for which n is too small is the histogram's.

    Args:
      counts: (G, bins) of each group.
      edges: (bins + 1,) of the bins, ascending.
      share: Which quantile, above 0 and below 1.
      confidence: Of the interval.
    """
    n = counts.sum(axis=1)
    ranks = quantile_ranks(n, share, confidence)
    low = histogram_values(counts, edges, ranks.low - _CENTRE)
    high = histogram_values(counts, edges, ranks.high - _CENTRE)
    none = np.where(n > 0, 0.0, np.nan)
    return Intervals(
        np.where(ranks.low < 1, edges[0] + none, low),
        np.where(ranks.high > n, edges[-1] + none, high),
    )


def histogram_values(counts: npt.NDArray[np.int64], edges: Floats, below: Floats) -> Floats:
    """Where so many values lie below, by linear interpolation within a bin.

    Args:
      counts: (G, bins) of each group.
      edges: (bins + 1,) of the bins, ascending.
      below: (G,) how many, above 0 and at most as many as there are; else clipped.

    Returns:
      (G,) places; NaN of a group without values.
    """
    upto = np.cumsum(counts, axis=1)
    n = upto[:, -1]
    below = np.clip(below, 0, n)
    number = (upto < below[:, np.newaxis]).sum(axis=1)
    rows = np.arange(len(counts))
    number = np.minimum(number, counts.shape[1] - 1)
    inside = counts[rows, number]
    before = upto[rows, number] - inside
    with np.errstate(invalid="ignore", divide="ignore"):
        part = (below - before) / inside
    places = edges[number] + np.where(inside > 0, part, 0.0) * (edges[number + 1] - edges[number])
    return np.where(n > 0, places, np.nan)


def stored_interval(values: Floats, share: float, confidence: float) -> Intervals:
    """Of one group's quantile, from its values themselves, between which it interpolates.

    Holds where `quantile_ranks` holds. An end for which n is too small is infinite.

    Args:
      values: (n,) in any order, n from 1.
      share: Which quantile, above 0 and below 1.
      confidence: Of the interval.
    """
    ordered, n = np.sort(values), len(values)
    ranks = quantile_ranks(np.array([n]), share, confidence)
    whole = np.arange(1, n + 1)
    low = np.interp(ranks.low, whole, ordered, left=-np.inf)
    high = np.interp(ranks.high, whole, ordered, right=np.inf)
    return Intervals(low, high)
