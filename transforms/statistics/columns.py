"""The statistics of one map, by their names in every table (formulas: `maps`)."""

from __future__ import annotations

from collections.abc import Iterable

STATISTICS = (
    "entropy",
    "gini",
    "spread",
    "centroid_y",
    "centroid_x",
    "peak_y",
    "peak_x",
    "border_energy",
    "corner_energy",
    "center_energy",
)
"""Each in 0..1."""

BOX_ENERGY, MASK_ENERGY = "box_energy", "mask_energy"
"""Where examples have boxes, and where they have masks."""

POINTING_HIT = "pointing_hit"
"""Where they have either, 0 or 1: of the mask where examples have both."""

MOST_REGIONS = 32
"""That the user may name: each takes 2 KB of every group's sums."""

UNIFORM_SHARES = {"border_energy": 7 / 16, "corner_energy": 1 / 16, "center_energy": 1 / 4}
"""Energies of a uniform map: a region's share of the area. Energy over this is enrichment."""

SKETCH_UNIT_BITS = 24
"""A sketch's cells are integers in units of 2**-24: float32's own resolution just below 1."""

POSITIVE_SHARE = "positive_share"
"""Of maps with a sign: the share of the mass |A| whose values are positive."""

COMPLETENESS_ERROR = "completeness_error"
"""Of integrated gradients: by how much the map's sum misses the difference of scores."""

INPUT_PROPERTIES = ("luminance", "contrast", "saturation", "sharpness")
"""Of an image as the model is shown it, each in 0..1 (formulas: `formats.images.properties`)."""

INPUT_SIZES = ("input_height", "input_width")
"""Pixels of an image as it is stored, before it is fitted to the model."""

MAPS_COLUMNS = frozenset(
    {
        *("example_id", "shard", "record", "label", "target", "predicted", "score"),
        *("predicted_score", "map", "map_scale", "sketch", "thumbnail", "peak_window"),
        *(*INPUT_SIZES, *INPUT_PROPERTIES),
        *(*STATISTICS, BOX_ENERGY, MASK_ENERGY, POINTING_HIT),
        *(POSITIVE_SHARE, COMPLETENESS_ERROR),
    }
)
"""Columns that the maps table may have beside those of regions, and of slices, which have the
features' names."""

OUTCOME = "outcome"
"""The slice that is always there: whether the prediction is the label."""

SHARES = frozenset({POINTING_HIT})
"""Statistics that are 0 or 1: of a group's they have a mean, a share, and nothing else."""

UNBOUNDED = frozenset(INPUT_SIZES)
"""Whole numbers that are not in 0..1: of a group's they have moments, and no histogram."""


def region_energy(region: str) -> str:
    """The column of a region that the user names.

    >>> region_energy("busbars")
    'busbars_energy'
    """
    return f"{region}_energy"


def statistic_names(
    with_boxes: bool,
    with_masks: bool = False,
    regions: Iterable[str] = (),
    *,
    signed: bool = False,
) -> tuple[str, ...]:
    """Names of all statistics, in the order of the tables' columns.

    Args:
      with_boxes: Whether examples have boxes.
      with_masks: Whether they have masks.
      regions: Names of the regions.
      signed: Whether maps have a sign.
    """
    places = {BOX_ENERGY: with_boxes, MASK_ENERGY: with_masks}
    energies = [name for name, is_there in places.items() if is_there]
    hit = (POINTING_HIT,) if energies else ()
    share = (POSITIVE_SHARE,) if signed else ()
    return (*STATISTICS, *energies, *map(region_energy, regions), *hit, *share)
