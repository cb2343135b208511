"""Two atlases of the same examples: figures against slow ones, on several files, blocks, joins."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared_atlases import COUNT, Made, fake_codes, write_atlas
from scipy import stats

from pipeline.atlas import Atlas
from pipeline.compare.compare import compare, join_here
from pipeline.compare.relation import relate
from pipeline.compare.result import AtlasComparison, JoinedExamples
from pipeline.compare.sums import JoinedSums

FIRST = Made()
ALL = np.arange(COUNT)
LABELS: Any = np.asarray(FIRST.labels)
IDS = list(FIRST.ids or ())


def second(**changes: Any) -> Made:
    """The same data and another model, whose maps are partly the first's."""
    random = np.random.default_rng(5)
    codes = np.where(random.random(FIRST.codes.shape) < 0.6, FIRST.codes, fake_codes(1))
    predicted = np.where(ALL % 5 == 0, (FIRST.predicted + 1) % 3, FIRST.predicted)
    given = {"model": "b", "codes": codes, "predicted": predicted, **changes}
    return dataclasses.replace(FIRST, **given)


def compared(tmp_path: Path, first: Made, other: Made) -> AtlasComparison:
    paths = write_atlas(tmp_path / "first", first), write_atlas(tmp_path / "second", other)
    return compare(relate(*map(Atlas.open, paths)))


def joined(tmp_path: Path, first: Made, other: Made) -> JoinedExamples:
    found = compared(tmp_path, first, other).joined
    assert found is not None
    return found


def content(result: JoinedExamples) -> JoinedExamples:
    """All but how and in which files the examples were met."""
    nowhere = {"shard": "", "record_first": 0, "record_second": 0, "block_first": ""}
    moved = [each.model_copy(update={**nowhere, "block_second": ""}) for each in result.moved]
    return result.model_copy(update={"by": "id", "moved": moved})


def slow_spearman(first: Made, other: Made, places: Any, others: Any = None) -> list[float]:
    pairs = zip(places, places if others is None else others, strict=True)
    return [
        stats.spearmanr(first.codes[a].reshape(-1), other.codes[b].reshape(-1))[0] for a, b in pairs
    ]


def test_figures_are_those_of_a_slow_comparison(tmp_path: Path) -> None:
    other = second()
    found = compared(tmp_path, FIRST, other)
    assert found.relation == "model"
    assert [(each.key, each.first, each.second) for each in found.differences] == [
        ("model", '"a.keras"', '"b.keras"')
    ]
    result = found.joined
    assert result is not None
    assert (result.by, result.maps, result.examples, result.pairs) == ("place", "codes", 47, 47)
    assert (result.only_first, result.only_second, result.undefined) == (0, 0, 0)
    values = slow_spearman(FIRST, other, ALL)
    assert result.spearman.mean.value == pytest.approx(np.mean(values), abs=1e-6)
    assert result.spearman.q50 == pytest.approx(np.median(values), abs=2 / 128)
    student = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    ends = (result.spearman.mean.low, result.spearman.mean.high)
    assert ends == pytest.approx(tuple(student), abs=2e-3)
    flips = ALL % 5 == 0
    right = [each.predicted == LABELS for each in (FIRST, other)]
    predictions = result.predictions
    assert (predictions.n, predictions.flips) == (47, flips.sum())
    assert predictions.accuracy_first == right[0].mean()
    assert predictions.accuracy_second == right[1].mean()
    change = predictions.accuracy_change
    assert change.value == pytest.approx(right[1].mean() - right[0].mean())
    assert change.low < change.value < change.high  # type: ignore[operator]
    assert sum(each.n for each in result.flips) == flips.sum()
    before, after = result.flips[0].first, result.flips[0].second
    assert (
        result.flips[0].n
        == (flips & (FIRST.predicted == before) & (other.predicted == after)).sum()
    )


