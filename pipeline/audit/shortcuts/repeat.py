"""What repeats in a class's maps, wherever it is: the indicator of marks at changing places.

    f       = the autocorrelation of a peak window less the mean over classes of their mean ones
    S2[c]   = the mean of f . f' over pairs of class c's maps, by the mean of f . f

A window is what the map looks like around its peak (`peak_windows`): a mark that a model looks for
looks alike in each of its images, and so do the maps around it. S2 is 0 where a class's windows
have nothing in common that other classes' have not, and 1 where they are all alike (an intraclass
correlation). Of the autocorrelation, as a network's strides and poolings move a peak against what
made it: of windows as they are, marks that change their place were not told from clean classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.audit.estimation.intervals import Floats
from pipeline.audit.shortcuts.halves import Evidence, half_of_folds, half_of_rows
from pipeline.audit.shortcuts.scores import Scores, share_above_others
from transforms.statistics.peak_windows import (
    PEAK_WINDOW,
    WINDOW_UNIT_BITS,
    autocorrelations,
    read_windows,
)
from transforms.store.map_format import tensor_values

_SUM = "autocorrelation_sum"
_UNIT = float(1 << WINDOW_UNIT_BITS)


@dataclasses.dataclass(frozen=True)
class Repeats(Scores):
    """The indicator of each class: S2, an intraclass correlation, at most 1.

    Attributes:
      totals: (K, 121) the sum of its windows' autocorrelations.
    """

    totals: Floats

    @property
    def usual(self) -> Floats:
        """(121,) the mean autocorrelation of all classes, each counted once."""
        mean: Floats = (self.totals / self.n[:, np.newaxis]).mean(axis=0)
        return mean


def indicate_repeats(folds: pa.Table) -> Repeats:
    """Computes the indicator from `statistics/folds.parquet`.

    Args:
      folds: The table; of an atlas that an older version made it has no autocorrelations.

    Returns:
      The classes with two windows or more in half a; with fewer than two classes there is nothing
      to compare, and none.
    """
    nothing = np.zeros(0, np.int64)
    none = Repeats("repeat", "S2", nothing, nothing, np.zeros(0), np.zeros((0, 1)))
    if _SUM not in folds.column_names:
        return none
    half = half_of_folds(folds, "windows")
    of_rows = half["class"].to_numpy().astype(np.int64)
    targets = np.unique(of_rows)
    n = _by_class(of_rows, targets, half["windows"].to_numpy())
    targets, n = targets[n > 1], n[n > 1]
    if len(targets) < 2:  # noqa: PLR2004 - there are no others
        return none
    sums = tensor_values(half[_SUM]).reshape(len(of_rows), -1)
    totals = _by_class(of_rows, targets, sums) / _UNIT
    squares = _by_class(of_rows, targets, half["autocorrelation_squares"].to_numpy()) / _UNIT**2
    found = Repeats("repeat", "S2", targets, n, np.zeros(len(targets)), totals)
    return dataclasses.replace(found, score=_correlations(n, totals, squares, found.usual))


def _by_class(
    of_rows: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], values: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Sums of rows, by class."""
    return np.array([values[of_rows == target].sum(axis=0) for target in targets], np.int64)


def _correlations(
    n: npt.NDArray[np.int64], totals: Floats, squares: Floats, usual: Floats
) -> Floats:
    """S2 of each class, from the sums of its autocorrelations and of their squared norms."""
    centred = totals - n[:, np.newaxis] * usual
    norms = squares - 2 * totals @ usual + n * (usual @ usual)
    pairs = (centred * centred).sum(axis=1) - norms
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = pairs / (n - 1) / norms
    return np.where(norms > 0, found, 0.0)  # Windows that are all the same, in all classes.


def presences(evidence: Evidence, repeats: Repeats, rows: Sequence[int]) -> list[float]:
    """In what share of a class's maps the peak looks as the class's others do.

    It looks so by the product of its centred autocorrelation with the mean of the class's others;
    enough is more than the 95th percentile of other classes' maps, whose product is with all.

    Args:
      evidence: The atlas.
      repeats: The indicator.
      rows: Which of its classes.

    Returns:
      A share each: 0.05 is what chance would give.
    """
    usual, n = repeats.usual, repeats.n[list(rows)]
    sums = repeats.totals[list(rows)] - n[:, np.newaxis] * usual
    products, squares, owners = [], [], []
    for targets, column in half_of_rows(evidence, PEAK_WINDOW):
        shapes = autocorrelations(read_windows(pa.chunked_array([column]))) / _UNIT
        centred = shapes.reshape(len(targets), -1) - usual
        products.append(centred @ sums.T)
        squares.append((centred * centred).sum(axis=1))
        owners.append(targets)
    product, square, owner = (np.concatenate(each) for each in (products, squares, owners))
    found = []
    for place, row in enumerate(rows):
        is_own = owner == repeats.targets[row]
        own = (product[:, place] - square) / (n[place] - 1)
        likeness = np.where(is_own, own, product[:, place] / n[place])
        found.append(share_above_others(likeness, is_own))
    return found
