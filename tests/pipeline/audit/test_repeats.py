"""The indicator of what repeats, and how far a class is ahead, against slow versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.audit.shortcuts.candidates import CANDIDATE, find_candidates
from pipeline.audit.shortcuts.repeat import indicate_repeats, presences
from pipeline.audit.shortcuts.scores import lead
from transforms.statistics.groups.folds import folds_of
from transforms.statistics.peak_windows import PEAK_WINDOW, autocorrelations, windows_column

CLASSES, PER_CLASS, PLANTED = 3, 41, 1

Windows = npt.NDArray[np.int16]


class Tables:
    """Windows of classes as an audit is given them."""

    def __init__(self, windows: Windows, targets: npt.NDArray[np.int64]) -> None:
        self.ids = [f"example-{number}" for number in range(len(targets))]
        self.windows, self.targets = windows, targets
        self.even = folds_of(self.ids) % 2 == 0
        rows = []
        for target in sorted(set(targets.tolist())):
            for fold in range(16):
                inside = (targets == target) & (folds_of(self.ids) == fold)
                found = windows[inside].astype(np.int64)
                count = int(found.any(axis=(1, 2)).sum())
                shapes = autocorrelations(found)
                rows.append((target, fold, count, shapes.sum(axis=0), int((shapes**2).sum())))
        tensor = pa.fixed_shape_tensor(pa.int64(), (11, 11))
        flat = pa.array(np.concatenate([total.reshape(-1) for *_, total, _ in rows]))
        storage = pa.FixedSizeListArray.from_arrays(flat, 121)
        self.folds = pa.table(
            {
                "class": pa.array([row[0] for row in rows], pa.int32()),
                "fold": pa.array([row[1] for row in rows], pa.int32()),
                "windows": [row[2] for row in rows],
                "autocorrelation_sum": pa.ExtensionArray.from_storage(tensor, storage),
                "autocorrelation_squares": [row[4] for row in rows],
            }
        )
        names = [f"kind {number}" for number in range(CLASSES)]
        self.classes = pa.table({"class": range(CLASSES), "class_name": names})

    def batches(
        self, columns: Sequence[str], where: pc.Expression | None = None
    ) -> Iterator[pa.RecordBatch]:
        rows = pa.table(
            {
                "example_id": self.ids,
                "target": pa.array(self.targets, pa.int32()),
                PEAK_WINDOW: windows_column(self.windows),
            }
        )
        yield from rows.filter(where).select(columns).to_batches(max_chunksize=50)


@pytest.fixture(scope="module")
def tables() -> Tables:
    """Noise; most windows of one class have a pattern, and some of another are undefined."""
    random = np.random.default_rng(3)
    targets = np.arange(CLASSES * PER_CLASS) % CLASSES
    drawn = random.normal(size=(len(targets), 11, 11))
    pattern = random.normal(size=(11, 11))
    marked = (targets == PLANTED) & (random.random(len(targets)) < 0.8)
    for row in np.flatnonzero(marked):  # Where in the window it is differs.
        drawn[row] += 3 * np.roll(pattern, random.integers(0, 11, 2), axis=(0, 1))
    drawn -= drawn.mean(axis=(1, 2), keepdims=True)
    drawn /= np.sqrt((drawn**2).sum(axis=(1, 2), keepdims=True))
    windows = np.rint(drawn * 2**14).astype(np.int16)
    windows[(targets == 2) & (random.random(len(targets)) < 0.3)] = 0
    return Tables(windows, targets)


def slow_autocorrelation(window: list[list[int]]) -> list[float]:
    return [
        sum(window[v][u] * window[(v + y) % 11][(u + x) % 11] for v in range(11) for u in range(11))
        / 2**28
        for y in range(11)
        for x in range(11)
    ]


@pytest.fixture(scope="module")
def shapes(tables: Tables) -> dict[int, npt.NDArray[np.float64]]:
    """Of each class's windows of half a, less what is usual of the classes."""
    found = {}
    for target in range(CLASSES):
        chosen = tables.even & (tables.targets == target) & tables.windows.any(axis=(1, 2))
        found[target] = np.array([slow_autocorrelation(w) for w in tables.windows[chosen].tolist()])
    usual = np.mean([each.mean(axis=0) for each in found.values()], axis=0)
    return {target: each - usual for target, each in found.items()}


def test_the_indicator_is_the_mean_over_pairs(
    tables: Tables, shapes: dict[int, npt.NDArray[np.float64]]
) -> None:
    repeats = indicate_repeats(tables.folds)
    assert repeats.targets.tolist() == [0, 1, 2]
    for row, own in shapes.items():
        pairs = [first @ second for number, first in enumerate(own) for second in own[:number]]
        norm = np.mean([each @ each for each in own])
        assert repeats.n[row] == len(own)
        assert repeats.score[row] == pytest.approx(np.mean(pairs) / norm, abs=1e-3)
    assert lead(repeats.score)[PLANTED] > CANDIDATE.repeat_lead


def test_presence_is_the_share_that_looks_alike(
    tables: Tables, shapes: dict[int, npt.NDArray[np.float64]]
) -> None:
    own, others = shapes[PLANTED], np.concatenate([shapes[0], shapes[2]])
    usual = np.quantile([each @ own.mean(axis=0) for each in others], 0.95)
    alike = [each @ np.delete(own, number, axis=0).mean(axis=0) for number, each in enumerate(own)]
    slow = np.mean(np.array(alike) > usual)
    found = presences(tables, indicate_repeats(tables.folds), [PLANTED])
    assert found == [pytest.approx(slow, abs=0.06)]  # a map or so, by rounding
    assert 0.5 < slow < 1


def test_a_class_that_repeats_itself_is_a_candidate_without_a_place(tables: Tables) -> None:
    (found,) = find_candidates(tables, [indicate_repeats(tables.folds)], 10)
    finding = found.finding
    assert (finding.class_number, finding.indicator, finding.statistic) == (PLANTED, "repeat", "S2")
    assert (found.cells, finding.region, finding.area) == (None, None, None)
    assert finding.others is not None
    assert finding.effect - finding.others > CANDIDATE.repeat_lead
    assert finding.verdict == "candidate"
    assert not finding.calibrated  # three classes


def test_an_older_atlas_and_a_single_class_have_none(tables: Tables) -> None:
    folds = tables.folds
    assert not len(indicate_repeats(folds.drop_columns(["autocorrelation_sum"])).targets)
    assert not len(indicate_repeats(folds.filter(pc.field("class") == PLANTED)).targets)
    assert not len(indicate_repeats(folds.slice(0, 0)).targets)


@pytest.mark.parametrize(("classes", "passed"), [(2, 0), (7, 0), (8, 1), (12, 1)])
def test_a_lead_is_over_the_largest_others_but_one(classes: int, passed: int) -> None:
    scores = np.random.default_rng(classes).integers(0, 6, classes) / 8
    slow = [
        value - sorted(np.delete(scores, row), reverse=True)[passed]
        for row, value in enumerate(scores)
    ]
    np.testing.assert_allclose(lead(scores), slow)
