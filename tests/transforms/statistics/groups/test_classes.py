"""Class statistics: the monoid's laws, and its results against float64 NumPy."""

from __future__ import annotations

import functools
import io
import itertools
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.statistics.columns import statistic_names
from transforms.statistics.groups import rows as rows_module
from transforms.statistics.groups.accumulator import PERCENTS, GroupAccumulator
from transforms.statistics.groups.classes import classes_schema, classes_table
from transforms.statistics.groups.histograms import BINS
from transforms.statistics.groups.rows import rows_by_class, stored_rows

GRID = (3, 4)
ROWS = 60

NAMES = statistic_names(False)


def make_summary(with_boxes: bool, labelled: bool = True, classes: int = 4) -> pa.Table:
    """Stored columns of random rows; some maps undefined, all of the last class's."""
    generator = np.random.default_rng(5)
    target = generator.integers(0, classes, ROWS)
    undefined = (generator.random(ROWS) < 0.1) | (target == classes - 1)
    label = generator.integers(0, classes, ROWS)
    predicted = np.where(generator.random(ROWS) < 0.5, label, (label + 1) % classes)
    mass = generator.random((ROWS, *GRID)) ** 4
    mass /= mass.sum(axis=(1, 2), keepdims=True)
    sketch = np.rint(np.where(undefined[:, None, None], 0, mass) * 2**24).astype(np.int32)
    columns: dict[str, pa.Array] = {
        "target": pa.array(target, pa.int32()),
        "label": pa.array(label if labelled else [None] * ROWS, pa.int32()),
        "predicted": pa.array(predicted, pa.int32()),
        "score": pa.array(generator.normal(0, 1e4, ROWS), pa.float32()),
        "sketch": pa.FixedShapeTensorArray.from_numpy_ndarray(sketch),
    }
    for name in statistic_names(with_boxes):
        values = generator.random(ROWS).astype(np.float32)
        values[:2] = 0, 1
        missing = undefined
        if name in ("box_energy", "pointing_hit"):
            missing = undefined | (np.arange(ROWS) % 3 == 0)
        if name == "pointing_hit":
            columns[name] = pa.array(values > 0.4, pa.bool_(), mask=missing)
        else:
            columns[name] = pa.array(values, pa.float32(), mask=missing)
    return pa.table(columns)


@functools.cache
def summary_of(with_boxes: bool) -> pa.Table:
    return make_summary(with_boxes)


def accumulate(parts: Iterable[pa.Table], with_boxes: bool) -> dict[int, GroupAccumulator]:
    """Adds part after part."""
    sums: dict[int, GroupAccumulator] = {}
    for part in parts:
        for number, rows in rows_by_class(part, statistic_names(with_boxes)):
            sums.setdefault(number, GroupAccumulator(GRID, statistic_names(with_boxes))).add(rows)
    return sums


def merge_all(
    parts: Iterable[pa.Table],
    with_boxes: bool,
    compact: Callable[[GroupAccumulator], GroupAccumulator] = lambda sums: sums,
) -> dict[int, GroupAccumulator]:
    """Merges the sums of parts, each with an empty one before and after it."""
    merged: dict[int, GroupAccumulator] = {}
    for part in parts:
        for number, sums in accumulate([part], with_boxes).items():
            total = merged.setdefault(number, GroupAccumulator(GRID, statistic_names(with_boxes)))
            total.merge(compact(GroupAccumulator(GRID, statistic_names(with_boxes))))
            total.merge(compact(sums))
            merged[number] = compact(total)
    return merged


def repickle(sums: GroupAccumulator) -> GroupAccumulator:
    restored = pickle.loads(pickle.dumps(sums))  # noqa: S301 - our own bytes
    assert isinstance(restored, GroupAccumulator)
    return restored


def frozen(sums: dict[int, GroupAccumulator]) -> list[tuple[int, bytes]]:
    return sorted((number, pickle.dumps(one)) for number, one in sums.items())


def table_of(sums: dict[int, GroupAccumulator], with_boxes: bool) -> pa.Table:
    rows = [(number, one.finish()) for number, one in sums.items()]
    return classes_table(rows, GRID, statistic_names(with_boxes), ["ant", "bee"])


