"""What of each example's boxes, mask and regions lies under the model's pixels."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.elements import Examples
from transforms.errors import DataFault
from transforms.formats.images.decoding import InputDecoder
from transforms.formats.images.geometry import Placement, View
from transforms.formats.images.masks import decode_mask
from transforms.formats.source import InputSpec
from transforms.statistics.maps import pixel_centres
from transforms.statistics.regions import Region

_MOST_SHARES = 1 << 24  # numbers that are kept: 64 MiB, 10 views of 32 regions at 224 x 224


class PlaceFinder:
    """Finds the places that `MapStatistics` asks for; they go where the image's pixels go.

    Args:
      decoder: Of the inputs, whose placements it knows.
      spec: What the model takes.
      regions: Those that the user names.
    """

    def __init__(self, decoder: InputDecoder, spec: InputSpec, regions: Sequence[Region]) -> None:
        self._decoder = decoder
        self._spec = spec
        self._regions = regions
        pixels = math.prod(spec.positions) * max(1, len(regions))
        views = max(1, _MOST_SHARES // pixels)
        self._shares = functools.lru_cache(views)(self._shares_in)

    def find(self, batch: Examples) -> tuple[tuple[npt.NDArray[Any], ...], list[DataFault | None]]:
        """The places of a mini-batch.

        Args:
          batch: The examples.

        Returns:
          In the order of `MapStatistics.places`, each (N, ...), as `separated` takes them: of
          regions N objects, (regions, H, W) float32 shares of the pixels, the same object wherever
          they are the same. And N faults (stage `decode`), None where all is well. The mask of a
          faulty example is empty.
        """
        faults: list[DataFault | None] = [None] * len(batch)
        if batch.boxes is None and batch.masks is None and not self._regions:
            return (), faults
        placements = [self._decoder.placement(data) for data in batch.inputs]
        found: list[npt.NDArray[Any]] = []
        if batch.boxes is not None:
            pairs = zip(placements, batch.boxes, strict=True)
            placed = [placement.boxes(boxes) for placement, boxes in pairs]
            found.append(box_mask(placed, self._spec.positions))
        if batch.masks is not None:
            pairs_of_masks = zip(placements, batch.masks, strict=True)
            masks = self._decoder.in_threads(self._mask, pairs_of_masks)
            found.append(np.stack([mask for mask, _ in masks]))
            faults = [fault for _, fault in masks]
        if self._regions:
            shares = np.empty(len(batch), np.object_)
            for row, placement in enumerate(placements):
                shares[row] = self._shares(placement.view)
            found.append(shares)
        return tuple(found), faults

    def _shares_in(self, view: View) -> npt.NDArray[np.float32]:
        """Which share of each of the model's pixels lies in each region, (regions, H, W)."""
        shares = np.stack([view.shares(region.cells) for region in self._regions])
        shares.flags.writeable = False
        return shares

    def _mask(
        self, example: tuple[Placement, bytes | None]
    ) -> tuple[npt.NDArray[np.bool_], DataFault | None]:
        placement, png = example
        nothing = np.zeros(self._spec.positions, bool)
        if png is None:
            return nothing, None
        try:
            return placement.mask(decode_mask(png, self._spec.max_pixels)), None
        except ValueError as error:
            why = f"the mask (source.features.mask) cannot be decoded: {error}"
            return nothing, DataFault("decode", "UndecodableMask", why)


def separated(places: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Places of examples as `MapStatistics.compute` takes them.

    Args:
      places: Each (N, ...). One of objects has an array for each example, the same object for those
        that share it.

    Returns:
      The same, but in place of objects the different arrays, (views, ...), and (N,) int32, which of
      them each example has.
    """
    found: list[npt.NDArray[Any]] = []
    for place in places:
        if place.dtype != np.object_:
            found.append(place)
            continue
        different = {id(each): each for each in place}
        numbers = {key: number for number, key in enumerate(different)}
        found.append(np.stack([*different.values()]))
        found.append(np.array([numbers[id(each)] for each in place], np.int32))
    return found


def box_mask(
    boxes: Sequence[npt.NDArray[np.float32]], map_shape: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """Rasterises each example's union of boxes; a pixel is in a box if its centre is.

    Args:
      boxes: N arrays of (K, 4) `[ymin, xmin, ymax, xmax]` in 0..1 of the model's input; bounds
        belong to the box.
      map_shape: (H, W).

    Returns:
      (N, H, W) bool. All False where there is no box, or where none holds a pixel's centre (as
      after a crop that lost the object): such examples have no box statistics.
    """
    centres_y, centres_x = (pixel_centres(side) for side in map_shape)
    mask = np.zeros((len(boxes), *map_shape), bool)
    for inside, example_boxes in zip(mask, boxes, strict=True):
        tops, bottoms = _spans(centres_y, example_boxes[:, 0], example_boxes[:, 2])
        lefts, rights = _spans(centres_x, example_boxes[:, 1], example_boxes[:, 3])
        for top, bottom, left, right in zip(tops, bottoms, lefts, rights, strict=True):
            inside[top:bottom, left:right] = True
    return mask


def _spans(
    centres: npt.NDArray[np.float64], low: npt.NDArray[Any], high: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    return np.searchsorted(centres, low, "left"), np.searchsorted(centres, high, "right")
