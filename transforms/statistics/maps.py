"""Statistics of single maps, in TensorFlow, for the graph that makes the maps.

With p = A / sum A, the unit-mass form of a map A over n positions, and pixel centres (i + 1/2) / H
as coordinates in 0..1:

| statistic       | definition                                                                  |
| --------------- | --------------------------------------------------------------------------- |
| `entropy`       | -sum p ln p / ln n: 1 for a uniform map. Bhatt et al. 2020, arXiv 2005.00631 |
| `gini`          | see `gini_from_codes`                                                       |
| `centroid_*`    | sum p r                                                                     |
| `spread`        | sqrt(sum p |r - centroid|^2)                                                |
| `peak_*`        | the maximum's place, the first in row order                                 |
| `border_energy` | mass in the outer frame, 1/8 of each side wide                              |
| `corner_energy` | mass in the corner rectangles of 1/4 of each side: the largest of the four  |
| `center_energy` | mass in the central rectangle of half of each side                          |
| `box_energy`    | mass in the union of boxes. Wang et al. 2020, arXiv 1910.01279              |
| `mask_energy`   | mass in the example's mask                                                  |
| `pointing_hit`  | whether the peak is in a box, or the mask. Zhang et al. 2018, arXiv 1608.00507 |
| `NAME_energy`   | mass in a region that the user names, see `regions`                         |
| `positive_share` | of a map with a sign: mass of its positive values                          |
| sketch          | p pooled by exact area, in units of 2**-24, rounded half to even            |

Regions are exact: a pixel that a boundary cuts counts with the share of its area inside, so a
uniform map has the same energies at every size (`UNIFORM_SHARES`) and no side needs rounding.
Frame, corners and centre are unions of cells of an 8 x 8 grid. A *box* or an example's *mask*,
however, holds a pixel or not: by its centre.

A map with a sign is described by its magnitudes |A|. One that is all zero or not finite has no
statistics, only NaN, which tables show as null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from transforms.codec import LEVELS, SMALLEST_NORMAL
from transforms.statistics.columns import (
    BOX_ENERGY,
    MASK_ENERGY,
    POINTING_HIT,
    SKETCH_UNIT_BITS,
    region_energy,
    statistic_names,
)
from transforms.statistics.levels import level_counts
from transforms.statistics.peak_windows import overlap_shares

if TYPE_CHECKING:
    import tensorflow as tf

MapKind = Literal["image", "time_series", "tabular"]
Place = tuple[tuple[int, ...], str]
"""Shape and NumPy type of what is known of one example's places."""

REGIONS = "regions"
"""In `MapStatistics.places`: of all regions together, for each different view of an image."""

VIEW = "view"
"""In `MapStatistics.places`: which of those views an example has."""

_EIGHTHS = 8
_RANKS: dict[MapKind, int] = {"image": 2, "time_series": 2, "tabular": 1}


