"""Orders of places: what the score does as they are taken away or put back, one after the other.

Places go in cells, at most 28 along each axis, the same share of them at each step. What is taken
away becomes the mean of its image's or series' channel; in a table, the feature's mean over the
sample. Single pixels in a random order would change an image into something it never is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.certificate.estimates import mean_of
from pipeline.certificate.result import Ordering
from transforms.saliency.perturbing.random_numbers import random_key

STEPS = 10
"""Of each curve: a tenth of the cells goes at each."""

_CELLS = 28  # along an axis, at most
_SEED = 0

Floats = npt.NDArray[np.floating[Any]]
Score = Callable[[Floats, npt.NDArray[np.int64]], Floats]
"""(m, *shape) inputs, (m,) which examples they are of -> (m,) scores."""


def cell_masses(maps: Floats) -> npt.NDArray[np.float64]:
    """The mass of each cell of maps.

    Args:
      maps: (n, *positions), magnitudes.

    Returns:
      (n, *cells), at most 28 along each axis.

    >>> cell_masses(np.ones((1, 56, 3))).shape, float(cell_masses(np.ones((1, 56, 3)))[0, 0, 0])
    ((1, 28, 3), 2.0)
    """
    masses = maps.astype(np.float64)
    for axis, size in enumerate(maps.shape[1:], start=1):
        starts = np.unique(_cell_of(size), return_index=True)[1]
        masses = np.add.reduceat(masses, starts, axis=axis)
    return masses


def _cell_of(size: int) -> npt.NDArray[np.int64]:
    """(size,) which cell each place of an axis is in."""
    return np.arange(size) * min(size, _CELLS) // size


def ranks_of(masses: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """(n, cells) which place each cell has when the largest mass goes first; ties by their order.

    >>> ranks_of(np.array([[1.0, 3.0, 3.0]]))
    array([[2, 0, 1]])
    """
    order = np.argsort(-masses.reshape(len(masses), -1), axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable")


def random_ranks(ids: tuple[str, ...], cells: int) -> npt.NDArray[np.int64]:
    """(n, cells) places in a random order, which depends on the example's id alone."""
    return np.stack(
        [
            np.random.Generator(np.random.Philox(key=random_key(_SEED, 0, each)[:2])).permutation(
                cells
            )
            for each in ids
        ]
    )


@dataclasses.dataclass(frozen=True)
class Curves:
    """Areas under the curves of n examples.

    Attributes:
      deletion: (n,) of the score as places are taken away.
      insertion: (n,) of the score as they are put back.
    """

    deletion: npt.NDArray[np.float64]
    insertion: npt.NDArray[np.float64]


def areas(
    inputs: Floats,
    positions: tuple[int, ...],
    ranks: npt.NDArray[np.int64],
    score: Score,
    batch_size: int,
) -> Curves:
    """Areas under the curves of one order, by the trapezoidal rule; 0..1 is their base.

    Args:
      inputs: (n, *positions) or (n, *positions, channels), as they are decoded.
      positions: Shape of a map.
      ranks: (n, cells) which place each cell has in the order.
      score: What is looked at.
      batch_size: Examples in one call of it.
    """
    empty = emptied(inputs, positions)
    found = []
    for start in range(0, len(inputs), batch_size):
        rows = np.arange(start, min(start + batch_size, len(inputs)))

        def score_of(batch: Floats, rows: npt.NDArray[np.int64] = rows) -> Floats:
            return score(batch, rows)

        found.append(_areas(inputs[rows], empty[rows], positions, ranks[rows], score_of))
    deletion, insertion = (np.concatenate(each) for each in zip(*found, strict=True))
    return Curves(deletion, insertion)


def _areas(
    batch: Floats,
    empty: Floats,
    positions: tuple[int, ...],
    ranks: npt.NDArray[np.int64],
    score: Callable[[Floats], Floats],
) -> tuple[Floats, Floats]:
    cells = ranks.shape[1]
    whole, nothing = score(batch), score(empty)
    deleted = inserted = (whole + nothing) / 2  # The ends count half.
    for step in range(1, STEPS):
        # As many cells as make the step's share, rounded.
        gone = _spread(ranks < round(step * cells / STEPS), positions, batch.ndim)
        deleted = deleted + score(np.where(gone, empty, batch))
        inserted = inserted + score(np.where(gone, batch, empty))
    return deleted / STEPS, inserted / STEPS


def emptied(inputs: Floats, positions: tuple[int, ...]) -> Floats:
    """What inputs become where places are taken away; it broadcasts to them.

    Args:
      inputs: (n, *positions) or (n, *positions, channels).
      positions: Shape of a map.
    """
    if len(positions) == 1:
        return np.broadcast_to(inputs.mean(axis=0, keepdims=True), inputs.shape)
    # The channels of an image are its last axis; the series of (T, W) are a map's.
    over = tuple(range(1, inputs.ndim - 1))
    return np.broadcast_to(inputs.mean(axis=over, keepdims=True), inputs.shape)


def _spread(
    cells: npt.NDArray[np.bool_], positions: tuple[int, ...], rank: int
) -> npt.NDArray[np.bool_]:
    """Cells (n, cells) as a mask of inputs of some rank."""
    shape = [min(size, _CELLS) for size in positions]
    mask = cells.reshape(len(cells), *shape)
    for axis, size in enumerate(positions, start=1):
        mask = np.take(mask, _cell_of(size), axis=axis)
    return mask.reshape(*mask.shape, *[1] * (rank - mask.ndim))


def ordering(
    by_map: npt.NDArray[np.float64], at_random: npt.NDArray[np.float64], better: int
) -> Ordering:
    """What two orders' areas (n,) come to, over the examples whose areas are finite.

    A model may have no score for an input that is the same everywhere.

    Args:
      by_map: Of the map's order.
      at_random: Of a random one.
      better: 1 where a larger area is better, -1 where a smaller one is.
    """
    known = np.isfinite(by_map) & np.isfinite(at_random)
    by_map, at_random = by_map[known], at_random[known]
    return Ordering(
        by_map=float(by_map.mean()) if known.any() else None,
        at_random=float(at_random.mean()) if known.any() else None,
        gain=mean_of(better * (by_map - at_random)),
    )
