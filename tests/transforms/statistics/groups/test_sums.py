"""All sums of an atlas: parts add up to wholes, whatever the order, and limits hold."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.statistics.columns import statistic_names
from transforms.statistics.groups import rows as rows_module
from transforms.statistics.groups import slices as slices_module
from transforms.statistics.groups.accumulator import GroupAccumulator, _std_map
from transforms.statistics.groups.folds import folds_of
from transforms.statistics.groups.moments import WideSums
from transforms.statistics.groups.slices import LeftOutSlice
from transforms.statistics.groups.sums import AtlasSums, StatisticsTables
from transforms.statistics.peak_windows import autocorrelations, read_windows, windows_column
from transforms.store.tables import encode_table

GRID = (3, 4)
ROWS = 80
NAMES = statistic_names(with_boxes=True)
HOSTILE = ("A", "", " A", "null", "None", "a\x00b", "日本\n\t\"'", "💥", "x" * 5000, None)


def make_summary(seed: int = 5, slices: Sequence[str] = ("camera", "year")) -> pa.Table:
    """Rows of a block: two maps an example, some undefined, some examples without a label."""
    generator = np.random.default_rng(seed)
    undefined = generator.random(ROWS) < 0.15
    mass = generator.random((ROWS, *GRID)) ** 4
    mass /= mass.sum(axis=(1, 2), keepdims=True)
    sketch = np.rint(np.where(undefined[:, None, None], 0, mass) * 2**24).astype(np.int32)
    examples = np.arange(ROWS) // 2
    labels = generator.integers(0, 4, ROWS)[examples]
    columns: dict[str, Any] = {
        "example_id": [f"{seed}/{number}" for number in examples],
        "record": pa.array(examples, pa.int64()),
        "target": pa.array(generator.integers(0, 4, ROWS), pa.int32()),
        "label": pa.array(labels, pa.int32(), mask=examples % 7 == 0),
        "predicted": pa.array(generator.integers(0, 4, ROWS)[examples], pa.int32()),
        "score": pa.array(generator.normal(0, 1e4, ROWS), pa.float32()),
        "sketch": pa.FixedShapeTensorArray.from_numpy_ndarray(sketch),
    }
    for name in NAMES:
        values = generator.random(ROWS).astype(np.float32)
        kind = pa.bool_() if name == "pointing_hit" else pa.float32()
        given_values = values > 0.5 if name == "pointing_hit" else values
        columns[name] = pa.array(given_values, kind, mask=undefined)
    windows = generator.integers(-9000, 9000, (ROWS, 11, 11)).astype(np.int16)
    windows[undefined | (generator.random(ROWS) < 0.1)] = 0
    columns["peak_window"] = windows_column(windows)
    for number, name in enumerate(slices):
        chosen = generator.integers(0, len(HOSTILE) - number, ROWS // 2)[examples]
        columns[name] = pa.array([HOSTILE[choice] for choice in chosen], pa.string())
    return pa.table(columns)


def no_sums(slices: Sequence[str] = ("camera", "year")) -> AtlasSums:
    return AtlasSums(GRID, NAMES, slices)


def sum_of(tables: Iterable[pa.Table], slices: Sequence[str] = ("camera", "year")) -> AtlasSums:
    sums = no_sums(slices)
    for table in tables:
        sums.add(table)
    return sums


def repickle(sums: AtlasSums) -> AtlasSums:
    restored = pickle.loads(pickle.dumps(sums))  # noqa: S301 - our own bytes
    assert isinstance(restored, AtlasSums)
    return restored


def in_parts(sums: AtlasSums, count: int) -> AtlasSums:
    """Taken apart and put together again, the last part first."""
    merged = no_sums(tuple(name for name in sums._slices if name != "outcome"))
    for _, part in reversed(list(sums.parts(count))):
        merged.merge(repickle(part))
    return merged


def stored(tables: StatisticsTables) -> list[Any]:
    """The bytes of each table, and what is left out."""
    kept = (tables.classes, tables.slices, tables.folds, tables.confusion)
    return [*(encode_table(table).to_pybytes() for table in kept), tables.left_out]


def values_with(count: int) -> pa.Table:
    """A block whose rows go over so many values of `camera`."""
    table = make_summary()
    copies = -(-count // ROWS)
    joined = pa.concat_tables([table] * copies).slice(0, count)
    cameras = pa.array([f"camera {number}" for number in range(count)])
    return joined.set_column(joined.column_names.index("camera"), "camera", cameras)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(4)), st.integers(1, 5))
def test_no_byte_depends_on_order_merges_or_parts(order: Sequence[int], parts: int) -> None:
    blocks = [make_summary(seed) for seed in range(4)]
    expected = stored(sum_of(blocks).tables(["ant"]))
    shuffled = [blocks[number] for number in order]
    assert stored(sum_of(shuffled).tables(["ant"])) == expected
    merged = no_sums()
    for block in shuffled:
        merged.merge(repickle(no_sums()))
        merged.merge(repickle(sum_of([block])))
    assert stored(merged.tables(["ant"])) == expected
    assert stored(in_parts(merged, parts).tables(["ant"])) == expected


def test_long_blocks_are_added_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = stored(sum_of([make_summary()]).tables())
    monkeypatch.setattr("transforms.statistics.groups.sums.ROWS_AT_ONCE", 7)
    monkeypatch.setattr(rows_module, "ROWS_AT_ONCE", 7)
    assert stored(sum_of([make_summary()]).tables()) == expected


def test_the_values_of_a_slice_add_up_to_the_class_exactly() -> None:
    sums = sum_of([make_summary(1), make_summary(2)])
    classes = sums._classes()
    assert len(classes) == 4
    for name in ("outcome", "camera", "year"):
        totals: dict[int, GroupAccumulator] = {}
        for (number, _), group in sums._slices[name].groups.items():
            totals.setdefault(number, GroupAccumulator(GRID, NAMES)).merge(group)
        assert {number: pickle.dumps(one) for number, one in totals.items()} == {
            number: pickle.dumps(one) for number, one in classes.items()
        }
    tables = sums.tables()
    for name in ("outcome", "camera", "year"):
        of_slice = tables.slices.filter(pc.field("slice") == name)
        for column in ("n", "n_correct", "undefined_maps"):
            found = of_slice.group_by("class").aggregate([(column, "sum")]).sort_by("class")
            assert found[f"{column}_sum"].to_pylist() == tables.classes[column].to_pylist()
        histograms = np.array(of_slice["gini_histogram"].to_pylist()).sum(axis=0)
        whole = np.array(tables.classes["gini_histogram"].to_pylist()).sum(axis=0)
        np.testing.assert_array_equal(histograms, whole)


def test_the_rows_of_a_slice_are_those_of_its_examples_alone() -> None:
    summary = make_summary()
    tables = sum_of([summary]).tables(["ant", "bee"])
    columns = tables.classes.column_names
    assert tables.slices.column_names == ["slice", "value", *columns]
    of_cameras = tables.slices.filter(pc.field("slice") == "camera")
    assert set(of_cameras["value"].to_pylist()) == set(HOSTILE)
    for value in HOSTILE:
        wanted = pc.field("camera").is_null() if value is None else pc.field("camera") == value
        alone = sum_of([summary.filter(wanted)]).tables(["ant", "bee"]).classes
        is_it = pc.field("value").is_null() if value is None else pc.field("value") == value
        found = of_cameras.filter(is_it).select(columns)
        assert encode_table(found.combine_chunks()).equals(encode_table(alone))


def test_groups_come_in_order_and_null_comes_last() -> None:
    table = sum_of([make_summary()]).tables().slices
    keys = [
        (row["slice"], row["class"], row["value"] is None, row["value"] or "")
        for row in table.select(["slice", "class", "value"]).to_pylist()
    ]
    assert keys == sorted(keys)
    assert any(absent for _, _, absent, _ in keys)


def test_outcomes_are_right_wrong_or_unknown() -> None:
    summary = make_summary()
    table = sum_of([summary]).tables().slices.filter(pc.field("slice") == "outcome")
    right = pc.equal(summary["label"], summary["predicted"]).to_pylist()
    found = dict.fromkeys(("correct", "wrong", None), 0)
    for row in table.select(["value", "n", "n_correct"]).to_pylist():
        found[row["value"]] += row["n"]
        hits = {"correct": row["n"], "wrong": 0, None: None}[row["value"]]
        assert row["n_correct"] == hits
    assert found == {
        "correct": right.count(True),
        "wrong": right.count(False),
        None: right.count(None),
    }
    assert min(found.values()) > 0


def test_folds_add_up_to_the_class() -> None:
    summary = make_summary()
    sums = sum_of([summary])
    tables = sums.tables(["ant"])
    cells: dict[int, Any] = {}
    for (number, _), (_, total) in sums._folds._sums.items():
        cells[number] = cells.get(number, 0) + total
    for number, group in sums._classes().items():
        np.testing.assert_array_equal(cells[number], group._sketch_sums)
    maps = tables.folds.group_by("class").aggregate([("n", "sum")]).sort_by("class")
    expected = pc.subtract(tables.classes["n"], tables.classes["undefined_maps"])
    assert maps["n_sum"].to_pylist() == expected.to_pylist()
    assert tables.folds["class_name"].to_pylist()[0] == "ant"


def test_a_fold_is_the_mean_of_its_examples_maps() -> None:
    summary = make_summary()
    folds = folds_of(summary["example_id"].to_pylist())
    table = sum_of([summary]).tables().folds
    sketches = summary["sketch"].combine_chunks().to_numpy_ndarray() / 2**24
    defined = np.array([value is not None for value in summary["peak_x"].to_pylist()])
    maps = table["mean_map"].combine_chunks().to_numpy_ndarray()
    keys = table.select(["class", "fold", "n"]).to_pylist()
    assert len(keys) > 20
    for row, found in zip(keys, maps, strict=True):
        chosen = defined & (summary["target"].to_numpy() == row["class"]) & (folds == row["fold"])
        assert row["n"] == chosen.sum() > 0
        np.testing.assert_allclose(found, sketches[chosen].mean(axis=0), rtol=1e-6)


def test_the_windows_of_a_fold_are_those_of_its_examples() -> None:
    summary = make_summary()
    folds = folds_of(summary["example_id"].to_pylist())
    windows = read_windows(summary["peak_window"])
    assert 0 < summary["peak_window"].null_count < ROWS
    table = sum_of([summary]).tables().folds
    totals = table["window_sum"].combine_chunks().to_numpy_ndarray()
    shapes = table["autocorrelation_sum"].combine_chunks().to_numpy_ndarray()
    names = ["class", "fold", "windows", "window_squares", "autocorrelation_squares"]
    keys = table.select(names).to_pylist()
    for row, total, shape in zip(keys, totals, shapes, strict=True):
        chosen = (summary["target"].to_numpy() == row["class"]) & (folds == row["fold"])
        assert row["windows"] == windows[chosen].any(axis=(1, 2)).sum()
        assert row["window_squares"] == (windows[chosen] ** 2).sum()
        np.testing.assert_array_equal(total, windows[chosen].sum(axis=0))
        own = autocorrelations(windows[chosen])
        assert row["autocorrelation_squares"] == (own**2).sum()
        np.testing.assert_array_equal(shape, own.sum(axis=0))
    assert sum(row["windows"] for row in keys) == ROWS - summary["peak_window"].null_count
    without = sum_of([summary.drop_columns(["peak_window"])]).tables().folds
    assert without["windows"].to_pylist() == [0] * without.num_rows


def test_folds_are_crc_32c_of_ids_modulo_16() -> None:
    def crc_32c(data: bytes) -> int:
        crc = 0xFFFFFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        return crc ^ 0xFFFFFFFF

    assert crc_32c(b"123456789") == 0xE3069283  # the check value of CRC catalogues
    ids = ["", "123456789", "café", "\udcff", "train-0-b7ad0922ed814a2b:17"]
    expected = [crc_32c(each.encode(errors="surrogatepass")) % 16 for each in ids]
    assert folds_of(ids).tolist() == expected


def test_confusion_counts_each_example_once() -> None:
    summary = make_summary()
    table = sum_of([summary, make_summary(6)]).tables().confusion
    assert sum(table["n"].to_pylist()) == 2 * ROWS // 2
    counts: dict[tuple[int | None, int], int] = {}
    for block in (summary, make_summary(6)):
        for row in block.select(["label", "predicted"]).to_pylist()[::2]:
            pair = row["label"], row["predicted"]
            counts[pair] = counts.get(pair, 0) + 1
    found = {(row["label"], row["predicted"]): row["n"] for row in table.to_pylist()}
    assert found == counts
    labels = table["label"].to_pylist()
    assert labels == sorted(labels, key=lambda label: (label is None, label or 0))


def test_without_predictions_and_labels_examples_are_still_counted() -> None:
    summary = make_summary()
    for name in ("label", "predicted"):
        column = summary.column_names.index(name)
        summary = summary.set_column(column, name, pa.nulls(ROWS, pa.int32()))
    tables = sum_of([summary]).tables()
    assert tables.confusion.to_pylist() == [{"label": None, "predicted": None, "n": ROWS // 2}]
    outcomes = tables.slices.filter(pc.field("slice") == "outcome")
    assert outcomes["value"].null_count == outcomes.num_rows == 4


def test_a_slice_of_1001_values_is_left_out_wherever_they_lie() -> None:
    blocks = [values_with(1001).slice(start, 91) for start in range(0, 1001, 91)]
    expected = [LeftOutSlice("camera", "it has more than 1,000 values")]
    results = []
    for order in (blocks, blocks[::-1], blocks[5:] + blocks[:5]):
        tables = sum_of(order).tables()
        assert list(tables.left_out) == expected
        assert "camera" not in tables.slices["slice"].to_pylist()
        assert "year" in tables.slices["slice"].to_pylist()
        results.append(stored(tables))
        merged = no_sums()
        for block in order:
            merged.merge(repickle(sum_of([block])))
        assert merged._slices["camera"].groups == {}  # what is too much takes no memory
        results += [stored(merged.tables()), stored(in_parts(merged, 3).tables())]
    assert all(result == results[0] for result in results)
    assert sum_of([values_with(1000)]).tables().left_out == ()


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_above_the_limit_of_groups_the_slice_with_most_values_goes(
    monkeypatch: pytest.MonkeyPatch, order: Sequence[int]
) -> None:
    blocks = [make_summary(seed) for seed in range(3)]
    groups = {name: one.groups for name, one in sum_of(blocks)._slices.items()}
    few = len(groups["outcome"]) + len(groups["year"])
    monkeypatch.setattr(slices_module, "MOST_GROUPS", few)
    tables = sum_of(blocks[number] for number in order).tables()
    why = f"with its 10 values there are more than {few} groups in all"
    assert tables.left_out == (LeftOutSlice("camera", why),)
    assert set(tables.slices["slice"].to_pylist()) == {"outcome", "year"}
    # The outcomes' sums are the classes' too: they are never forgotten.
    monkeypatch.setattr(slices_module, "MOST_GROUPS", 1)
    tables = in_parts(sum_of(blocks[number] for number in order), 2).tables()
    assert [left.name for left in tables.left_out] == ["camera", "outcome", "year"]
    assert (tables.slices.num_rows, tables.classes.num_rows) == (0, 4)


def test_an_empty_atlas_has_empty_tables() -> None:
    tables = no_sums().tables()
    rows = (tables.classes, tables.slices, tables.folds, tables.confusion)
    assert [table.num_rows for table in rows] == [0, 0, 0, 0]
    empty = sum_of([make_summary().slice(0, 0)]).tables()
    assert stored(empty) == stored(tables)


def test_histograms_say_where_their_edges_are() -> None:
    field = no_sums().tables().slices.schema.field("gini_histogram")
    assert field.metadata == {b"edges": b'{"count": 257, "range": [0.0, 1.0]}'}


def test_deviations_of_many_maps_are_those_of_few() -> None:
    sketches = np.random.default_rng(0).integers(0, 2**20, (9, 12))
    sums, squares = sketches.sum(axis=0), (sketches**2).sum(axis=0)
    expected = (sketches.std(axis=0) / 2**24).astype(np.float32).reshape(GRID)
    for bits in (0, 9, 18):  # each map so many times: beyond 64 bits at last
        wide = WideSums.zero(12)
        wide.add(squares << bits)
        found = _std_map(9 << bits, sums << bits, wide, GRID)
        np.testing.assert_array_equal(found, expected)
