"""What an indicator says of each class, and how far one class is from the others."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.audit.estimation.intervals import Floats

IndicatorKind = Literal["place", "repeat", "property"]

FEWEST_CLASSES = 8
"""With fewer, a class has too few others to stand out from: its candidate is not calibrated."""

_RARE_PERCENTILE = 95.0


@dataclasses.dataclass(frozen=True)
class Scores:
    """An indicator of K classes, from half a.

    Attributes:
      kind: What kind of shortcut it is about.
      statistic: Its name.
      targets: (K,) the classes, ascending.
      n: (K,) maps or images that it is made of.
      score: (K,) its value: the larger, the more unusual.
    """

    kind: IndicatorKind
    statistic: str
    targets: npt.NDArray[np.int64]
    n: npt.NDArray[np.int64]
    score: Floats


def lead(score: Floats) -> Floats:
    """By how much each value is above the largest of the others.

    From eight classes on above the second largest: two that stand out do not hide one another.

    Args:
      score: (K,), at least 2.

    >>> lead(np.array([0.2, 0.9, 0.3])).round(9).tolist()
    [-0.7, 0.6, -0.6]
    """
    passed = 1 if len(score) >= FEWEST_CLASSES else 0
    order = np.argsort(-score, kind="stable")
    is_ahead = np.isin(np.arange(len(score)), order[: passed + 1])
    others = np.where(is_ahead, score[order[passed + 1]], score[order[passed]])
    above: Floats = score - others
    return above


def share_above_others(values: Floats, is_own: npt.NDArray[np.bool_]) -> float:
    """The share of a class's values above the 95th percentile of the other classes'.

    Args:
      values: (N,) of half a.
      is_own: (N,) whose.

    Returns:
      0 where the class has none of the values, or it has them all.
    """
    if is_own.all() or not is_own.any():
        return 0.0
    usual = np.percentile(values[~is_own], _RARE_PERCENTILE)
    return float(np.mean(values[is_own] > usual))
