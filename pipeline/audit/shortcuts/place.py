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
import pyarrow.compute as pc
from scipy import ndimage

from pipeline.atlas import Atlas
from pipeline.audit.estimation.intervals import Floats
from transforms.statistics.groups.folds import folds_of

Cells = npt.NDArray[np.bool_]

_CONNECTED = np.ones((3, 3), bool)  # Cells that touch at a corner are neighbours, too.
_RARE_PERCENTILE = 95.0
_HALVES = 2


@dataclasses.dataclass(frozen=True)
class Places:
    """The indicator of each class, from the even folds, half a.

    Attributes:
      targets: (K,) the classes, ascending.
      n: (K,) maps that it is made of.
      score: (K,) S1, a natural logarithm: ln 4 is four times what is usual there.
      regions: (K, rows, columns) bool, on the grid of sketches.
    """

    targets: npt.NDArray[np.int64]
    n: npt.NDArray[np.int64]
    score: Floats
    regions: npt.NDArray[np.bool_]


def indicate_places(folds: pa.Table) -> Places:
    """Computes the indicator from `statistics/folds.parquet`.

    Cells without mass take half the smallest mass that any cell of any class has.

    Args:
      folds: The table, of an atlas of images.

    Returns:
      The classes with a map in half a; with fewer than two there is nothing to compare, and none.
    """
    targets, n, means = _means_of_half(folds)
    if len(targets) < 2 or not (means > 0).any():  # noqa: PLR2004 - there are no others
        nothing = np.zeros(0, np.int64)
        return Places(nothing, nothing, np.zeros(0), np.zeros((0, *means.shape[1:]), bool))
    logarithms = np.log(np.where(means > 0, means, means[means > 0].min() / 2))
    unusual = logarithms - np.median(logarithms, axis=0)
    unusual -= np.median(unusual, axis=(1, 2), keepdims=True)
    regions = np.stack([_region(each) for each in unusual])
    return Places(targets, n, unusual.max(axis=(1, 2)), regions)


def _means_of_half(
    folds: pa.Table,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Classes, their maps, and their (K, rows, columns) mean maps over the even folds."""
    even = pc.equal(
        pc.bit_wise_and(folds["fold"], pa.scalar(1, folds.schema.field("fold").type)), 0
    )
    half = folds.filter(pc.and_(even, pc.greater(folds["n"], 0)))
    column = half["mean_map"].combine_chunks()
    shape = folds.schema.field("mean_map").type.shape
    maps = column.storage.flatten().to_numpy().astype(np.float64).reshape(-1, *shape)
    of_rows = half["class"].to_numpy().astype(np.int64)
    counts = half["n"].to_numpy().astype(np.int64)
    targets = np.unique(of_rows)
    n = np.array([counts[of_rows == each].sum() for each in targets], np.int64)
    sums = [
        np.tensordot(counts[of_rows == each], maps[of_rows == each], axes=1) for each in targets
    ]
    means = np.array(sums, np.float64).reshape(len(targets), *shape)
    return targets, n, means / np.maximum(n, 1)[:, np.newaxis, np.newaxis]


def _region(unusual: Floats) -> Cells:
    """The cells connected to the largest value that are within ln 2 of it."""
    near = unusual >= unusual.max() - np.log(2)
    labels, _ = ndimage.label(near, structure=_CONNECTED)
    region: Cells = labels == labels[np.unravel_index(unusual.argmax(), unusual.shape)]
    return region


def presences(atlas: Atlas, targets: Sequence[int], regions: npt.NDArray[np.bool_]) -> Floats:
    """In what share of a class's maps its region has more mass than is usual in other classes'.

    More is: more than the 95th percentile of the maps of other classes. One pass over the sketches
    of half a; 8 bytes per map and region are held.

    Args:
      atlas: The atlas.
      targets: The (C,) classes in question.
      regions: (C, rows, columns), the region of each.

    Returns:
      (C,) shares, an effect size: 0.05 is what chance would give.
    """
    masses, of_rows = _masses(atlas, regions)
    found = []
    for target, mass in zip(targets, masses.T, strict=True):
        usual = np.percentile(mass[of_rows != target], _RARE_PERCENTILE)
        found.append(np.mean(mass[of_rows == target] > usual))
    return np.array(found, np.float64)


def _masses(atlas: Atlas, regions: npt.NDArray[np.bool_]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """(maps, C) mass of each map in each region, and the maps' classes, of half a."""
    flat = regions.reshape(len(regions), -1).astype(np.float64).T
    masses, targets = [], []
    for batch in atlas.batches(["example_id", "target", "sketch"], pc.field("sketch").is_valid()):
        half = np.flatnonzero(folds_of(batch["example_id"].to_pylist()) % _HALVES == 0)
        rows = batch.take(pa.array(half))
        sketches = rows["sketch"].storage.flatten().to_numpy().reshape(len(half), -1)
        total = np.maximum(sketches.sum(axis=1, keepdims=True), 1)
        masses.append((sketches @ flat) / total)
        targets.append(rows["target"].to_numpy().astype(np.int64))
    return np.concatenate(masses), np.concatenate(targets)
