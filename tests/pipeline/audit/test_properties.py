"""The indicator of properties of whole images, against its definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.audit.shortcuts.candidates import find_candidates
from pipeline.audit.shortcuts.properties import indicate_properties, presences
from pipeline.audit.shortcuts.proposals import propose
from transforms.statistics.groups.folds import folds_of

MEANS, DEVIATION, PER_CLASS = (0.2, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8), 0.05, 80
CLASSES = len(MEANS)


class Tables:
    """Classes whose images have another luminance."""

    def __init__(self, values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
        self.values = values
        self.targets = np.repeat(np.arange(len(values)), values.shape[1])
        self.ids = [f"example-{number}" for number in range(len(self.targets))]
        self.classes = pa.table(
            {
                "class": pa.array(range(len(values)), pa.int32()),
                "class_name": [f"kind {number}" for number in range(len(values))],
                "n": [values.shape[1]] * len(values),
                "luminance_mean": values.mean(axis=1),
                "luminance_std": values.std(axis=1),
            }
        )
        self.folds = pa.table({})

    def batches(
        self, columns: Sequence[str], where: pc.Expression | None = None
    ) -> Iterator[pa.RecordBatch]:
        rows = pa.table(
            {
                "example_id": self.ids,
                "target": self.targets,
                "luminance": self.values.reshape(-1).astype(np.float32),
            }
        )
        yield from rows.filter(where).select(columns).to_batches()


@pytest.fixture(scope="module")
def tables() -> Tables:
    random = np.random.default_rng(2)
    return Tables(
        np.array(MEANS)[:, np.newaxis] + DEVIATION * random.normal(size=(CLASSES, PER_CLASS))
    )


def test_the_indicator_is_the_distance_to_the_nearest_class(tables: Tables) -> None:
    (found,) = indicate_properties(tables)
    mean, std = tables.values.mean(axis=1), tables.values.std(axis=1)
    for row in range(CLASSES):
        slow = min(
            abs(mean[row] - mean[k]) / np.sqrt((std[row] ** 2 + std[k] ** 2) / 2)
            for k in range(CLASSES)
            if k != row
        )
        assert found.score[row] == pytest.approx(slow)
    assert found.score[0] == pytest.approx(6, abs=1)
    assert found.statistic == "luminance"
    assert found.side.tolist() == [-1] * 4 + [1] * 4


def test_presence_is_the_share_beyond_the_others(tables: Tables) -> None:
    (found,) = indicate_properties(tables)
    half = (folds_of(tables.ids) % 2 == 0).reshape(CLASSES, -1)
    others = tables.values[1:][half[1:]]
    slow = np.mean(-tables.values[0][half[0]] > np.quantile(-others, 0.95))
    assert presences(tables, found, [0]) == [pytest.approx(slow)]


def test_the_class_that_differs_is_a_candidate(tables: Tables) -> None:
    (found,) = find_candidates(tables, [*indicate_properties(tables)], 50)
    finding = found.finding
    assert (finding.class_number, finding.indicator) == (0, "property")
    assert (finding.statistic, finding.verdict) == ("luminance", "candidate")
    assert (found.cells, finding.region, finding.mask) == (None, None, None)


def test_values_that_do_not_vary_have_an_end() -> None:
    values = np.repeat([[480.0]] * 7 + [[500.0]], 60, axis=1)
    (found,) = indicate_properties(Tables(values))
    assert found.score.tolist() == [0] * 7 + [100]


def test_a_candidate_takes_eight_classes_but_what_is_tried_only_two(tables: Tables) -> None:
    few = Tables(tables.values[:7])
    scores = [*indicate_properties(few)]
    assert find_candidates(few, scores, 50) == []
    proposed = propose(few, scores, 50)
    assert [each.finding.class_number for each in proposed] == [*range(7)]
    assert not any(each.stands_out or each.finding.calibrated for each in proposed)
    assert list(indicate_properties(Tables(tables.values[:1]))) == []


def test_an_atlas_without_properties_has_no_such_indicator(tables: Tables) -> None:
    nothing = Tables(tables.values)
    nothing.classes = nothing.classes.drop_columns(["luminance_mean"])
    assert list(indicate_properties(nothing)) == []