def test_classes_and_examples_are_ordered_by_how_little_alike_they_are(tmp_path: Path) -> None:
    other = second()
    result = joined(tmp_path, FIRST, other)
    values = np.array(slow_spearman(FIRST, other, ALL))
    means = {number: values[number == LABELS].mean() for number in range(3)}
    assert [each.class_number for each in result.classes] == sorted(means, key=means.__getitem__)
    for each in result.classes:
        inside = each.class_number == LABELS
        assert each.class_name == FIRST.names[each.class_number]
        assert each.pairs == inside.sum()
        assert each.spearman.mean.value == pytest.approx(means[each.class_number], abs=1e-6)
        assert each.predictions.flips == (inside & (ALL % 5 == 0)).sum()
        assert each.drift is not None
        assert each.drift.low is not None
        assert each.drift.low <= 0.01
    worst = np.argsort(values)[:20]
    assert [each.example_id for each in result.moved] == [IDS[place] for place in worst]
    top = result.moved[0]
    assert top.spearman == pytest.approx(values[worst[0]], abs=1e-6)
    assert (top.shard, top.record_first) == (
        ("a.tfrecord", worst[0]) if worst[0] < 30 else ("b.tfrecord", worst[0] - 30)
    )


@pytest.mark.parametrize("names", [(), ("ant", "ant", "cat")])
def test_classes_have_their_drift_whatever_they_are_called(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    other = second(names=names)
    first = dataclasses.replace(FIRST, names=names or FIRST.names)
    expected = {each.class_number: each.drift for each in joined(tmp_path, FIRST, second()).classes}
    found = joined(tmp_path / "called", first, other).classes
    assert {each.class_number: each.drift for each in found} == expected
    assert None not in {each.drift.value for each in found if each.drift is not None}


def test_the_document_is_the_same_whatever_the_blocks_are(tmp_path: Path) -> None:
    other = second()
    expected = content(joined(tmp_path / "8", FIRST, other))
    for size in (5, 30):
        found = joined(tmp_path / str(size), FIRST, dataclasses.replace(other, block_size=size))
        assert content(found) == expected
    moved = dataclasses.replace(other, files=[("/x/a.tfrecord", 30), ("/x/b.tfrecord", 17)])
    assert content(joined(tmp_path / "moved", FIRST, moved)) == expected


def test_sums_do_not_depend_on_order_and_survive_as_a_file(tmp_path: Path) -> None:
    from pipeline.compare.compare import _openers, map_rule, pair_up
    from pipeline.compare.meeting import meet

    paths = write_atlas(tmp_path / "a", FIRST), write_atlas(tmp_path / "b", second())
    relation = relate(*map(Atlas.open, paths))
    pairing, whole = join_here(relation)
    assert len(pairing.pairs) == 7
    backwards, half = JoinedSums(), JoinedSums()
    for number, pair in enumerate(reversed(pair_up(relation).pairs)):
        met = meet(pair, map_rule(relation), *_openers(relation))
        (half if number < 3 else backwards).add(met)
    half.merge(JoinedSums())
    backwards.merge(JoinedSums.from_json(half.to_json()))
    assert backwards.to_json() == whole.to_json()


def test_other_files_are_met_by_id(tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(COUNT).tolist()
    files = [("/new/x.tfrecord", 20), ("/new/y.tfrecord", 27)]
    other = second()
    whole = compared(tmp_path, FIRST, other.taken(order, files))
    assert whole.sentence == "examples in common and another model"
    result = whole.joined
    assert result is not None
    assert result.by == "id"
    assert content(result) == content(joined(tmp_path / "by place", FIRST, other))
    assert Path(tmp_path / "second", result.moved[0].block_second).exists()


def test_what_is_missing_or_twice_is_counted(tmp_path: Path) -> None:
    places = [*range(3, 40), 5, 6]  # without eleven, two of them twice
    other = second().taken(places, [("/new/x.tfrecord", 20), ("/new/y.tfrecord", 19)])
    result = joined(tmp_path, FIRST, other)
    assert (result.examples, result.pairs) == (35, 35)
    assert (result.only_first, result.only_second) == (12, 4)
    assert (result.duplicate_ids_first, result.duplicate_ids_second) == (0, 4)
    kept = [place for place in range(3, 40) if place not in (5, 6)]
    values = slow_spearman(FIRST, second(), kept)
    assert result.spearman.mean.value == pytest.approx(np.mean(values), abs=1e-6)


def test_a_file_that_only_one_has_is_counted(tmp_path: Path) -> None:
    grown = second().taken(ALL.tolist()[:30], FIRST.files[:1])
    result = joined(tmp_path, FIRST, grown)
    assert (result.by, result.examples) == ("place", 30)
    assert (result.only_first, result.only_second) == (17, 0)


def test_the_same_place_with_another_id_is_not_met(tmp_path: Path) -> None:
    ids = [*IDS[:4], "another", *IDS[5:]]
    result = joined(tmp_path, FIRST, second(ids=ids))
    assert (result.examples, result.renamed, result.pairs) == (46, 1, 46)
    assert (result.only_first, result.only_second) == (1, 1)


def test_without_ids_places_alone_count(tmp_path: Path) -> None:
    first = dataclasses.replace(FIRST, ids=None)
    result = joined(tmp_path, first, second(ids=None))
    assert (result.examples, result.renamed) == (47, 0)


def test_files_of_one_name_may_hold_other_examples(tmp_path: Path) -> None:
    elsewhere = [("/x/a.tfrecord", 30), ("/data/b.tfrecord", 17)]
    ids = [*(f"other-{number}" for number in range(30)), *IDS[30:]]
    result = joined(tmp_path, FIRST, second(ids=ids, files=elsewhere))
    assert (result.examples, result.renamed) == (17, 30)
    assert (result.only_first, result.only_second) == (30, 30)


def test_maps_of_other_classes_are_not_met(tmp_path: Path) -> None:
    targets = np.where(ALL % 4 == 0, (LABELS + 1) % 3, LABELS)
    result = joined(tmp_path, FIRST, second(targets=targets, explain={"target": "predicted"}))
    assert (result.examples, result.pairs) == (47, 35)
    assert (result.other_class_first, result.other_class_second) == (12, 12)
    assert result.predictions.n == 47


def test_maps_of_other_sizes_are_met_by_their_sketches(tmp_path: Path) -> None:
    other = second(codes=fake_codes(1, shape=(5, 5)))
    result = joined(tmp_path, FIRST, other)
    assert result.maps == "sketches"
    cells = [each.codes.reshape(COUNT, -1)[:, :16] for each in (FIRST, other)]
    values = [stats.spearmanr(*pair)[0] for pair in zip(*cells, strict=True)]
    assert result.spearman.mean.value == pytest.approx(np.mean(values), abs=1e-2)


def test_maps_without_saliency_are_undefined(tmp_path: Path) -> None:
    codes = second().codes.copy()
    codes[:3] = 0
    result = joined(tmp_path, FIRST, second(codes=codes))
    assert (result.pairs, result.undefined, result.spearman.n) == (47, 3, 44)
    assert all(each.example_id not in ("id-000", "id-001", "id-002") for each in result.moved)


def test_without_labels_there_is_no_accuracy(tmp_path: Path) -> None:
    first = dataclasses.replace(FIRST, labels=None)
    result = joined(tmp_path, first, second(labels=None))
    assert result.predictions.accuracy_first is None
    assert result.predictions.accuracy_change.value is None
    assert (result.predictions.n, result.predictions.labelled) == (47, 0)
    assert [each.class_number for each in result.classes] == [0]


def test_other_labels_are_counted(tmp_path: Path) -> None:
    labels = LABELS.copy()
    labels[:2] = (labels[:2] + 1) % 3
    result = joined(tmp_path, FIRST, second(labels=labels, targets=LABELS))
    assert result.relabelled == 2
    assert result.predictions.accuracy_second == (labels == second().predicted).mean()


def test_signed_maps_are_ranked_by_their_values(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    signs = [random.choice([-1, 1], FIRST.codes.shape) for _ in range(2)]
    halves = [np.minimum(each, 127).astype(np.int8) for each in (FIRST.codes, second().codes)]
    codes = [(half * sign).astype(np.int8) for half, sign in zip(halves, signs, strict=True)]
    first = dataclasses.replace(FIRST, codes=codes[0], signed=True)
    other = second(codes=codes[1], signed=True)
    result = joined(tmp_path, first, other)
    assert result.spearman.mean.value == pytest.approx(
        np.mean(slow_spearman(first, other, ALL)), abs=1e-6
    )


def test_an_atlas_beside_its_like_has_not_moved(tmp_path: Path) -> None:
    found = compared(tmp_path, FIRST, FIRST)
    assert found.relation == "same"
    assert found.joined is not None
    assert found.joined.spearman.mean.value == 1.0
    assert found.joined.top_decile_overlap.q05 == pytest.approx(1.0, abs=1 / 128)
    assert found.joined.predictions.flips == 0
    assert AtlasComparison.from_json(found.to_json()) == found
