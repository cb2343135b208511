"""How alike two maps of an example are: Spearman's rank correlation, the overlap of their tops.

Both are of the codes as they are stored, of many pairs of maps at once. Decoding is monotone, so
codes have the ranks of the values that they stand for, apart from values that share a code.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from transforms.codec import LEVELS, SIGNED_LEVELS
from transforms.statistics.levels import level_counts

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[Any]

TOP_SHARE = 10
"""The top of a map is a tenth of its places, rounded up."""

_VALUES_AT_ONCE = 1 << 18  # of each map, so that ranks, 8 bytes each, stay in caches
_MAPS_AT_ONCE = 256  # so that two bytes number the levels of all


class Similarity(NamedTuple):
    """Of pairs of maps; NaN where one of the two is the same everywhere.

    Attributes:
      spearman: (N,) rank correlations, -1..1.
      overlap: (N,) shares, 0..1, of the top decile of one map that is in that of the other.
    """

    spearman: Floats
    overlap: Floats


def similarity(first: Codes, second: Codes, *, signed: bool) -> Similarity:
    """Compares maps pair by pair.

    - Spearman's correlation: Pearson's of ranks, equal codes sharing the mean of their ranks, as
      `scipy.stats.spearmanr` has it. Computed from integers, exactly up to one division and root
      for maps of up to 300,000 places, so that it is the same number everywhere.
    - Top-decile overlap: |T1 & T2| / |T1|, where T holds the ceil(n / 10) places of the largest
      magnitudes; of equal ones, the first in row order.

    Args:
      first: (N, ...) codes of any codec, or sketches.
      second: (N, ...) as many codes each, of any codec.
      signed: Whether both have a sign, so that ranks are of values; else they are of magnitudes.

    Raises:
      ValueError: The maps have not the same number of places.
    """
    ours, theirs = (each.reshape(len(each), math.prod(each.shape[1:])) for each in (first, second))
    if ours.shape != theirs.shape:
        raise ValueError(f"maps of {ours.shape} and {theirs.shape} cannot be met place by place")
    found = Similarity(np.full(len(ours), np.nan), np.full(len(ours), np.nan))
    step = min(_MAPS_AT_ONCE, max(1, _VALUES_AT_ONCE // max(1, ours.shape[1])))
    for start in range(0, len(ours), step):
        rows = slice(start, start + step)
        one, other = (_ranked(each[rows], signed=signed) for each in (ours, theirs))
        with np.errstate(invalid="ignore", divide="ignore"):
            # Each sum is of integers that a float64 holds exactly, whatever their order.
            product = np.einsum("nk,nk->n", one.ranks, other.ranks)
            correlation = product / np.sqrt(one.squares * other.squares)
        defined = (one.squares > 0) & (other.squares > 0)
        found.spearman[rows] = np.where(defined, correlation, np.nan)
        # Row by row: along an axis NumPy counts ten times slower.
        common = np.array([np.count_nonzero(each) for each in one.top & other.top])
        found.overlap[rows] = np.where(defined, common / _top_size(ours.shape[1]), np.nan)
    return found


class _Ranked(NamedTuple):
    """Maps by the order of their places.

    Attributes:
      ranks: (N, n) float64, twice the mean rank less n + 1: integers around 0.
      squares: (N,) the sums of their squares; 0 where all places are equal.
      top: (N, n) bool, the top decile.
    """

    ranks: Floats
    squares: Floats
    top: npt.NDArray[np.bool_]


def _ranked(codes: Codes, *, signed: bool) -> _Ranked:
    if codes.dtype.itemsize == 1:
        return _ranked_bytes(codes, signed=signed)
    values = codes.astype(np.float64)
    magnitudes = np.abs(values)
    ranks = 2 * stats.rankdata(values if signed else magnitudes, axis=1) - (values.shape[1] + 1)
    size = _top_size(values.shape[1])
    least = np.partition(magnitudes, -size, axis=1)[:, -size]
    above = np.count_nonzero(magnitudes > least[:, np.newaxis], axis=1)
    top = _top(magnitudes, least, size - above)
    return _Ranked(ranks, np.einsum("nk,nk->n", ranks, ranks), top)


def _ranked_bytes(codes: Codes, *, signed: bool) -> _Ranked:
    """Of codes of one byte, whose counts say all that sorting would."""
    rows, places = codes.shape
    # The levels of int8, from -128 on, in their order.
    levels: Codes = codes if codes.dtype == np.uint8 else codes.view(np.uint8) ^ SIGNED_LEVELS
    counts = level_counts(levels)
    magnitudes, of_magnitudes = codes, counts
    if codes.dtype == np.int8:
        magnitudes, of_magnitudes = np.abs(codes).view(np.uint8), _of_magnitudes(counts)
        if not signed:
            levels, counts = magnitudes, of_magnitudes
    below = np.cumsum(counts, axis=1) - counts
    by_level = (2 * below + counts - places).astype(np.float64)
    squares = (counts * by_level**2).sum(axis=1)
    size = _top_size(places)
    at_least = np.cumsum(of_magnitudes[:, ::-1], axis=1)[:, ::-1]
    least = (at_least >= size).sum(axis=1) - 1
    above = (at_least - of_magnitudes)[np.arange(rows), least]
    top = _top(magnitudes, least.astype(np.uint8), size - above)
    # By Arrow, which takes short integers for indices: NumPy makes 8 bytes of each first.
    slots = levels + (np.arange(rows, dtype=np.uint16) * LEVELS)[:, np.newaxis]
    ranks = pc.take(pa.array(by_level.reshape(-1)), pa.array(slots.reshape(-1)), boundscheck=False)
    return _Ranked(ranks.to_numpy().reshape(codes.shape), squares, top)


def _of_magnitudes(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Counts of int8's magnitudes 0 to 128, at the places of uint8's levels."""
    found = np.zeros_like(counts)
    found[:, :SIGNED_LEVELS] = counts[:, SIGNED_LEVELS:]
    found[:, 1 : SIGNED_LEVELS + 1] += counts[:, SIGNED_LEVELS - 1 :: -1]
    return found


def _top_size(places: int) -> int:
    return -(-places // TOP_SHARE)


def _top(magnitudes: Codes, least: Codes, ties: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """The top of each map: the places above a magnitude, and the first ones equal to it.

    Args:
      magnitudes: (N, n).
      least: (N,), the least magnitude of each top.
      ties: (N,), how many places equal to it are in the top.
    """
    top = np.asarray(magnitudes > least[:, np.newaxis])
    equal = magnitudes == least[:, np.newaxis]
    for above, tied, count in zip(top, equal, ties.tolist(), strict=True):
        above[tied.nonzero()[0][:count]] = True
    return top
