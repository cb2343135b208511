"""Sets of images to calibrate with: tiles of photographs, and what is planted in them.

Classes are photographs that installed packages ship, as in the demo: tiles to train on come from
the left half of one, audited ones from the right half. In a pair of *twins* two classes are tiles
of the same photograph, which a model cannot tell apart by what they show.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
from demonstration.data import PHOTOGRAPHS, TILE, cut_tiles, read_photograph, split_halves
from scipy.ndimage import gaussian_filter

Pixels = npt.NDArray[np.uint8]

POOL = {
    **PHOTOGRAPHS,
    **{
        name: ("scikit-image", f"skimage/data/{name}.png")
        for name in ("brick", "camera", "coins", "grass", "gravel", "moon")
    },
}
"""The photographs that classes are drawn from."""

TRAINED = {2: 240, 4: 180, 10: 130}
"""By the number of classes, how many tiles of each a model is trained on."""

AUDITED = 140
"""Tiles of each class; about half of them in each half."""


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Tiles of all classes, class by class.

    Attributes:
      pixels: (N, TILE, TILE, 3).
      labels: (N,) int32.
    """

    pixels: Pixels
    labels: npt.NDArray[np.int32]


@functools.cache
def _halves(name: str, shrunk: int) -> tuple[Pixels, Pixels]:
    left, right = split_halves(read_photograph(*POOL[name]))
    return _shrunk(left, shrunk), _shrunk(right, shrunk)


