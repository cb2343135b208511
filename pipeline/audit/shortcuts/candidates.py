"""Which classes have a candidate for a shortcut, and what the indicators say of it.

A candidate is decided by the size of the effect; `q` stands beside it where there are classes of
other atlases to rank it against (`reference`). Permuted labels and randomised weights are no
reference: they reject that classes are alike, which no one asked.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.audit.estimation.intervals import Floats
from pipeline.audit.result import Shortcut
from pipeline.audit.shortcuts import place, properties, repeat
from pipeline.audit.shortcuts.halves import Evidence
from pipeline.audit.shortcuts.reference import Reference
from pipeline.audit.shortcuts.scores import FEWEST_CLASSES, IndicatorKind, Scores, lead

LARGE_EFFECT = math.log(4)
"""Of S1: four times the saliency that is usual at a place, for the class and for the place."""

LARGEST_AREA = 0.15
"""A region with a larger share of the image is no place: masking it masks the object."""

LEAST_PRESENCE = 0.15
"""A place that stands out in fewer of the class's maps is that of some images, not of the class."""

PLACE_LEAD = 0.4
"""Of S1: by so much a class stands out more than others do (`scores.lead`)."""

REPEAT_LEAD = 0.25
"""Of S2: by so much a class repeats itself more than others do."""

FAR_APART = 4.0
"""Of a property: so many standard deviations to the nearest other class."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A class and what is in question about it.

    Attributes:
      finding: As it stands in `audit.json`.
      cells: (rows, columns) bool, the region on the grid of sketches; None where it is no place.
    """

    finding: Shortcut
    cells: npt.NDArray[np.bool_] | None


def find_candidates(
    evidence: Evidence,
    scores: Sequence[Scores],
    min_n: int,
    reference: Reference | None = None,
) -> list[Candidate]:
    """The classes whose maps or images differ from all other classes' as few do.

    The maps are those of each class explained; where the target is not the label, those of wrong
    predictions are among them.

    Args:
      evidence: A finished atlas of images.
      scores: Its indicators.
      min_n: Classes with fewer maps in half a are `undecided`.
      reference: What q values are made by; None makes none.

    Returns:
      By class, then by indicator.
    """
    q_values = None if reference is None else reference.q_values(scores)
    names = dict(
        zip(*(evidence.classes[name].to_pylist() for name in ("class", "class_name")), strict=True)
    )
    found: list[Candidate] = []
    for number, each in enumerate(scores):
        areas = each.areas if isinstance(each, place.Places) else None
        rows = np.flatnonzero(large(each.kind, each.score, areas)).tolist()
        if not rows:
            continue
        for row, presence in zip(rows, presences(evidence, each, rows), strict=True):
            if each.kind == "place" and presence < LEAST_PRESENCE:
                continue
            q = None if q_values is None else q_values[number][row]
            found.append(candidate_of(each, row, names, min_n, presence=presence, q=q))
    return sorted(found, key=lambda each: each.finding.class_number)


def large(kind: IndicatorKind, score: Floats, areas: Floats | None) -> npt.NDArray[np.bool_]:
    """Which effects are large enough for a candidate.

    Args:
      kind: Of the indicator.
      score: (K,) its values.
      areas: (K,) the regions' share of the image; None where they are no places.

    Returns:
      (K,).
    """
    if kind == "property":
        return score >= FAR_APART
    if kind == "repeat":
        return lead(score) >= REPEAT_LEAD
    assert areas is not None  # noqa: S101 - places have regions
    found = (score >= LARGE_EFFECT) & (areas <= LARGEST_AREA)
    # Of few classes each stands out from some: there the effect alone makes a candidate.
    return found & (lead(score) >= PLACE_LEAD) if len(score) >= FEWEST_CLASSES else found


def presences(evidence: Evidence, scores: Scores, rows: Sequence[int]) -> list[float]:
    """In what share of the maps of some classes what the indicator saw is to be seen."""
    if isinstance(scores, place.Places):
        targets = scores.targets[list(rows)].tolist()
        return place.presences(evidence, targets, scores.regions[list(rows)])
    if isinstance(scores, repeat.Repeats):
        return repeat.presences(evidence, scores, rows)
    assert isinstance(scores, properties.Properties)  # noqa: S101 - there are three kinds
    return properties.presences(evidence, scores, rows)


def candidate_of(
    scores: Scores,
    row: int,
    names: Mapping[int, str | None],
    min_n: int,
    *,
    presence: float,
    q: float | None = None,
) -> Candidate:
    """A class as a candidate, whatever its effect is.

    Args:
      scores: The indicator.
      row: Which of its classes.
      names: Of classes, by their number.
      min_n: With fewer maps it is undecided.
      presence: As the kind of indicator has it.
      q: Its q value; None or NaN where there is none.
    """
    n, target = int(scores.n[row]), int(scores.targets[row])
    cells = scores.regions[row] if isinstance(scores, place.Places) else None
    finding = Shortcut(
        **{"class": target},
        class_name=names.get(target),
        indicator=scores.kind,
        statistic=scores.statistic,
        n=n,
        calibrated=len(scores.targets) >= FEWEST_CLASSES,
        q=None if q is None or math.isnan(q) else q,
        effect=float(scores.score[row]),
        others=float(np.delete(scores.score, row).max()),
        presence=presence,
        region=None if cells is None else _bounds(cells),
        area=None if cells is None else float(cells.mean()),
        verdict="undecided" if n < min_n else "candidate",
        mask=None,
        transplant=None,
    )
    return Candidate(finding, cells)


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
