"""With which class a class exchanges a property: the one whose images are most alike in all else.

Classes of photographs differ in many things at once. A model that is shown one of them exchanged
may take images for anything, rightly: made as dark as those of another class they may well be of
it. What a model knows by a property alone is to be seen between two classes that differ in it
alone. So the counterpart is chosen by what images look like, not by what the model makes of them:
no outcome of the experiment has a part in the choice.

    distance = the largest Cohen's d, over what images look like, once one class has been given the
               property of the other: the larger one of either way

What they look like are their properties (`formats.images.properties`), the shares of red, green
and blue, by the mean of Y how much R - Y and B - Y vary and its 5th, 25th, 75th and 95th
percentiles, and how much Y varies in images shrunk to 32, 16 and 8 rows or columns. Of sharpness it
is the smaller distance: no mask brings back what a blur has taken away.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.confirm.property_changes import LUMA, Images, ways_to
from transforms.formats.images.properties import input_properties
from transforms.statistics.columns import INPUT_PROPERTIES

MOST_COUNTERPARTS = 6
"""Classes whose images are looked at: some hundred of each are held in memory."""

_KEPT = {
    "luminance": ("saturation",),
    "contrast": ("luminance",),
    "saturation": ("contrast", "sharpness"),
    "sharpness": ("luminance", "saturation"),
}
"""By the property that is changed, those that its change leaves about as they are."""

_FAR = 1.5  # Cohen's d of one of those, from which on images need not be looked at.
_LEAST = 1.0  # Of the property: where classes hardly differ there is nothing to exchange.
_LEAST_DEVIATION = 0.01  # Smaller differences of what does not vary are none.
_PERCENTILES = (5, 25, 75, 95)
_SIDES = (32, 16, 8)
_LIGHT = range(4, 7)  # Columns of `_looks`, as below.
_LEFT_ALONE = {
    "luminance": [*_LIGHT, 7, 8, 9, 10, 11, 12],
    "contrast": [0, *_LIGHT],
    "saturation": [9, 10, 11, 12],
    "sharpness": [0, 2, *_LIGHT, 7, 8],
}
"""Columns of `_looks` that a change of a property leaves about as they are."""

_FIRST = 24  # Images by which classes are told apart that are nowhere near.

Floats = npt.NDArray[np.float64]


def likely_counterparts(classes: pa.Table, name: str, target: int) -> list[int]:
    """The classes whose images may be alike in all but a property, the likeliest first.

    Args:
      classes: `statistics/classes.parquet`.
      name: The property.
      target: The class, one of them.
    """
    numbers = classes["class"].to_numpy().astype(np.int64)
    row = int(np.flatnonzero(numbers == target)[0])

    def apart(each: str) -> Floats:
        mean, std = (
            classes[f"{each}_{part}"].to_numpy().astype(np.float64) for part in ("mean", "std")
        )
        # Grey images have no saturation, and are told from others by looking at them.
        return np.nan_to_num(_distances((mean, std), (mean[row], std[row])))

    kept = np.max([apart(each) for each in _KEPT[name]], axis=0)
    # Of two tints saturation may be the same.
    differs = np.full(len(numbers), True) if name == "saturation" else apart(name) >= _LEAST
    order = np.argsort(kept, kind="stable")
    found = [each for each in order.tolist() if each != row and differs[each] and kept[each] < _FAR]
    return [int(numbers[each]) for each in found[:MOST_COUNTERPARTS]]


def find_counterpart(
    name: str, own: Images, others: Mapping[int, Images]
) -> tuple[int | None, float]:
    """The class that is most like another once one of them has been given a property of the other.

    Args:
      name: The property.
      own: (N, H, W, C) images of a class, at least one.
      others: Images of other classes, by their numbers.

    Returns:
      The class and its distance; None and infinity where none differs in the property, or none has
      images that can be changed so.
    """
    mine = _looks(own)
    first = _looks(own[:_FIRST])
    best: tuple[int | None, float] = (None, np.inf)
    for number, images in others.items():
        if not len(images):
            continue
        d = _between(first, _looks(images[:_FIRST]))
        if d[_columns(name)].max() < _LEAST or d[_LEFT_ALONE[name]].max() > _FAR:
            continue
        ways = _after(name, own, images, _looks(images)), _after(name, images, own, mine)
        distance = min(ways) if name == "sharpness" else max(ways)
        if distance < best[1]:
            best = number, distance
    return best


def _after(name: str, images: Images, usual: Images, looks: Floats) -> float:
    """How far images are from others whose property they have been given."""
    found = [
        float(_between(_looks(way.step(images)), looks).max())
        for way in ways_to(name, images, usual)
        if way.reaches
    ]
    return min(found, default=np.inf)


def _columns(name: str) -> list[int]:
    """The columns of `_looks` that a property is seen in."""
    light = _LIGHT if name == "saturation" else ()
    return [INPUT_PROPERTIES.index(name), *light]


def _looks(images: Images) -> Floats:
    """(N, 16): what images look like; 0 where something is undefined."""
    colours = np.broadcast_to(images[..., :3], (*images.shape[:3], 3))
    luma: npt.NDArray[np.float32] = (colours @ LUMA).astype(np.float32, copy=False)
    level = luma.mean(axis=(1, 2)) + 1  # So that black has one.
    light = colours.mean(axis=(1, 2)) + 1
    tones = colours[..., ::2] - luma[..., np.newaxis]
    properties = input_properties(images)
    columns = [
        *(properties[name] for name in INPUT_PROPERTIES),
        *np.log(light / light.sum(axis=1, keepdims=True)).T,
        *(tones.std(axis=(1, 2)).T / level),
        *(np.percentile(luma, _PERCENTILES, axis=(1, 2)) / level),
        *(_shrunk(luma, side).std(axis=(1, 2)) / 255 for side in _SIDES),
    ]
    return np.nan_to_num(np.stack(columns, axis=1).astype(np.float64))


def _shrunk(luma: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """Means of equal squares, so many along the longer side; what is left over is left out."""
    count, height, width = luma.shape
    step = max(1, max(height, width) // side)
    rows, columns = max(1, height // step), max(1, width // step)
    whole = luma[:, : rows * step, : columns * step]
    parts = whole.reshape(count, rows, whole.shape[1] // rows, columns, whole.shape[2] // columns)
    means: npt.NDArray[np.float32] = parts.mean(axis=(2, 4))
    return means


def _between(one: Floats, other: Floats) -> Floats:
    """Cohen's d of each column."""
    return _distances(*((each.mean(axis=0), each.std(axis=0)) for each in (one, other)))


def _distances(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> Floats:
    """Cohen's d of means and deviations."""
    deviation = np.sqrt((one[1] ** 2 + other[1] ** 2) / 2)
    d: Floats = np.abs(one[0] - other[0]) / np.maximum(deviation, _LEAST_DEVIATION)
    return d