class MapStatistics:
    """Computes the statistics of a batch of maps inside a graph.

    | map                    | statistics                                  | sketch              |
    | ---------------------- | ------------------------------------------- | ------------------- |
    | image (H, W)           | all                                         | (rows, columns)     |
    | time series (T, W)     | all but border, corner and center energy    | (rows, columns)     |
    | tabular (W,)           | entropy, peak_x = index / (W - 1)           | (min(W, cells),)    |

    A tabular sketch is one-dimensional: the unit-mass map itself while it has no more than the
    grid's rows * columns cells, else pooled to that many. A grid finer than the map spreads a
    pixel's mass evenly over the cells it covers. Undefined are the entropy of a map of one pixel
    (ln n = 0); peak_x of a tabular map of one is 0. Maps of several channels (reducer `none`) are
    given as their maximum over channels: statistics describe positions.

    Attributes:
      sketch_shape: Shape of one map's sketch.
      places: What has to be known of each example's places, in the order in which it is handed on:
        name -> shape and NumPy type of one example's. `box_energy` and `mask_energy` are of the
        pixels in its boxes and in its mask. `regions` is of the share of each pixel in each region,
        not for each example but for each different `view`, as `places.separated` makes it.
    """

    def __init__(
        self,
        map_shape: Sequence[int],
        sketch: Sequence[int] = (28, 28),
        *,
        kind: MapKind = "image",
        with_boxes: bool = False,
        with_masks: bool = False,
        regions: Sequence[str] = (),
    ) -> None:
        if len(map_shape) != _RANKS[kind] or min(map_shape) < 1:
            raise ValueError(
                f"a map of kind {kind} has {_RANKS[kind]} positive sides, not {tuple(map_shape)}"
            )
        if len(sketch) != 2 or min(sketch) < 1:  # noqa: PLR2004 - rows and columns
            raise ValueError(f"a sketch has positive (rows, columns), not {tuple(sketch)}")
        if (with_boxes or with_masks or regions) and kind != "image":
            raise ValueError(
                f"boxes, masks and regions are places in images: a map of kind {kind} cannot have "
                "them"
            )
        self._regions = tuple(regions)
        shape = tuple(map_shape)
        found: dict[str, Place] = {BOX_ENERGY: (shape, "bool")} if with_boxes else {}
        found |= {MASK_ENERGY: (shape, "bool")} if with_masks else {}
        if regions:
            found |= {REGIONS: ((len(regions), *shape), "float32"), VIEW: ((), "int32")}
        self.places: Mapping[str, Place] = found
        self._kind = kind
        names = statistic_names(with_boxes, with_masks, regions)
        self._names = [name for name in names if name != "gini"]
        if kind == "tabular":
            self._height, self._width = 1, map_shape[0]
            grid = (1, min(self._width, math.prod(sketch)))
            self.sketch_shape: tuple[int, ...] = grid[1:]
        else:
            self._height, self._width = map_shape
            grid = (sketch[0], sketch[1])
            self.sketch_shape = grid
        self._grid = grid
        self._row_shares = _shares_of_grid_and_eighths(grid[0], self._height)
        self._column_shares = _shares_of_grid_and_eighths(grid[1], self._width).T
        self._y = pixel_centres(self._height).astype(np.float32)
        self._x = pixel_centres(self._width).astype(np.float32)

    def compute(
        self, maps: tf.Tensor, places: Mapping[str, tf.Tensor] | None = None
    ) -> dict[str, tf.Tensor]:
        """Computes all statistics but `gini`, which comes from codes on the host.

        Args:
          maps: (N, H, W), (N, T, W) or (N, W) float32, non-negative.
          places: What `self.places` asks for, each (N, ...), `regions` (views, ...).

        Returns:
          By name: the statistics, (N,) float32 in 0..1, NaN where undefined or not of this kind of
          map (`pointing_hit` is 0, 1 or NaN); `sketch`, (N, *sketch_shape) int32, zeros where
          undefined.
        """
        import tensorflow as tf

        places = places or {}
        if list(places) != list(self.places):
            raise ValueError(f"places are needed of {list(self.places)}, not of {list(places)}")
        unit, scale = normalize(tf.reshape(maps, (-1, self._height, self._width)))
        defined = scale > 0
        row_sums = tf.reduce_sum(unit, axis=2)
        total = tf.where(defined, tf.reduce_sum(row_sums, axis=1), 1.0)
        row, column = _first_maximum(unit)
        pooled = self._pool(unit, total)
        found = self._entropy(unit, total) | self._peak(row, column)
        if self._kind != "tabular":
            found |= self._moments(unit, row_sums, total)
        if self._kind == "image":
            found |= _region_energies(pooled[:, self._grid[0] :, self._grid[1] :])
        results = dict.fromkeys(self._names, tf.fill(tf.shape(total), math.nan))
        results |= {name: _where(defined, value) for name, value in found.items()}
        for name, place in places.items():
            if name == REGIONS:
                energies = _energies_of(unit, place, places[VIEW], total)
                of_regions = zip(map(region_energy, self._regions), energies, strict=True)
                results |= {region: _where(defined, value) for region, value in of_regions}
            elif name != VIEW:
                has_any = defined & tf.reduce_any(place, axis=(1, 2))
                energy, hit = _inside(unit, total, place, row, column)
                # Of a mask, which comes last and is finer, where there are boxes, too.
                results |= {name: _where(has_any, energy), POINTING_HIT: _where(has_any, hit)}
        sketch = self._sketch(pooled[:, : self._grid[0], : self._grid[1]])
        return results | {"sketch": sketch}

    def _pool(self, unit: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
        """Masses of the sketch's cells and of the 8 x 8 regions, on the product's diagonal."""
        import tensorflow as tf

        pooled = tf.matmul(self._row_shares, tf.matmul(unit, self._column_shares))
        return pooled / total[:, tf.newaxis, tf.newaxis]

    def _sketch(self, masses: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        cells = tf.cast(tf.round(masses * float(2**SKETCH_UNIT_BITS)), tf.int32)
        return tf.reshape(cells, (-1, *self.sketch_shape))

    def _entropy(self, unit: tf.Tensor, total: tf.Tensor) -> dict[str, tf.Tensor]:
        """With u = A / max A: -sum p ln p = ln(sum u) - (sum u ln u) / sum u."""
        import tensorflow as tf

        positions = self._height * self._width
        if positions == 1:
            return {}
        surprise = tf.reduce_sum(tf.math.xlogy(unit, unit), axis=(1, 2))
        return {"entropy": (tf.math.log(total) - surprise / total) / math.log(positions)}

    def _moments(
        self, unit: tf.Tensor, row_sums: tf.Tensor, total: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Centroid and spread; second moments about the centroid itself, so nothing cancels."""
        import tensorflow as tf

        mass_y = row_sums / total[:, tf.newaxis]
        mass_x = tf.reduce_sum(unit, axis=1) / total[:, tf.newaxis]
        # About the middle: rounding of the mass's sum then moves the centroid least.
        centroid_y = 0.5 + tf.reduce_sum(mass_y * (self._y - 0.5), axis=1)
        centroid_x = 0.5 + tf.reduce_sum(mass_x * (self._x - 0.5), axis=1)
        variance_y = tf.reduce_sum(mass_y * (self._y - centroid_y[:, tf.newaxis]) ** 2, axis=1)
        variance_x = tf.reduce_sum(mass_x * (self._x - centroid_x[:, tf.newaxis]) ** 2, axis=1)
        return {
            "spread": tf.sqrt(variance_y + variance_x),
            "centroid_y": centroid_y,
            "centroid_x": centroid_x,
        }

    def _peak(self, row: tf.Tensor, column: tf.Tensor) -> dict[str, tf.Tensor]:
        import tensorflow as tf

        if self._kind == "tabular":
            return {"peak_x": tf.cast(column, tf.float32) / max(self._width - 1, 1)}
        return {"peak_y": tf.gather(self._y, row), "peak_x": tf.gather(self._x, column)}


def normalize(maps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Divides maps by their maxima, in TensorFlow.

    Args:
      maps: (N, ...) float32, non-negative. Subnormal values are taken as zero, as in `codec`.

    Returns:
      A / max A, (N, ...) float32 in 0..1, and max A, (N,). A map that is not finite gives zeros
      and NaN.
    """
    import tensorflow as tf

    axes = list(range(1, maps.shape.rank))
    finite = tf.reduce_all(tf.math.is_finite(maps), axis=axes, keepdims=True)
    values = tf.where(finite & (maps >= SMALLEST_NORMAL), maps, 0.0)
    maxima = tf.reduce_max(values, axis=axes, keepdims=True)
    unit = values / tf.where(maxima > 0, maxima, 1.0)
    return unit, tf.reshape(tf.where(finite, maxima, math.nan), (-1,))


def positive_share(maps: tf.Tensor) -> tf.Tensor:
    """The share of the mass |A| that is positive, in TensorFlow.

    Args:
      maps: (N, ...) float32, of any sign.

    Returns:
      (N,) float32 in 0..1; NaN for a map that is all zero or not finite.
    """
    import tensorflow as tf

    axes = list(range(1, maps.shape.rank))
    unit, scales = normalize(tf.abs(maps))
    positive = tf.reduce_sum(tf.where(maps > 0, unit, 0.0), axis=axes)
    total = tf.reduce_sum(unit, axis=axes)
    return _where(tf.math.is_finite(scales) & (total > 0), positive / tf.maximum(total, 1.0))


def gini_from_codes(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Gini index of maps from their `uint8` codes, by counting levels instead of sorting pixels.

    2 sum_i i A_(i) / (n sum A) - (n + 1) / n, A_(i) ascending, i from 1 (Chalasani et al. 2020,
    arXiv 1810.06583). It is exact for the decoded maps. Against the map before quantisation it is
    off by less than 2e-4 on gradients of natural images (1.4e-4 measured), where rounding errors
    average out over pixels. Of few values fewer average out: of normal and log-normal noise, 2e-3
    at most for 6 to 100 values (3e-4 in the median), 4e-4 for 4096. Heavier tails put more mass
    below the first level, A / max A < 1 / 510^2, where it is lost: up to 5e-3 off for normal times
    log-normal noise of sigma 2.

    Args:
      codes: (N, ...) uint8; for other codecs, those that `uint8` would have stored.

    Returns:
      (N,) float32 in 0..1; NaN where a map is all zero.
    """
    positions = math.prod(codes.shape[1:])
    flat = codes.reshape(len(codes), positions)
    counts = level_counts(flat)
    masses = counts * np.square(np.arange(LEVELS))  # a level's pixels times (255^2 / scale) A
    # A level's pixels hold consecutive ranks; twice their mean is first + last.
    last = counts.cumsum(axis=1)
    ranked = (masses * (2 * last - counts + 1)).sum(axis=1)
    total = masses.sum(axis=1)
    with np.errstate(invalid="ignore"):
        gini: npt.NDArray[np.float64] = (ranked - (positions + 1) * total) / (positions * total)
    return gini.astype(np.float32)


def _shares_of_grid_and_eighths(cells: int, pixels: int) -> npt.NDArray[np.float32]:
    return np.concatenate([overlap_shares(cells, pixels), overlap_shares(_EIGHTHS, pixels)])


def _first_maximum(unit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Row and column, (N,) int32, of each map's maximum: the first in row order.

    `tf.argmax` does not promise the first of equals.
    """
    import tensorflow as tf

    row = _first_index(tf.reduce_max(unit, axis=2))
    return row, _first_index(tf.gather(unit, row, batch_dims=1))


def _first_index(values: tf.Tensor) -> tf.Tensor:
    """Index, (N,) int32, of the first of each row's maxima."""
    import tensorflow as tf

    indices = tf.range(values.shape[1])
    is_maximum = values == tf.reduce_max(values, axis=1, keepdims=True)
    return tf.reduce_min(tf.where(is_maximum, indices, values.shape[1] - 1), axis=1)


def _region_energies(eighths: tf.Tensor) -> dict[str, tf.Tensor]:
    """Energies of frame, corners and centre from (N, 8, 8) masses."""
    import tensorflow as tf

    ends, sides = eighths[:, :: _EIGHTHS - 1, :], eighths[:, 1:-1, :: _EIGHTHS - 1]
    quarters = tf.reduce_sum(tf.reshape(eighths, (-1, 4, 2, 4, 2)), axis=(2, 4))
    return {
        "border_energy": tf.reduce_sum(ends, axis=(1, 2)) + tf.reduce_sum(sides, axis=(1, 2)),
        "corner_energy": tf.reduce_max(quarters[:, ::3, ::3], axis=(1, 2)),
        "center_energy": tf.reduce_sum(quarters[:, 1:3, 1:3], axis=(1, 2)),
    }


def _inside(
    unit: tf.Tensor, total: tf.Tensor, mask: tf.Tensor, row: tf.Tensor, column: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Share of the mass in a mask, and whether the peak is in it: 0 or 1."""
    import tensorflow as tf

    energy = tf.reduce_sum(tf.where(mask, unit, 0.0), axis=(1, 2)) / total
    hit = tf.gather(tf.gather(mask, row, batch_dims=1), column, batch_dims=1)
    return energy, tf.cast(hit, tf.float32)


def _energies_of(
    unit: tf.Tensor, shares: tf.Tensor, views: tf.Tensor, total: tf.Tensor
) -> list[tf.Tensor]:
    """Shares of the mass, (N,) of each region.

    Args:
      unit: (N, H, W).
      shares: (views, regions, H, W), of the pixels.
      views: (N,), which of them each map has.
      total: (N,), its mass.
    """
    import tensorflow as tf

    def mass(region: tf.Tensor) -> tf.Tensor:
        inside = tf.gather(shares[:, region], views)
        return tf.reduce_sum(unit * inside, axis=(1, 2))

    # One by one: all regions at once take as much memory as so many times the maps.
    numbers = tf.range(shares.shape[1])
    masses = tf.map_fn(mass, numbers, parallel_iterations=1, fn_output_signature=tf.float32)
    energies: list[tf.Tensor] = tf.unstack(masses / total, shares.shape[1])
    return energies


def _where(defined: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """The value, kept in 0..1 against its last bit's rounding, or NaN."""
    import tensorflow as tf

    return tf.where(defined, tf.clip_by_value(value, 0.0, 1.0), math.nan)


def pixel_centres(side: int) -> npt.NDArray[np.float64]:
    """(side,) places of pixel centres, in 0..1."""
    return (np.arange(side) + 0.5) / side
