"""Classes of other, blessed atlases, which say how unusual an indicator's value is.

    p[c] = (1 + how many of the m reference classes reach the value of class c) / (m + 1)
    q    = Benjamini-Hochberg over classes and indicators

A conformal p value (Bates et al. 2023, "Testing for outliers with conformal p-values", arXiv
2104.08279): it holds its level if the atlas's clean classes could as well be classes of the
reference, so it takes atlases of data, a model and a number of classes of the same kind. Ranks
among a model's own classes cannot pass a correction for their number, and a t among them with
outliers set apart calls clean classes significant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import stats

from pipeline.audit.estimation.intervals import Floats
from pipeline.audit.shortcuts.halves import Evidence
from pipeline.audit.shortcuts.indicators import indicators
from pipeline.audit.shortcuts.scores import FEWEST_CLASSES, Scores, lead
from pipeline.audit.shortcuts.shortcut import ReferenceClasses

_LEVEL = 0.05
"""With fewer than classes / 0.05 of reference, no class could have a smaller q by itself."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """What the classes of other atlases have of each indicator.

    Attributes:
      values: By the indicator's statistic, ascending.
      min_n: Classes with fewer maps are none of them, and have no q.
    """

    values: Mapping[str, Floats]
    min_n: int

    @classmethod
    def of(cls, atlases: Iterable[Evidence], min_n: int) -> Reference:
        """Reads the small tables of atlases.

        Raises:
          ConfigurationError: One has no table of folds.
        """
        found: dict[str, list[Floats]] = {}
        for atlas in atlases:
            for each in indicators(atlas):
                found.setdefault(each.statistic, []).append(ranked(each)[each.n >= min_n])
        return cls({name: np.sort(np.concatenate(each)) for name, each in found.items()}, min_n)

    def q_values(self, scores: Sequence[Scores]) -> list[Floats]:
        """The q values of all classes, by indicator.

        Returns:
          (K,) each; NaN for a class with too few maps, and of an indicator whose reference is too
          small.
        """
        p_values = [self._p_values(each) for each in scores]
        flat = np.concatenate([np.zeros(0), *p_values])
        known = ~np.isnan(flat)
        if known.any():
            flat[known] = stats.false_discovery_control(flat[known], method="bh")
        ends = np.cumsum([len(each) for each in p_values])
        return np.split(flat, ends[:-1]) if p_values else []

    def describe(self, atlases: Sequence[str], scores: Sequence[Scores]) -> ReferenceClasses:
        """What it is made of, and what it takes; 0 where no number of classes would do."""
        classes = [len(self.values.get(each.statistic, ())) for each in scores]
        needed = [
            self._needed(each) if len(each.targets) >= FEWEST_CLASSES else 0 for each in scores
        ]
        return ReferenceClasses(
            atlases=list(atlases), classes=min(classes, default=0), needed=max(needed, default=0)
        )

    def _p_values(self, scores: Scores) -> Floats:
        enough = scores.n >= self.min_n
        values = self.values.get(scores.statistic, np.zeros(0))
        if len(scores.targets) < FEWEST_CLASSES or len(values) < self._needed(scores):
            return np.full(len(scores.targets), np.nan)
        return np.where(enough, conformal_p(ranked(scores), values), np.nan)

    def _needed(self, scores: Scores) -> int:
        return round(int((scores.n >= self.min_n).sum()) / _LEVEL)


def ranked(scores: Scores) -> Floats:
    """What classes are ranked by: the indicator; of repeats the lead, as candidates are."""
    return lead(scores.score) if scores.kind == "repeat" else scores.score


def conformal_p(values: Floats, reference: Floats) -> Floats:
    """The p value of each value: its rank among those of the reference.

    Args:
      values: (K,).
      reference: (m,) ascending.

    >>> conformal_p(np.array([9.0, 2.0]), np.array([1.0, 2.0, 3.0])).tolist()
    [0.25, 0.75]
    """
    reached = len(reference) - np.searchsorted(reference, values, side="left")
    p: Floats = (1 + reached) / (len(reference) + 1)
    return p
