"""The statistics of one map, by their names in every table (formulas: `maps`)."""

from __future__ import annotations

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

BOX_STATISTICS = ("box_energy", "pointing_hit")
"""Where examples have boxes; a hit is 0 or 1."""

UNIFORM_SHARES = {"border_energy": 7 / 16, "corner_energy": 1 / 16, "center_energy": 1 / 4}
"""Energies of a uniform map: a region's share of the area. Energy over this is enrichment."""

SKETCH_UNIT_BITS = 24
"""A sketch's cells are integers in units of 2**-24: float32's own resolution just below 1."""

POSITIVE_SHARE = "positive_share"
"""Of maps with a sign: the share of the mass |A| whose values are positive."""

COMPLETENESS_ERROR = "completeness_error"
"""Of integrated gradients: by how much the map's sum misses the difference of scores."""

MAPS_COLUMNS = frozenset(
    {
        *("example_id", "shard", "record", "label", "target", "predicted", "score"),
        *("predicted_score", "map", "map_scale", "sketch", "thumbnail", "peak_window"),
        *("input_height", "input_width", "luminance", "contrast", "saturation", "sharpness"),
        *(*STATISTICS, *BOX_STATISTICS, "mask_energy"),
        *(POSITIVE_SHARE, COMPLETENESS_ERROR),
    }
)
"""Columns that the maps table may have beside those of slices, which have the features' names."""

OUTCOME = "outcome"
"""The slice that is always there: whether the prediction is the label."""

SHARES = frozenset({"pointing_hit"})
"""Statistics that are 0 or 1: of a group's they have a mean, a share, and nothing else."""


def statistic_names(with_boxes: bool) -> tuple[str, ...]:
    """Names of all statistics, in the order of the tables' columns."""
    return STATISTICS + BOX_STATISTICS if with_boxes else STATISTICS
