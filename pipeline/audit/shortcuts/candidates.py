"""Which classes have a candidate for a shortcut, and what the indicators say of it.

A candidate is decided by the size of the effect; `q` stands beside it where there are classes of
other atlases to rank it against (`reference`). Permuted labels and randomised weights are no
reference: they reject that classes are alike, which no one asked.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.audit.estimation.intervals import Floats
from pipeline.audit.shortcuts import place, properties, repeat
from pipeline.audit.shortcuts.halves import Evidence
from pipeline.audit.shortcuts.reference import Reference
from pipeline.audit.shortcuts.scores import FEWEST_CLASSES, IndicatorKind, Scores, lead
from pipeline.audit.shortcuts.shortcut import Shortcut

FAR_APART = 4.0
"""Of a property: so many standard deviations to the nearest other class."""


@dataclasses.dataclass(frozen=True)
class Bounds:
    """From which effect on a class is in question.

    Attributes:
      effect: Least S1 of a place: ln 4 is four times the saliency that is usual there.
      area: Largest share of the image of a region: masking a larger one masks the object.
      presence: Least presence of a place; with less it is that of some images, not of the class.
      place_lead: Least lead of S1 (`scores.lead`).
      repeat_lead: Least lead of S2.
    """

    effect: float
    area: float
    presence: float
    place_lead: float
    repeat_lead: float


CANDIDATE = Bounds(effect=math.log(4), area=0.15, presence=0.7, place_lead=1.0, repeat_lead=0.35)
"""Rare enough among clean classes to be told without an experiment (`scripts/calibrate`)."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A class and what is in question about it.

    Attributes:
      finding: As it stands in `audit.json`.
      cells: (rows, columns) bool, the region on the grid of sketches; None where it is no place.
      stands_out: Whether it is a candidate, experiment or not; a proposal is not, and only an
        experiment makes something of it.
    """

    finding: Shortcut
    cells: npt.NDArray[np.bool_] | None
    stands_out: bool = True


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
    names = class_names(evidence)
    found: list[Candidate] = []
    for number, each in enumerate(scores):
        areas = each.areas if isinstance(each, place.Places) else None
        rows = np.flatnonzero(large(each.kind, each.score, areas)).tolist()
        if not rows:
            continue
        for row, presence in zip(rows, presences(evidence, each, rows), strict=True):
            if each.kind == "place" and presence < CANDIDATE.presence:
                continue
            q = None if q_values is None else q_values[number][row]
            found.append(candidate_of(each, row, names, min_n, presence=presence, q=q))
    return sorted(found, key=lambda each: each.finding.class_number)


def class_names(evidence: Evidence) -> dict[int, str | None]:
    """The names of classes, by their number."""
    columns = (evidence.classes[name].to_pylist() for name in ("class", "class_name"))
    return dict(zip(*columns, strict=True))


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
        # Of few classes any two are far apart in something.
        return (score >= FAR_APART) & (len(score) >= FEWEST_CLASSES)
    if kind == "repeat":
        return lead(score) >= CANDIDATE.repeat_lead
    assert areas is not None  # noqa: S101 - places have regions
    is_far = (score >= CANDIDATE.effect) & (lead(score) >= CANDIDATE.place_lead)
    return is_far & (areas <= CANDIDATE.area)


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
    named: dict[str, Any] = {"class": target}  # No name of a parameter.
    finding = Shortcut(
        **named,
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