def defined(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return np.array([float(value) for value in column.to_pylist() if value is not None])


def test_sizes_without_bounds_have_exact_moments_and_no_histogram() -> None:
    summary = summary_of(False)
    sizes = np.random.default_rng(2).integers(1, 70_000, ROWS)
    sizes[:2] = 1, 2**31 - 1
    summary = summary.append_column("input_height", pa.array(sizes, pa.int32()))
    names = (*statistic_names(False), "input_height")
    whole, parts = GroupAccumulator(GRID, names), GroupAccumulator(GRID, names)
    targets = summary["target"].to_numpy()
    for piece in (summary, summary.slice(0, 7), summary.slice(7, 0), summary.slice(7)):
        for rows in stored_rows(piece, names):
            for number, found in rows.grouped(rows.targets):
                if number == 1:
                    (whole if piece is summary else parts).add(found)
    assert pickle.dumps(repickle(parts)) == pickle.dumps(whole)
    row, chosen = whole.finish(), sizes[targets == 1].astype(np.float64)
    assert row["input_height_mean"] == pytest.approx(chosen.mean(), rel=1e-15)
    assert row["input_height_std"] == pytest.approx(chosen.std(), rel=1e-12)
    assert row["input_height_skewness"] == pytest.approx(skew(chosen), rel=1e-9)
    assert row["entropy_mean"] is not None
    columns = classes_schema(GRID, names).names
    assert [name for name in columns if name.startswith("input_height")] == [
        "input_height_mean",
        "input_height_std",
        "input_height_skewness",
    ]
    wrong = summary.set_column(
        summary.column_names.index("input_height"), "input_height", pa.array(-sizes, pa.int32())
    )
    with pytest.raises(ValueError, match="input_height must be at least 0, not -2147483647"):
        next(stored_rows(wrong, names))


@pytest.mark.parametrize("with_boxes", [False, True])
def test_statistics_against_float64(with_boxes: bool) -> None:
    summary = summary_of(with_boxes)
    table = table_of(accumulate([summary], with_boxes), with_boxes)
    assert table["class"].to_pylist() == [0, 1, 2, 3]
    assert table["class_name"].to_pylist() == ["ant", "bee", None, None]
    mean_maps = table["mean_map"].combine_chunks().to_numpy_ndarray()
    std_maps = table["std_map"].combine_chunks().to_numpy_ndarray()
    for number, found in enumerate(table.drop(["mean_map", "std_map"]).to_pylist()):
        rows = summary.filter(pa.compute.equal(summary["target"], number))
        hits = pa.compute.equal(rows["label"], rows["predicted"])
        assert found["n"] == rows.num_rows
        assert found["n_correct"] == pa.compute.sum(hits).as_py()
        assert found["undefined_maps"] == rows["entropy"].null_count
        scores = defined(rows["score"])
        assert found["score_mean"] == pytest.approx(scores.mean(), rel=1e-12)
        assert found["score_std"] == pytest.approx(scores.std(), rel=1e-12)
        assert found["score_skewness"] == pytest.approx(skew(scores), rel=1e-9)
        for name in statistic_names(with_boxes):
            assert_moments(name, defined(rows[name]), found)
        sketches = rows["sketch"].combine_chunks().to_numpy_ndarray() / 2**24
        sketches = sketches[sketches.any(axis=(1, 2))]
        if len(sketches):
            np.testing.assert_allclose(mean_maps[number], sketches.mean(axis=0), rtol=1e-6)
            np.testing.assert_allclose(std_maps[number], sketches.std(axis=0), rtol=1e-5)
        else:
            assert np.isnan(mean_maps[number]).all()
            assert np.isnan(std_maps[number]).all()


def assert_moments(name: str, values: npt.NDArray[np.float64], found: dict[str, Any]) -> None:
    if not len(values):
        columns = {column: found[column] for column in found if column.startswith(name)}
        assert columns.pop(f"{name}_histogram", [0] * BINS) == [0] * BINS
        assert list(columns.values()) == [None] * len(columns)
        return
    assert found[f"{name}_mean"] == pytest.approx(values.mean(), abs=1e-9)
    if name == "pointing_hit":
        assert f"{name}_std" not in found
        return
    assert found[f"{name}_std"] == pytest.approx(values.std(), abs=1e-9)
    assert found[f"{name}_skewness"] == pytest.approx(skew(values), abs=1e-6)
    histogram, _ = np.histogram(values, np.linspace(0, 1, BINS + 1))
    assert found[f"{name}_histogram"] == histogram.tolist()
    for percent in PERCENTS:
        exact = np.quantile(values, percent / 100, method="inverted_cdf")
        assert found[f"{name}_q{percent:02d}"] == pytest.approx(exact, abs=1 / BINS)


def skew(values: npt.NDArray[np.float64]) -> float:
    """Of the population: its third central moment in units of its deviation."""
    centred = values - values.mean()
    return float((centred**3).mean() / values.std() ** 3)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(ROWS)), st.sets(st.integers(0, ROWS), max_size=6), st.booleans())
