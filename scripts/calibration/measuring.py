"""One model, from its images to figures: trained, explained, audited, its candidates tried.

More classes are tried than are candidates, and figures are kept as they are: so the decision can be
taken again by other thresholds without training again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from calibration.explaining import TablesInMemory, explain
from calibration.kinds import PLANTED, Kind, Scene, make_scene, random_of
from calibration.network import Network, network
from pipeline.audit.shortcuts.candidates import Candidate, candidate_of, presences
from pipeline.audit.shortcuts.indicators import indicators
from pipeline.audit.shortcuts.place import Places
from pipeline.audit.shortcuts.repeat import Repeats
from pipeline.audit.shortcuts.scores import Scores, lead
from pipeline.config.audit_section import AuditSection
from pipeline.confirm.confirm import MAX_EXAMPLES, try_on_model
from pipeline.confirm.experiment import Subject
from pipeline.confirm.interventions import Mask, mask_of_cells
from transforms.codec import decode
from transforms.statistics.groups.folds import folds_of
from transforms.statistics.peak_windows import peak_square
from transforms.store.map_format import map_codes

_TRIED_S1, _TRIED_AREA = math.log(3), 0.2
_TRIED_S2, _TRIED_LEAD = 0.15, 0.05
_TRIED_PRESENCE = 0.08
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
    tried = [
        _tried(candidate, scene, trained, tables)
        for each in scores
        for candidate in _worth_trying(each, tables)
    ]
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
        "tried": tried,
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


def _worth_trying(scores: Scores, tables: TablesInMemory) -> list[Candidate]:
    """Classes that some decision may call candidates."""
    if isinstance(scores, Places):
        chosen = np.flatnonzero((scores.score >= _TRIED_S1) & (scores.areas <= _TRIED_AREA))
    elif isinstance(scores, Repeats):
        chosen = np.flatnonzero((scores.score >= _TRIED_S2) & (lead(scores.score) >= _TRIED_LEAD))
    else:
        return []
    rows = chosen.tolist()
    if not rows:
        return []
    return [
        candidate_of(scores, row, {}, 1, presence=presence)
        for row, presence in zip(rows, presences(tables, scores, rows), strict=True)
        if scores.kind != "place" or presence >= _TRIED_PRESENCE
    ]


def _tried(
    candidate: Candidate, scene: Scene, trained: Network, tables: TablesInMemory
) -> dict[str, Any]:
    target = candidate.finding.class_number
    ids = tables.table["example_id"].to_pylist()
    odd = folds_of(ids) % 2 == 1
    is_own = scene.audited.labels == target
    images = scene.audited.pixels
    own = np.flatnonzero(odd & is_own)[:MAX_EXAMPLES]
    others = np.flatnonzero(odd & ~is_own)
    others = np.sort(random_of_class(target).permutation(others)[:MAX_EXAMPLES])
    masks = _masks(candidate, tables.table.take(pa.array(own)), len(own))
    subjects = [
        Subject(ids[row], images[row].astype(np.float32), mask)
        for row, mask in zip(own.tolist(), masks, strict=True)
        if mask is not None
    ]
    found = try_on_model(
        candidate.finding,
        subjects,
        [images[row].astype(np.float32) for row in others.tolist()],
        trained.predict,
        min_effect=_DEFAULTS.min_effect,
        confidence=_DEFAULTS.confidence,
    )
    return {
        "class": target,
        "indicator": found.indicator,
        "statistic": found.statistic,
        "area": found.area,
        "presence": round(found.presence, _DIGITS),
        "on_mark": _is_on_mark(candidate, scene),
        "mask": None if found.mask is None else found.mask.model_dump(),
        "transplant": None if found.transplant is None else found.transplant.model_dump(),
    }


def random_of_class(target: int) -> np.random.Generator:
    """What draws a class's images of other classes."""
    return np.random.default_rng(target)


def _masks(candidate: Candidate, rows: pa.Table, count: int) -> list[Mask | None]:
    if candidate.cells is not None:
        shape = map_codes(rows).shape[1:]
        return [mask_of_cells(candidate.cells, *shape)] * count
    values = decode(map_codes(rows), rows["map_scale"].to_numpy())
    return [peak_square(each) if each.any() else None for each in values]


def _is_on_mark(candidate: Candidate, scene: Scene) -> bool | None:
    """Whether the region meets the mark; None where either is no one place."""
    if candidate.cells is None or scene.mark is None:
        return None
    top, left, side = scene.mark
    region: npt.NDArray[np.bool_] = mask_of_cells(candidate.cells, *scene.audited.pixels.shape[1:3])
    return bool(region[top : top + side, left : left + side].any())
