"""Where a class's maps point to as no other class's do: the indicator of places.

    L[c, g] = ln of the mean sketch of class c at cell g
    D       = L less its median over classes, cell by cell
    R       = D less its median over cells, class by class
    S1[c]   = the largest R[c, g];  region = the cells connected to it with R within ln 2 of it

Classes are the units: what every class's maps do, such as to look at the middle, is in the median
over classes and goes; what a class does everywhere is in the median over cells and goes, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import ndimage

from pipeline.audit.estimation.intervals import Floats
from pipeline.audit.shortcuts.halves import Evidence, half_of_folds, half_of_rows
from pipeline.audit.shortcuts.scores import Scores, share_above_others
from transforms.store.map_format import tensor_values

Cells = npt.NDArray[np.bool_]

_CONNECTED = np.ones((3, 3), bool)  # Cells that touch at a corner are neighbours, too.


@dataclasses.dataclass(frozen=True)
class Places(Scores):
    """The indicator of each class: S1, a natural logarithm; ln 4 is four times what is usual there.

    Attributes:
      regions: (K, rows, columns) bool, on the grid of sketches.
    """

    regions: npt.NDArray[np.bool_]

    @property
    def areas(self) -> Floats:
        """(K,) the regions' share of the image."""
        shares: Floats = self.regions.mean(axis=(1, 2))
        return shares


def indicate_places(folds: pa.Table) -> Places:
    """Computes the indicator from `statistics/folds.parquet`.

    Cells without mass take half the smallest mass that any cell of any class has.

    Args:
      folds: The table, of an atlas of images.

    Returns:
      The classes with a map in half a; with fewer than two there is nothing to compare, and none.
    """
    targets, n, means = means_of_half(folds)
    if len(targets) < 2 or not (means > 0).any():  # noqa: PLR2004 - there are no others
        nothing = np.zeros(0, np.int64)
        return Places("place", "S1", nothing, nothing, np.zeros(0), means.astype(bool)[:0])
    unusual = log_contrast(means)
    regions = np.stack([_region(each) for each in unusual])
    return Places("place", "S1", targets, n, unusual.max(axis=(1, 2)), regions)


def means_of_half(
    folds: pa.Table,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Classes, their maps, and their (K, rows, columns) mean maps over the even folds."""
    half = half_of_folds(folds, "n")
    maps = tensor_values(half["mean_map"]).astype(np.float64)
    of_rows = half["class"].to_numpy().astype(np.int64)
    counts = half["n"].to_numpy().astype(np.int64)
    targets = np.unique(of_rows)
    n = np.array([counts[of_rows == each].sum() for each in targets], np.int64)
    sums = [
        np.tensordot(counts[of_rows == each], maps[of_rows == each], axes=1) for each in targets
    ]
    means = np.array(sums, np.float64).reshape(len(targets), *maps.shape[1:])
    return targets, n, means / np.maximum(n, 1)[:, np.newaxis, np.newaxis]


def log_contrast(means: Floats) -> Floats:
    """R: by how much more a class has at a place than others have there, and than it has elsewhere.

    Args:
      means: (K, rows, columns), at least one of them positive.

    Returns:
      (K, rows, columns), natural logarithms.
    """
    logarithms = np.log(np.where(means > 0, means, means[means > 0].min() / 2))
    unusual: Floats = logarithms - np.median(logarithms, axis=0)
    unusual -= np.median(unusual, axis=(1, 2), keepdims=True)
    return unusual


def _region(unusual: Floats) -> Cells:
    """The cells connected to the largest value that are within ln 2 of it."""
    near = unusual >= unusual.max() - np.log(2)
    labels, _ = ndimage.label(near, structure=_CONNECTED)
    region: Cells = labels == labels[np.unravel_index(unusual.argmax(), unusual.shape)]
    return region


def presences(
    evidence: Evidence, targets: Sequence[int], regions: npt.NDArray[np.bool_]
) -> list[float]:
    """In what share of a class's maps its region has more mass than is usual in other classes'.

    More is: more than the 95th percentile of the maps of other classes. One pass over the sketches
    of half a; 8 bytes per map and region are held.

    Args:
      evidence: The atlas.
      targets: The (C,) classes in question.
      regions: (C, rows, columns), the region of each.

    Returns:
      C shares, an effect size: 0.05 is what chance would give.
    """
    flat = regions.reshape(len(regions), -1).astype(np.float64).T
    masses, of_rows = [], []
    for owners, column in half_of_rows(evidence, "sketch"):
        sketches = column.storage.flatten().to_numpy().reshape(len(owners), -1)
        total = np.maximum(sketches.sum(axis=1, keepdims=True), 1)
        masses.append((sketches @ flat) / total)
        of_rows.append(owners)
    every, owner = np.concatenate(masses), np.concatenate(of_rows)
    return [
        share_above_others(mass, owner == target)
        for target, mass in zip(targets, every.T, strict=True)
    ]
