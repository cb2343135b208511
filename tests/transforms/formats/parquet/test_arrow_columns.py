from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from transforms.formats.parquet.arrow_columns import UnusableTypeError, to_column


def lists(array: pa.Array) -> tuple[list[list[Any]], list[int]]:
    column, with_nulls = to_column(array)
    return [column.of(row).tolist() for row in range(len(array))], with_nulls


def test_slices_start_where_they_start() -> None:
    array = pa.array([[1], [2, 3], None, [4, 5, 6]])
    assert lists(array[1:]) == ([[2, 3], [], [4, 5, 6]], [])
    fixed = pa.array([[1, 2], None, [3, 4], [5, 6]], pa.list_(pa.int32(), 2))
    assert lists(fixed[1:]) == ([[], [3, 4], [5, 6]], [])


def test_a_null_list_that_spans_values_is_empty() -> None:
    values = pa.array([1.0, 2.0, 3.0, 4.0])
    mask = pa.array([True, False])
    array = pa.ListArray.from_arrays(pa.array([0, 3, 4], pa.int32()), values, mask=mask)
    assert lists(array) == ([[], [4.0]], [])


def test_rows_with_nulls_are_told_from_null_rows() -> None:
    assert lists(pa.array([[1, None], None, [2], [None]])) == ([[1], [], [2], []], [0, 3])
    assert lists(pa.array([[[1], None], [[None, 2]], None])) == ([[1], [2], []], [1])
    assert lists(pa.array([1, None])) == ([[1], []], [])


def test_integers_stay_exact_beside_nulls() -> None:
    column, _ = to_column(pa.array([2**62 + 1, None], pa.int64()))
    assert column.values.dtype == np.int64
    assert column.values.tolist() == [2**62 + 1]


def test_text_that_is_not_utf8_survives_as_bytes() -> None:
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe")]
    )
    assert lists(text) == ([[b"\xff\xfe"]], [])


def test_no_rows() -> None:
    for kind in (pa.binary(), pa.list_(pa.float32()), pa.list_(pa.float32(), 3), pa.null()):
        assert lists(pa.array([], kind)) == ([], [])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (pa.array([{"a": 1, "b": 2}]), r"is a struct; name one of its fields \('a', 'b'\)"),
        (pa.array([[{"a": 1}]]), r"is a struct"),
        (pa.array([decimal.Decimal("1.5")]), r"has type decimal128\(2, 1\)"),
        (pa.array([0], pa.date32()), r"has type date32\[day\]"),
    ],
)
def test_unusable_types(array: pa.Array, message: str) -> None:
    with pytest.raises(UnusableTypeError, match=message):
        to_column(array)