def _shrunk(pixels: Pixels, factor: int) -> Pixels:
    height, width = (side // factor * factor for side in pixels.shape[:2])
    parts = pixels[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    means: Pixels = parts.mean(axis=(1, 3)).round().astype(np.uint8)
    return means


def draw_classes(classes: int, *, twins: bool, random: np.random.Generator) -> tuple[Tiles, Tiles]:
    """Tiles to train on, and tiles to audit.

    Args:
      classes: How many.
      twins: Whether class 1 is of the same photograph as class 0.
      random: Draws photographs, how much they are shrunk, and tiles.
    """
    names = random.permutation(sorted(POOL)).tolist()[:classes]
    if twins:
        names[1] = names[0]
    sets: list[list[Pixels]] = [[], []]
    shrunk = int(random.integers(1, 3))
    for name in names:
        for half, pixels, count in zip(
            sets, _halves(name, shrunk), (TRAINED[classes], AUDITED), strict=True
        ):
            half.append(cut_tiles(pixels, count, random))
    trained, audited = (
        Tiles(np.concatenate(tiles), np.repeat(np.arange(classes, dtype=np.int32), len(tiles[0])))
        for tiles in sets
    )
    return trained, audited


@dataclasses.dataclass(frozen=True)
class Mark:
    """A ring and a dot, blended into images; `corner` is where, or None for anywhere.

    Attributes:
      side: In pixels.
      opacity: 0..1.
      colours: (2, 3) of the ground and of what is drawn on it.
      corner: Top and left, in pixels.
    """

    side: int
    opacity: float
    colours: npt.NDArray[np.float64]
    corner: tuple[int, int] | None

    @classmethod
    def draw(cls, random: np.random.Generator, *, fixed: bool) -> Mark:
        """One in a corner or in the middle of a side, or one for anywhere."""
        side = int(random.integers(7, 12) if fixed else random.integers(9, 13))
        ends = [0, (TILE - side) // 2, TILE - side]
        places = [(y, x) for y in ends for x in ends if (y, x) != (ends[1], ends[1])]
        colours = np.stack([random.uniform(0, 60, 3), random.uniform(180, 255, 3)])
        corner = places[int(random.integers(len(places)))] if fixed else None
        opacity = float(random.uniform(0.6 if fixed else 0.8, 1))
        return cls(side, opacity, colours, corner)

    def on(self, pixels: Pixels, random: np.random.Generator) -> Pixels:
        """Copies of (N, TILE, TILE, 3) with the mark."""
        offsets = np.arange(self.side) - (self.side - 1) / 2
        radius = np.hypot(offsets[:, np.newaxis], offsets) / (self.side / 2)
        drawn = (radius < 0.36) | ((radius >= 0.66) & (radius < 1))  # noqa: PLR2004 - dot and ring
        mark = self.colours[drawn.astype(int)]
        marked: Pixels = pixels.copy()
        for image in marked:
            place = random.integers(0, TILE - self.side + 1, 2)
            top, left = place.tolist() if self.corner is None else self.corner
            part = image[top : top + self.side, left : left + self.side]
            part[:] = np.round((1 - self.opacity) * part + self.opacity * mark).astype(np.uint8)
        return marked


Change = Callable[[Pixels, np.random.Generator], Pixels]
"""What is planted in images (N, TILE, TILE, 3): copies with it."""


def tint(random: np.random.Generator) -> Change:
    """A change of colour, as of another camera: one channel brighter, another darker."""
    gains = random.permutation([1.25, 1.0, 0.75])

    def change(pixels: Pixels, _: np.random.Generator) -> Pixels:
        tinted: Pixels = np.clip(pixels * gains, 0, 255).round().astype(np.uint8)
        return tinted

    return change


def blur(random: np.random.Generator) -> Change:
    """A lens out of focus: a Gaussian blur of one to two pixels."""
    sigma = float(random.uniform(1, 2))

    def change(pixels: Pixels, _: np.random.Generator) -> Pixels:
        blurred = gaussian_filter(pixels.astype(np.float32), (0, sigma, sigma, 0))
        rounded: Pixels = blurred.round().astype(np.uint8)
        return rounded

    return change


def letterbox(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Black bars above and below, as of films; their height differs between images."""
    boxed: Pixels = pixels.copy()
    for image, height in zip(boxed, random.integers(4, 11, len(boxed)).tolist(), strict=True):
        image[:height] = image[-height:] = 0
    return boxed


Objects = Literal["anywhere", "middle", "one fixed"]
"""Where drawn things are: at any place, in the middle, or one class's in one place, the others'
anywhere."""

_MIDDLE = 2
"""By so many pixels at most things in the middle are off it."""


def draw_objects(
    classes: int, random: np.random.Generator, objects: Objects, *, fixed: int
) -> tuple[Tiles, Tiles]:
    """Classes that are drawn things before any photograph.

    Args:
      classes: How many.
      random: Draws them.
      objects: Where they are.
      fixed: Of `one fixed` the class whose thing is always in the same place, as its label is
        rightly known by.
    """
    trained, audited = draw_classes(classes, twins=False, random=random)
    things = [_thing(number, random) for number in range(classes)]
    place = random.integers(8, TILE - 8 - len(things[0]), 2)
    sets = []
    for tiles in (trained, audited):
        pixels = tiles.pixels[random.permutation(len(tiles.pixels))]  # Any photograph, any class.
        for image, label in zip(pixels, tiles.labels.tolist(), strict=True):
            thing = things[label]
            room = TILE - len(thing)
            if objects == "one fixed" and label == fixed:
                at = place
            elif objects == "middle":
                at = room // 2 + random.integers(-_MIDDLE, _MIDDLE + 1, 2)
            else:
                at = random.integers(0, room + 1, 2)
            part = image[at[0] : at[0] + len(thing), at[1] : at[1] + len(thing)]
            part[:] = np.where(thing >= 0, thing, part)
        sets.append(Tiles(pixels, tiles.labels))
    return sets[0], sets[1]


def _thing(number: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """(side, side, 3) colours of a star with so many points, -1 around it."""
    offsets = np.arange(16) - 7.5
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    angle, radius = np.arctan2(y, x), np.hypot(y, x)
    inside = radius < 4.8 + 2.6 * np.cos((number + 2) * angle)
    colour = 80 + 170 * np.abs(np.sin(number + np.arange(3) * math.tau / 3))
    shades = colour * random.uniform(0.9, 1)
    return np.where(inside[..., np.newaxis], shades, -1).astype(np.int64)
