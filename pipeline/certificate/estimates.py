"""A mean over examples with its interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.audit.estimation.intervals import Moments, mean_interval
from pipeline.compare.joined import estimate
from pipeline.compare.result import Estimate

CONFIDENCE = 0.95
"""Of each interval by itself."""

_FEWEST = 3  # examples, of which a skewness can be told


def mean_of(values: npt.NDArray[np.floating[Any]]) -> Estimate:
    """The mean of what is defined, with Student's t corrected for skewness (`mean_interval`).

    Args:
      values: (n,); NaN is left out.

    >>> mean_of(np.array([0.5, np.nan]))
    Estimate(value=0.5, low=None, high=None)
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return Estimate(value=None, low=None, high=None)
    mean = float(known.mean())
    if len(known) < _FEWEST:
        return Estimate(value=mean, low=None, high=None)
    low, high = mean_interval(Moments.of(known), CONFIDENCE)
    return estimate(mean, float(low[0]), float(high[0]))
