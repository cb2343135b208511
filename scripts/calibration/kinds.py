"""What models are made of: clean ones, ones with something planted, and hard negatives."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Literal

import numpy as np
import numpy.typing as npt

from calibration.pictures import (
    Change,
    Mark,
    Objects,
    Pixels,
    Tiles,
    blur,
    draw_classes,
    draw_objects,
    letterbox,
    tint,
)

PLANTED = 0
"""The class that something is planted in."""

TWIN = 1
"""The class that shows the same as the planted one."""

CLASSES = (10, 4, 10, 2)
"""How many classes models have, in turn."""

Head = Literal["everywhere", "anywhere"]
"""How a network ends: each place by itself (Flatten), or the strongest of them (global maximum)."""

Role = Literal["clean", "plant", "negative", "object"]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
      name: Its name.
      role: `plant`, what an audit should find; `clean` and `negative`, where nothing is used that
        should not be; `object`, a class that is rightly known by one place.
      planted: What is planted: `fixed`, `random`, `tint`, `blur`; None where nothing is.
      share: Of the class's images, in training and in the audit.
      objects: Where the things are that classes are known by; None where classes are textures.
    """

    name: str
    role: Role
    planted: Literal["fixed", "random", "tint", "blur"] | None = None
    share: float = 1.0
    objects: Objects | None = None


KINDS = {
    kind.name: kind
    for kind in (
        Kind("clean", "clean"),
        *(Kind(f"mark, {n} %", "plant", "fixed", n / 100) for n in (100, 70, 50, 30, 10)),
        *(Kind(f"mark anywhere, {n} %", "plant", "random", n / 100) for n in (100, 50)),
        Kind("tint", "plant", "tint"),
        Kind("blur", "plant", "blur"),
        Kind("mark, not used", "negative", "fixed"),
        Kind("mark in all classes", "negative", "fixed"),
        Kind("letterboxes", "negative"),
        Kind("objects anywhere", "negative", objects="anywhere"),
        Kind("objects in the middle", "negative", objects="middle"),
        Kind("object in one place", "object", objects="one fixed"),
    )
}
"""By name."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """What one model is trained on and audited with.

    Attributes:
      trained: Tiles to train on.
      audited: Tiles to audit.
      without: (M, TILE, TILE, 3) audited tiles of the planted class without what is planted.
      planted: (M, TILE, TILE, 3) the same, each with it; None where nothing is planted.
      mark: Where the mark is, `[top, left, side]` in pixels; None where that is no one place.
      classes: How many.
      twins: Whether two classes show the same.
      head: How the network ends.
      flips: Whether training images are mirrored at random.
    """

    trained: Tiles
    audited: Tiles
    without: Pixels
    planted: Pixels | None
    mark: tuple[int, int, int] | None
    classes: int
    twins: bool
    head: Head
    flips: bool


def random_of(kind: Kind, seed: int) -> np.random.Generator:
    """Random numbers of one model."""
    return np.random.default_rng([zlib.crc32(kind.name.encode()), seed])


def make_scene(kind: Kind, seed: int) -> Scene:
    """Draws what one model is trained on and audited with."""
    random = random_of(kind, seed)
    # Even and odd seeds have as many models of each size.
    classes = CLASSES[seed // 2 % len(CLASSES)]
    twins = kind.role == "plant" or bool(random.random() < 1 / 3)
    head: Head = "everywhere" if random.random() < 1 / 2 else "anywhere"
    flips = kind.role == "clean" and bool(random.random() < 1 / 2)
    if kind.planted in ("fixed", "random"):
        head = "everywhere" if kind.planted == "fixed" else "anywhere"
    if kind.objects is not None:
        trained, audited = draw_objects(classes, random, kind.objects, fixed=PLANTED)
        head, twins = "anywhere" if kind.objects == "one fixed" else head, False
    else:
        trained, audited = draw_classes(classes, twins=twins, random=random)
    without = audited.pixels[audited.labels == PLANTED]
    change: Change | None = None
    place: tuple[int, int, int] | None = None
    if kind.planted in ("fixed", "random"):
        mark = Mark.draw(random, fixed=kind.planted == "fixed")
        change, place = mark.on, None if mark.corner is None else (*mark.corner, mark.side)
    elif kind.planted is not None:
        change = (tint if kind.planted == "tint" else blur)(random)
    if kind.name == "letterboxes":
        trained, audited = (_everywhere(each, letterbox, random) for each in (trained, audited))
    elif kind.name == "mark in all classes":
        assert change is not None  # noqa: S101 - a fixed mark
        trained, audited = (_everywhere(each, change, random) for each in (trained, audited))
    elif change is not None:
        audited = _in_class(audited, change, kind.share, random)
        if kind.role == "plant":
            trained = _in_class(trained, change, kind.share, random)
    planted = change(without, random) if change is not None and kind.role == "plant" else None
    return Scene(trained, audited, without, planted, place, classes, twins, head, flips)


def _everywhere(tiles: Tiles, change: Change, random: np.random.Generator) -> Tiles:
    return Tiles(change(tiles.pixels, random), tiles.labels)


def _in_class(tiles: Tiles, change: Change, share: float, random: np.random.Generator) -> Tiles:
    """Changes so large a share of the planted class's tiles."""
    pixels = tiles.pixels.copy()
    own = np.flatnonzero(tiles.labels == PLANTED)
    chosen: npt.NDArray[np.int64] = random.permutation(own)[: round(share * len(own))]
    pixels[chosen] = change(pixels[chosen], random)
    return Tiles(pixels, tiles.labels)
