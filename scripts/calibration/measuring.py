"""One model, from its images to figures: trained, explained, audited, its candidates tried.

More classes are tried than are candidates, and figures are kept as they are: so the decision can be
taken again by other thresholds without training again.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from calibration.explaining import TablesInMemory, explain
from calibration.kinds import PLANTED, Kind, Scene, make_scene, random_of
from calibration.network import Network, network
from calibration.trying import Trial
from pipeline.audit.shortcuts.candidates import Candidate, candidate_of, large, presences
from pipeline.audit.shortcuts.indicators import indicators
from pipeline.audit.shortcuts.place import Places
from pipeline.audit.shortcuts.proposals import propose
from pipeline.audit.shortcuts.repeat import Repeats
from pipeline.audit.shortcuts.scores import Scores, lead
from pipeline.audit.shortcuts.trying import worth_trying
from pipeline.config.audit_section import AuditSection
from pipeline.confirm.interventions import mask_of_cells

_TRIED_S1, _TRIED_AREA, _TRIED_S1_LEAD = math.log(4), 0.15, 0.5
_TRIED_S2_LEAD = 0.2
_TRIED_PRESENCE = 0.3
_DEFAULTS = AuditSection.model_validate({})
_DIGITS = 4


def measure(kind: Kind, seed: int) -> dict[str, Any]:
    """Makes one model and its audit.

    Returns:
      What JSON can hold: the model, the scores of all classes, and what trying candidates found.
    """
    scene = make_scene(kind, seed)
    trained = network(scene.classes, scene.head)
    trained.train(scene, random_of(kind, seed))
    tables = explain(scene.classes, scene.head, scene.audited)
    scores = indicators(tables)
    predicted = tables.table["predicted"].to_numpy()
    correct = predicted == tables.table["label"].to_numpy()
    trial = Trial(scene, trained, tables)
    candidates = [one for each in scores for one in _nearly_candidates(each, tables)]
    proposals = propose(tables, scores, _DEFAULTS.min_n)
    return {
        "kind": kind.name,
        "seed": seed,
        "classes": scene.classes,
        "head": scene.head,
        "twins": scene.twins,
        "flips": scene.flips,
        "accuracy": round(float(correct.mean()), _DIGITS),
        "drop": _drop(scene, trained),
        "scores": [_rounded(each) for each in scores],
        "tried": [_tried(each, trial) for each in candidates],
        "proposed": [_proposed(each, trial) for each in proposals],
    }


def _drop(scene: Scene, trained: Network) -> float | None:
    """By how much the planted class's accuracy falls where nothing is planted in its images."""
    if scene.planted is None:
        return None
    with_it, without = (
        trained.accuracy(images, PLANTED) for images in (scene.planted, scene.without)
    )
    return round(with_it - without, _DIGITS)


def _rounded(scores: Scores) -> dict[str, Any]:
    areas = scores.areas if isinstance(scores, Places) else None
    return {
        "kind": scores.kind,
        "statistic": scores.statistic,
        "score": np.round(scores.score, _DIGITS).tolist(),
        "areas": None if areas is None else np.round(areas, _DIGITS).tolist(),
    }


def _nearly_candidates(scores: Scores, tables: TablesInMemory) -> list[Candidate]:
    """Classes that some decision may call candidates."""
    if isinstance(scores, Places):
        is_large = (scores.score >= _TRIED_S1) & (lead(scores.score) >= _TRIED_S1_LEAD)
        chosen = np.flatnonzero(is_large & (scores.areas <= _TRIED_AREA))
    elif isinstance(scores, Repeats):
        chosen = np.flatnonzero(lead(scores.score) >= _TRIED_S2_LEAD)
    else:
        chosen = np.flatnonzero(large(scores.kind, scores.score, None))
    rows = chosen.tolist()
    if not rows:
        return []
    return [
        candidate_of(scores, row, {}, 1, presence=presence)
        for row, presence in zip(rows, presences(tables, scores, rows), strict=True)
        if scores.kind != "place" or presence >= _TRIED_PRESENCE
    ]


def _tried(candidate: Candidate, trial: Trial) -> dict[str, Any]:
    found = trial.confirm(candidate)
    return {"finding": found.model_dump(by_alias=True), "on_mark": _is_on_mark(candidate, trial)}


def _proposed(proposal: Candidate, trial: Trial) -> dict[str, Any]:
    """As `_tried`, with what screening came to; tried only if that alone may be worth it."""
    screened = trial.screen(proposal)
    if all(worth_trying([proposal], [screened])):
        found = _tried(proposal, trial)
    else:
        finding = proposal.finding.model_dump(by_alias=True)
        found = {"finding": finding, "on_mark": _is_on_mark(proposal, trial)}
    return {**found, "screened": None if screened is None else dataclasses.asdict(screened)}


def _is_on_mark(candidate: Candidate, trial: Trial) -> bool | None:
    """Whether the region meets the mark; None where either is no one place."""
    if candidate.cells is None or trial.scene.mark is None:
        return None
    top, left, side = trial.scene.mark
    shape = trial.scene.audited.pixels.shape[1:3]
    region: npt.NDArray[np.bool_] = mask_of_cells(candidate.cells, *shape)
    return bool(region[top : top + side, left : left + side].any())
