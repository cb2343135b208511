"""Two atlases of other examples: figures of groups against scipy's and plain definitions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon
from simulated_atlas import Rows, fake_rows, write_atlas

from pipeline.atlas import Atlas
from pipeline.audit.groups import Groups
from pipeline.commands.compared import print_comparison
from pipeline.compare.compare import compare
from pipeline.compare.distributions import histogram_divergences
from pipeline.compare.relation import relate
from pipeline.compare.result import AtlasComparison

N = 80
CONFIG = {"model": {"uri": "model.keras"}}


def marked(seed: int) -> Rows:
    """Three classes, in one of which corners are brighter and maps look elsewhere."""
    rows = fake_rows(3, N, seed=seed)
    inside = rows["target"] == 1
    rows["corner_energy"][inside] = np.minimum(rows["corner_energy"][inside] + 0.2, 1)
    rows["sketch"][inside, 0] += 0.5
    rows["sketch"][inside] /= rows["sketch"][inside].sum(axis=1, keepdims=True)
    return rows


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Rows, AtlasComparison]:
    """Rows of both, and what they compare to."""
    folder = tmp_path_factory.mktemp("atlases")
    first, second = fake_rows(3, N, seed=1), marked(2)
    paths = (
        write_atlas(folder / "a", first, data="/spring", config=CONFIG),
        write_atlas(folder / "b", second, data="/autumn", shards=3, config=CONFIG),
    )
    return first, second, compare(relate(*map(Atlas.open, paths)))


def in_tenths(*histograms: Any) -> list[list[int]]:
    """Histograms of the tenths of all values, bin by bin."""
    total, found, below = sum(map(sum, histograms)), [[0] * 10, [0] * 10], 0
    for pair in zip(*histograms, strict=True):
        tenth = min(int(10 * (below + sum(pair) / 2) / total), 9)
        for side, count in enumerate(pair):
            found[side][tenth] += count
        below += sum(pair)
    return found


def of_class(found: Any, number: int) -> Any:
    assert found.distributions is not None
    (group,) = [each for each in found.distributions.classes if each.class_number == number]
    return group


def test_it_says_that_the_data_are_others(found: Any) -> None:
    *_, result = found
    assert (result.relation, result.sentence) == ("data", "the same model and other data")
    assert result.joined is None
    assert AtlasComparison.from_json(result.to_json()) == result


def test_the_class_that_moved_comes_first(found: Any) -> None:
    *_, result = found
    assert result.distributions.classes[0].class_number == 1
    group = of_class(result, 1)
    assert group.drift.low > 0.05
    assert group.drift.low < group.drift.value < group.drift.high


@pytest.mark.parametrize("number", [0, 1])
def test_statistics_are_scipys(found: Any, number: int) -> None:
    first, second, result = found
    (change,) = [
        each for each in of_class(result, number).statistics if each.statistic == "corner_energy"
    ]
    one, other = (
        each["corner_energy"][each["target"] == number].astype(float) for each in (first, second)
    )
    assert change.first == pytest.approx(one.mean())
    assert change.second == pytest.approx(other.mean())
    assert change.change.value == pytest.approx(other.mean() - one.mean())
    welch = stats.ttest_ind(other, one, equal_var=False)
    assert change.p == pytest.approx(welch.pvalue)
    ends = welch.confidence_interval(0.95)
    assert (change.change.low, change.change.high) == pytest.approx(tuple(ends), abs=2e-3)
    spread = math.sqrt((one.var() + other.var()) / 2)
    assert change.effect.value == pytest.approx((other.mean() - one.mean()) / spread)
    assert change.effect.low == pytest.approx(change.change.low / spread)
    histograms = in_tenths(*(np.histogram(each, 256, (0, 1))[0] for each in (one, other)))
    assert change.divergence == pytest.approx(jensenshannon(*histograms, base=2) ** 2)
    # The one class is drawn alike in both, so that all of it is chance.
    times = change.divergence / change.chance
    assert times > 10 if number else times < 3


def test_chance_is_what_values_that_are_drawn_alike_have_in_the_mean() -> None:
    random = np.random.default_rng(0)
    groups, n, m = 400, 200, 80
    values = random.beta(2, 8, (groups, n + m))
    counts = [
        np.stack([np.histogram(row, 256, (0, 1))[0] for row in part])
        for part in (values[:, :n], values[:, n:])
    ]
    edges = {b"edges": b'{"count": 257, "range": [0, 1]}'}
    sides = [
        Groups(
            pa.table(
                [pa.array(each.tolist())],
                pa.schema([pa.field("x_histogram", pa.list_(pa.int64()), metadata=edges)]),
            ),
            None,
        )
        for each in counts
    ]
    divergence, chance = histogram_divergences("x", *sides)
    assert chance == pytest.approx(9 * (1 / n + 1 / m) / (8 * math.log(2)))
    assert divergence.mean() == pytest.approx(chance.mean(), rel=0.1)


def test_accuracy_has_its_change(found: Any) -> None:
    first, second, result = found
    group = of_class(result, 2)
    one, other = (
        (each["predicted"] == each["label"])[each["target"] == 2].mean() for each in (first, second)
    )
    assert (group.accuracy_first, group.accuracy_second) == pytest.approx((one, other))
    assert group.accuracy_change.value == pytest.approx(other - one)
    assert group.accuracy_change.low < other - one < group.accuracy_change.high


def test_parts_of_classes_are_compared_too(found: Any) -> None:
    *_, result = found
    slices = result.distributions.slices
    assert result.distributions.slices_in_all == len(slices) == 6
    assert {(each.slice, each.value) for each in slices} == {("camera", "A"), ("camera", "B")}
    assert [each.class_number for each in slices[:2]] == [1, 1]
    assert {each.n_first for each in slices} == {N // 2}
    assert slices[0].drift.low is None


def test_classes_that_one_has_alone_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = fake_rows(4, 40)
    some = {name: column[rows["target"] != 0] for name, column in rows.items()}
    few = {name: column[rows["target"] != 3] for name, column in rows.items()}
    names = ["ant", "bee", "cat", "dog"]
    paths = (
        write_atlas(tmp_path / "a", few, class_names=names, config=CONFIG),
        write_atlas(tmp_path / "b", some, class_names=names, data="/other", config=CONFIG),
    )
    found = compare(relate(*map(Atlas.open, paths)))
    result = found.distributions
    assert result is not None
    part = result.classes[0].model_copy(update={"slice": "camera", "value": None})
    tables = result.model_copy(update={"slices": [part]})
    print_comparison(found.model_copy(update={"distributions": tables}))
    said = capsys.readouterr().out
    assert "1 class is in the first alone: ant\n1 class is in the second alone: dog\n" in said
    assert "camera null" in said
    assert (result.only_first, result.only_second) == (["ant"], ["dog"])
    assert sorted(each.class_number for each in result.classes) == [1, 2]
