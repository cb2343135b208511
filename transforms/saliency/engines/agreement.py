"""Agreement: whether two engines make the same maps.

Engines order sums differently, so gradients differ in their last bits, and a unit that lies on its
activation's kink may be on for one and off for the other: single values then differ visibly, the
map does not. So whole maps are compared, by the ranks of their values and by their differences.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

_SMALLEST_SPEARMAN = 0.999
_SMALLEST_MEDIAN_SPEARMAN = 0.9999
_LARGEST_DIFFERENCE = 1e-3

_SMALLEST_MEDIAN_SPEARMAN_OF_MIXED = 0.9995  # The codec uint8 has 0.9999 itself.

_WRONG_MEDIAN_SPEARMAN = 0.9  # All of bfloat16 gave 0.78 to 0.96 on networks for images.


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well maps agree with the reference's.

    Attributes:
      maps: How many were compared.
      smallest_spearman: Rank correlation of the map that agrees least, -1..1.
      median_spearman: The median of the maps' rank correlations, -1..1.
      mean_difference: mean |a - r| / mean r of a map a and the reference's r, averaged over maps.
    """

    maps: int
    smallest_spearman: float
    median_spearman: float
    mean_difference: float

    @property
    def holds(self) -> bool:
        """Whether the maps are the same for all purposes."""
        return (
            self.maps > 0
            and self.smallest_spearman >= _SMALLEST_SPEARMAN
            and self.median_spearman >= _SMALLEST_MEDIAN_SPEARMAN
            and self.mean_difference <= _LARGEST_DIFFERENCE
        )

    @property
    def holds_for_mixed(self) -> bool:
        """Whether the maps differ by no more than the products' rounding may change them."""
        return (
            self.maps > 0
            and self.smallest_spearman >= _SMALLEST_SPEARMAN
            and self.median_spearman >= _SMALLEST_MEDIAN_SPEARMAN_OF_MIXED
        )

    @property
    def is_wrong(self) -> bool:
        """Whether they are other maps, which no rounding in float32 explains."""
        return self.maps > 0 and self.median_spearman < _WRONG_MEDIAN_SPEARMAN

    def __str__(self) -> str:
        return (
            f"Spearman at least {self.smallest_spearman:.6f}, median {self.median_spearman:.6f}, "
            f"mean relative difference {self.mean_difference:.1e} on {self.maps} maps"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        return dataclasses.asdict(self)


def measure_agreement(
    reference: npt.NDArray[np.float32], maps: npt.NDArray[np.float32]
) -> Agreement:
    """Compares maps.

    Args:
      reference: (M, positions) float32, of the reference. What is not finite there is left out.
      maps: The same maps, of another engine.
    """
    finite = np.isfinite(reference).all(axis=1)
    pairs = list(zip(reference[finite], maps[finite], strict=True))
    correlations = [spearman(*pair) for pair in pairs]
    differences = [_difference(*pair) for pair in pairs]
    return Agreement(
        maps=len(pairs),
        smallest_spearman=min(correlations, default=0.0),
        median_spearman=float(np.median(correlations)) if pairs else 0.0,
        mean_difference=float(np.mean(differences)) if pairs else 0.0,
    )


def spearman(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Spearman's rank correlation; equal values share the mean of their ranks.

    Where one side is constant it is 1 if the other is too, else 0; it is 0 where values are not
    finite.
    """
    if not np.isfinite(second).all():
        return 0.0
    a, b = (ranks - ranks.mean() for ranks in map(_ranks, (first, second)))
    norms = float(np.sqrt((a @ a) * (b @ b)))
    if norms == 0.0:
        return float(not a.any() and not b.any())
    return float(a @ b) / norms


def _ranks(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _difference(reference: npt.NDArray[np.float32], values: npt.NDArray[np.float32]) -> float:
    mean = float(np.mean(reference, dtype=np.float64))
    difference = float(np.mean(np.abs(values - reference), dtype=np.float64))
    if mean == 0.0:
        return 0.0 if difference == 0.0 else np.inf
    return difference / mean
