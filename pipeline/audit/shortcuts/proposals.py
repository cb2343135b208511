"""What is worth an experiment though nothing stands out: where the maps of each class point at all.

A mark in half of a class's images, or in one of two classes, hardly stands out from other classes:
it is in too few maps, or two classes share what tells them apart. Still maps point to it. So with
the model at hand two places of each class are proposed, and where each of its maps peaks:

    own      the window that holds most of the class's mean map
    unusual  the window where R is largest, R as in `place`, of windows instead of cells

A window is a seventh of each side. Each property that can be changed is proposed, too: by it a
class may be known that another one comes near in it. Any class has such places and properties, so a
proposal is no finding: what comes of it is the experiment's to say, which begins with a few images
of half a, or with whether another class is alike in all else (`confirm`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.audit.shortcuts import place
from pipeline.audit.shortcuts.candidates import Candidate, candidate_of, class_names, presences
from pipeline.audit.shortcuts.halves import Evidence
from pipeline.audit.shortcuts.place import Places, log_contrast, means_of_half
from pipeline.audit.shortcuts.scores import Scores
from transforms.statistics.columns import INPUT_SIZES

MOST_CLASSES = 20
"""Classes that something is proposed of, by each indicator: those that it puts first."""

_PARTS = 7  # A window's side is one of so many parts of the grid's.


def propose(evidence: Evidence, scores: Sequence[Scores], min_n: int) -> list[Candidate]:
    """Places, peaks and properties of classes, as candidates that do not stand out.

    Args:
      evidence: A finished atlas of images.
      scores: Its indicators.
      min_n: Of classes with fewer maps in half a nothing is proposed.

    Returns:
      By class, its places before its peaks and those before its properties.
    """
    names = class_names(evidence)
    found: list[Candidate] = []
    for each in scores:
        first = np.argsort(-each.score, kind="stable")[:MOST_CLASSES]
        rows = np.sort(first[each.n[first] >= min_n]).tolist()
        if not rows or each.statistic in INPUT_SIZES:
            continue
        found += [
            dataclasses.replace(
                candidate_of(scored, row, names, min_n, presence=presence), stands_out=False
            )
            for scored, row, presence in _with_presences(evidence, each, rows)
        ]
    return sorted(found, key=lambda each: each.finding.class_number)


def _with_presences(
    evidence: Evidence, scores: Scores, rows: Sequence[int]
) -> Iterator[tuple[Scores, int, float]]:
    """What is proposed of some classes: whose scores, which of their classes, and its presence."""
    if not isinstance(scores, Places):
        yield from zip([scores] * len(rows), rows, presences(evidence, scores, rows), strict=True)
        return
    own, unusual = windows(evidence, scores)
    chosen = [(own, row) for row in rows]
    chosen += [(unusual, row) for row in rows if (unusual.regions[row] != own.regions[row]).any()]
    regions = np.stack([each.regions[row] for each, row in chosen])
    shares = place.presences(evidence, [int(scores.targets[row]) for _, row in chosen], regions)
    for (each, row), share in zip(chosen, shares, strict=True):
        yield each, row, share


def windows(evidence: Evidence, places: Places) -> tuple[Places, Places]:
    """The own and the unusual window of each class; the score of a window is its R.

    Args:
      evidence: The atlas.
      places: Its indicator of places.
    """
    means = means_of_half(evidence.folds)[2]
    rows, columns = means.shape[1:]
    side = max(1, round(rows / _PARTS)), max(1, round(columns / _PARTS))
    cells = np.lib.stride_tricks.sliding_window_view(means, side, axis=(1, 2))
    of_windows = cells.mean(axis=(-2, -1))
    contrast = log_contrast(of_windows)
    found = []
    for values in (of_windows, contrast):
        corners = [np.unravel_index(each.argmax(), each.shape) for each in values]
        score = np.array([each[corner] for each, corner in zip(contrast, corners, strict=True)])
        regions = np.zeros(means.shape, bool)
        for region, (top, left) in zip(regions, corners, strict=True):
            region[top : top + side[0], left : left + side[1]] = True
        found.append(dataclasses.replace(places, score=score, regions=regions))
    return found[0], found[1]
