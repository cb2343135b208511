"""Quantiles of values in 0..1 from counts in 256 bins with fixed edges.

Counts merge exactly, in any order. A quantile from them lies in the same bin as the true one (the
smallest value with at least that share of the values at or below it): it is less than 1/256 off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 256
"""Bin k holds [k / 256, (k + 1) / 256); the last one holds 1 as well."""

SLOTS = BINS + 1
"""Counts of one statistic: its bins, then how many values are undefined."""

_PERCENT = 100


def slot_numbers(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    """Each value's bin, or the last slot for NaN.

    >>> slot_numbers(np.array([0.0, 0.5, 1.0, np.nan]))
    array([  0, 128, 255, 256])
    """
    bins = np.minimum(values * BINS, BINS - 1)
    return np.where(np.isnan(bins), BINS, bins).astype(np.int64)


def quantiles(bins: npt.NDArray[np.int64], percents: tuple[int, ...]) -> list[float | None]:
    """Quantiles by linear interpolation within the bin, correctly rounded.

    Args:
      bins: (256,) counts.
      percents: Which, each in 1..100.

    Returns:
      One for each percent; None where nothing is counted.

    >>> quantiles(np.eye(BINS, dtype=np.int64)[128] * 10, (50,))  # ten values in [0.5, 0.5 + 1/256)
    [0.501953125]
    """
    upto = np.cumsum(bins)
    total = int(upto[-1])
    if not total:
        return [None] * len(percents)
    found: list[float | None] = []
    for percent in percents:
        rank = percent * total  # in hundredths of a value
        number = int(np.searchsorted(upto, -(-rank // _PERCENT)))
        inside = int(bins[number])
        before = int(upto[number]) - inside
        numerator = _PERCENT * (number * inside - before) + rank
        found.append(numerator / (_PERCENT * inside * BINS))
    return found