def test_order_and_splits_change_no_byte(
    order: Sequence[int], cuts: set[int], with_boxes: bool
) -> None:
    summary = summary_of(with_boxes)
    shuffled = summary.take(pa.array(order))
    edges = [0, *sorted(cuts), ROWS]
    parts = [shuffled.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    expected = frozen(accumulate([summary], with_boxes))
    assert frozen(accumulate(parts, with_boxes)) == expected
    assert frozen(merge_all(parts, with_boxes)) == expected
    assert frozen(merge_all(reversed(parts), with_boxes, repickle)) == expected
    one_by_one = (shuffled.slice(row, 1) for row in range(ROWS))
    assert frozen(accumulate(one_by_one, with_boxes)) == expected


def test_tables_of_every_grouping_are_the_same_bytes() -> None:
    summary = summary_of(True)
    halves = [summary.slice(37), summary.slice(0, 37)]

    def stored(sums: dict[int, GroupAccumulator]) -> bytes:
        file = io.BytesIO()
        pq.write_table(table_of(sums, True), file)
        return file.getvalue()

    expected = stored(accumulate([summary], True))
    assert stored(merge_all(halves, True, repickle)) == expected
    assert stored(accumulate(halves, True)) == expected


def test_long_tables_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = summary_of(True)
    expected = frozen(accumulate([summary], True))
    monkeypatch.setattr(rows_module, "ROWS_AT_ONCE", 7)
    assert len(list(rows_by_class(summary, statistic_names(True)))) > 4
    assert frozen(accumulate([summary], True)) == expected


def test_classes_come_in_order_with_their_rows() -> None:
    summary = summary_of(False)
    targets = summary["target"].to_numpy()
    found = [(number, rows.n) for number, rows in rows_by_class(summary, NAMES)]
    assert found == [(number, int((targets == number).sum())) for number in range(4)]
    assert list(rows_by_class(summary.slice(0, 0), NAMES)) == []


def test_tables_in_chunks_give_the_same_sums() -> None:
    summary = summary_of(True)
    chunked = pa.concat_tables([summary.slice(0, 11), summary.slice(11)])
    assert frozen(accumulate([chunked], True)) == frozen(accumulate([summary], True))


def test_without_labels_nothing_is_correct_or_wrong() -> None:
    sums = accumulate([make_summary(False, labelled=False)], False)
    assert table_of(sums, False)["n_correct"].null_count == 4


def test_nan_statistics_are_undefined_like_nulls() -> None:
    summary = summary_of(False)
    column = summary.column_names.index("entropy")
    filled = summary.set_column(column, "entropy", summary["entropy"].fill_null(np.nan))
    assert frozen(accumulate([filled], False)) == frozen(accumulate([summary], False))


def test_sums_of_no_rows_are_undefined() -> None:
    row = GroupAccumulator(GRID, statistic_names(True)).finish()
    maps = [row[name] for name in ("mean_map", "std_map")]
    assert np.isnan(maps).all()
    assert (row["n"], row["n_correct"], row["undefined_maps"]) == (0, None, 0)
    assert all(row[f"{name}_mean"] is None for name in (*statistic_names(True), "score"))


def test_the_table_survives_parquet() -> None:
    table = table_of(accumulate([summary_of(True)], True), True)
    file = io.BytesIO()
    pq.write_table(table, file)
    restored = pq.read_table(io.BytesIO(file.getvalue()))
    assert restored.schema == classes_schema(GRID, statistic_names(True))
    scalars = [name for name in table.column_names if not name.endswith("_map")]
    assert restored.select(scalars).equals(table.select(scalars))
    for name in ("mean_map", "std_map"):
        np.testing.assert_array_equal(
            restored[name].combine_chunks().to_numpy_ndarray(),
            table[name].combine_chunks().to_numpy_ndarray(),
        )


def test_the_schema_lists_the_documented_columns() -> None:
    names = classes_schema(GRID, statistic_names(False)).names
    assert names[:5] == ["class", "class_name", "n", "n_correct", "undefined_maps"]
    assert names[5:14] == [
        *("entropy_mean", "entropy_std", "entropy_q05", "entropy_q25", "entropy_q50"),
        *("entropy_q75", "entropy_q95", "entropy_skewness", "entropy_histogram"),
    ]
    assert names[-5:] == ["score_mean", "score_std", "score_skewness", "mean_map", "std_map"]
    assert "pointing_hit_mean" not in names
    assert "pointing_hit_mean" in classes_schema(GRID, statistic_names(True)).names
    assert classes_table([], GRID, statistic_names(False)).schema == classes_schema(
        GRID, statistic_names(False)
    )


def test_one_dimensional_sketches() -> None:
    summary = summary_of(False)
    column = summary.column_names.index("sketch")
    flat = summary["sketch"].combine_chunks().to_numpy_ndarray().reshape(ROWS, -1)
    summary = summary.set_column(
        column, "sketch", pa.FixedShapeTensorArray.from_numpy_ndarray(flat)
    )
    sums = GroupAccumulator((12,), statistic_names(False))
    for _, rows in rows_by_class(summary, NAMES):
        sums.add(rows)
    assert sums.finish()["mean_map"].shape == (12,)


def test_mismatches_are_named() -> None:
    sums = GroupAccumulator((2, 2), statistic_names(False))
    (_, rows), *_ = rows_by_class(summary_of(False), NAMES)
    with pytest.raises(ValueError, match="12 sketch cells and 10 statistics, the sums 4 and 10"):
        sums.add(rows)
    with pytest.raises(ValueError, match=r"\(2, 3\) and 12 stati.* into \(2, 2\) and 10"):
        sums.merge(GroupAccumulator((2, 3), statistic_names(True)))


def test_values_out_of_range_are_named() -> None:
    summary = summary_of(False)
    column = summary.column_names.index("gini")
    wrong = pa.array([1.5] * ROWS, pa.float32())
    with pytest.raises(ValueError, match=r"gini must be in 0..1, not 1.5"):
        list(rows_by_class(summary.set_column(column, "gini", wrong), NAMES))
