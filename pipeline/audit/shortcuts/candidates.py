"""Which classes have a candidate for a shortcut: decided by the size of the effect."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from pipeline.atlas import Atlas
from pipeline.audit.result import Shortcut
from pipeline.audit.shortcuts.place import Places, indicate_places, presences

LARGE_EFFECT = math.log(4)
"""Four times the saliency that is usual at a place, for the class and for the place."""

LARGEST_AREA = 0.15
"""A region with a larger share of the image is no place: masking it masks the object."""

PLACE = "place"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A class and the place in question.

    Attributes:
      finding: As it stands in `audit.json`.
      cells: (rows, columns) bool, the region on the grid of sketches.
    """

    finding: Shortcut
    cells: npt.NDArray[np.bool_]


def find_candidates(atlas: Atlas, min_n: int) -> list[Candidate]:
    """The classes whose maps point to a place of their own, by the effect alone.

    No p value is made: ranks of a model's own classes cannot pass a correction for their number,
    and a t with outliers set apart calls clean classes significant. So `q` is null, and what a
    candidate is worth is for the experiment to say (`audit --confirm`). Permuted labels and
    randomised weights are no reference either: they reject that classes are alike, which no one
    asked.

    The maps are those of each class explained; where the target is not the label, those of wrong
    predictions are among them.

    Args:
      atlas: A finished atlas.
      min_n: Classes with fewer maps in half a are `undecided`.

    Returns:
      By class; none where the atlas is not of images.

    Raises:
      ConfigurationError: The atlas has no table of folds.
    """
    source = atlas.manifest["config"].get("source", {})
    if source.get("input", {}).get("kind") != "image":
        return []
    places = indicate_places(atlas.folds)
    areas = places.regions.mean(axis=(1, 2)) if len(places.targets) else np.zeros(0)
    chosen = np.flatnonzero((places.score >= LARGE_EFFECT) & (areas <= LARGEST_AREA))
    if not len(chosen):
        return []
    targets = places.targets[chosen].tolist()
    shares = presences(atlas, targets, places.regions[chosen])
    names = dict(
        zip(
            atlas.classes["class"].to_pylist(), atlas.classes["class_name"].to_pylist(), strict=True
        )
    )
    return [
        Candidate(
            _finding(places, row, names.get(target), float(share), min_n), places.regions[row]
        )
        for row, target, share in zip(chosen.tolist(), targets, shares, strict=True)
    ]


def _finding(places: Places, row: int, name: str | None, presence: float, min_n: int) -> Shortcut:
    n = int(places.n[row])
    return Shortcut(
        **{"class": int(places.targets[row])},
        class_name=name,
        indicator="place",
        statistic="S1",
        n=n,
        q=None,
        effect=float(places.score[row]),
        presence=presence,
        region=_bounds(places.regions[row]),
        area=float(places.regions[row].mean()),
        verdict="undecided" if n < min_n else "candidate",
        mask=None,
        transplant=None,
    )


def _bounds(region: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """`[y0, x0, y1, x1]` in 0..1 around the cells of a region."""
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    height, width = region.shape
    return (
        float(rows[0] / height),
        float(columns[0] / width),
        float((rows[-1] + 1) / height),
        float((columns[-1] + 1) / width),
    )
