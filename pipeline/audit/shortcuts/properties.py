"""Properties of whole images by which a class differs: what maps cannot see.

A tint, a blur or another camera's resolution has no place, and saliency maps do not show it
(Adebayo et al. 2022, arXiv 2212.04629). So properties of the inputs themselves are compared:

    d[c, k] = |m[c] - m[k]| / sqrt((s[c]^2 + s[k]^2) / 2)     of a property's means and deviations
    S[c]    = the smallest d[c, k] over the other classes k

That is Cohen's d to the nearest other class: at 4 the property alone tells the two apart in 98 of
100 images, and every other class is easier still. Photographs of the night are dark for no wrong
reason: the indicator says by what a model could know a class, not that it does. Of a few classes
any two are far apart in something, so a candidate takes eight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.audit.estimation.intervals import Floats
from pipeline.audit.shortcuts.halves import Evidence, half_of_rows
from pipeline.audit.shortcuts.scores import Scores, share_above_others
from transforms.statistics.columns import INPUT_PROPERTIES, INPUT_SIZES

ALIKE = 0.5
"""Of two classes, the largest d in all but a property: samples of one kind are as far apart."""

_LARGEST = 100.0
"""Where values do not vary within classes, any difference between them is as good as endless."""


@dataclasses.dataclass(frozen=True)
class Properties(Scores):
    """The indicator of each class for one property, its name the statistic; from all images.

    Attributes:
      side: (K,) 1 where the class's mean is above the median class's, else -1.
    """

    side: Floats


def indicate_properties(evidence: Evidence) -> Iterator[Properties]:
    """Computes the indicator of each property that the atlas has, from its table of classes.

    All images count, not half a alone: what images look like is not what the experiment is about.
    """
    classes = evidence.classes
    for name in (*INPUT_PROPERTIES, *INPUT_SIZES):  # An older atlas has none of them.
        if f"{name}_mean" not in classes.column_names:
            continue
        known = classes.filter(classes[f"{name}_mean"].is_valid())
        if known.num_rows < 2:  # noqa: PLR2004 - there are no others
            continue
        mean, std = (known[f"{name}_{part}"].to_numpy().astype(float) for part in ("mean", "std"))
        yield Properties(
            "property",
            name,
            known["class"].to_numpy().astype(np.int64),
            known["n"].to_numpy().astype(np.int64),
            _nearest(mean, std),
            np.where(mean >= np.median(mean), 1.0, -1.0),
        )


def _nearest(mean: Floats, std: Floats) -> Floats:
    """Cohen's d of each class to the nearest other one."""
    distance = np.abs(mean[:, np.newaxis] - mean)
    deviation = np.sqrt((std[:, np.newaxis] ** 2 + std**2) / 2)
    d = distance / np.maximum(deviation, np.maximum(distance, 1e-300) / _LARGEST)
    np.fill_diagonal(d, np.inf)
    nearest: Floats = d.min(axis=1)
    return nearest


def presences(evidence: Evidence, found: Properties, rows: Sequence[int]) -> list[float]:
    """In what share of a class's images the property is beyond what is usual in other classes'.

    Beyond is above their 95th percentile, or below their 5th where the class is on that side.

    Args:
      evidence: The atlas.
      found: The indicator of the property.
      rows: Which of its classes.
    """
    values, owners = [], []
    for targets, column in half_of_rows(evidence, found.statistic):
        values.append(column.to_numpy(zero_copy_only=False).astype(np.float64))
        owners.append(targets)
    value, owner = np.concatenate(values), np.concatenate(owners)
    return [
        share_above_others(found.side[row] * value, owner == found.targets[row]) for row in rows
    ]
