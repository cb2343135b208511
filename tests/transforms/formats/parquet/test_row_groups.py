from __future__ import annotations

import io
from collections.abc import Container
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.errors import DataFault
from transforms.extents import ShardEnd
from transforms.formats.columns import Column, Records
from transforms.formats.features import Features
from transforms.formats.parquet import row_groups as parquet
from transforms.formats.parquet.bounds import DecodingBound
from transforms.formats.parts import BlockBudget

BLOCK = 4


def written(columns: dict[str, Any], row_group_size: int = 3, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=row_group_size, **options)
    return sink.getvalue()


def read(
    content: bytes | BinaryIO,
    features: Features,
    skip: Container[int] = (),
    max_record_bytes: int = 1 << 20,
    max_block_bytes: int = 1 << 30,
) -> list[tuple[int, Records, ShardEnd | None]]:
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    budget = BlockBudget("/data/a.parquet", BLOCK, max_block_bytes)
    return list(parquet.read_records(file, features, BLOCK, skip, max_record_bytes, budget))


def lists(
    blocks: list[tuple[int, Records, ShardEnd | None]], role: str = "input"
) -> list[list[Any]]:
    return [
        records.columns[role].of(row).tolist()
        for _, records, _ in blocks
        for row in range(records.count)
    ]


def errors(blocks: list[tuple[int, Records, ShardEnd | None]]) -> dict[int, str]:
    return {
        records.first + row: fault.error
        for _, records, _ in blocks
        for row, fault in sorted(records.faults.items())
    }


def damaged(content: bytes, group: int, column: int) -> bytes:
    """Overwrites the data of one column of one row group, header and all."""
    chunk = pq.read_metadata(io.BytesIO(content)).row_group(group).column(column)
    start = int(chunk.dictionary_page_offset or chunk.data_page_offset)
    noise = b"\xff" * int(chunk.total_compressed_size)
    return content[:start] + noise + content[start + len(noise) :]


class CountingFile(io.BytesIO):
    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_blocks_across_row_groups() -> None:
    content = written({"x": [b"%d" % i for i in range(10)], "y": list(range(10))})
    blocks = read(content, Features("x", label="y"))
    assert [(number, records.first, records.count, last) for number, records, last in blocks] == [
        (0, 0, 4, None),
        (1, 4, 4, None),
        (2, 8, 2, ShardEnd(10)),
    ]
    assert lists(blocks) == [[b"%d" % i] for i in range(10)]
    assert lists(blocks, "label") == [[i] for i in range(10)]


def test_batches_smaller_than_blocks_and_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 3)
    content = written({"x": [b"%d" % i for i in range(21)]}, row_group_size=8)
    blocks = read(content, Features("x"))
    assert [records.count for _, records, _ in blocks] == [4, 4, 4, 4, 4, 1]
    assert lists(blocks) == [[b"%d" % i] for i in range(21)]


NESTED: list[tuple[pa.Array, list[list[Any]]]] = [
    (pa.array([[1, 2], [3]], pa.list_(pa.uint8())), [[1, 2], [3]]),
    (pa.array([[1, 2], [3]], pa.large_list(pa.float64())), [[1, 2], [3]]),
    (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2)), [[1, 2], [], [3, 4]]),
    (pa.array([[[1, 2], [3, 4]], [], [[5], [6, 7, 8]]]), [[1, 2, 3, 4], [], [5, 6, 7, 8]]),
    (
        pa.FixedShapeTensorArray.from_numpy_ndarray(
            np.arange(12, dtype=np.float32).reshape(2, 2, 3)
        ),
        [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]],
    ),
    (pa.array([5, None, 7], pa.int16()), [[5], [], [7]]),
    (pa.array([True, None]), [[True], []]),
    (pa.array([1.5, 2.5], pa.float16()), [[1.5], [2.5]]),
    (pa.array(["ä", None]), [["ä".encode()], []]),
    (pa.array(["a", "b", None, "a"]).dictionary_encode(), [[b"a"], [b"b"], [], [b"a"]]),
    (pa.array([7, 8, None, 7]).dictionary_encode(), [[7], [8], [], [7]]),
    (pa.array([b"ab", b"cd"], pa.binary(2)), [[b"ab"], [b"cd"]]),
    (pa.array([b"ab", None], pa.large_binary()), [[b"ab"], []]),
    (pa.array([[b"a"], [b"b", b"c"]]), [[b"a"], [b"b", b"c"]]),
    (pa.nulls(2), [[], []]),
]


@pytest.mark.parametrize(
    ("array", "expected"), NESTED, ids=lambda value: str(getattr(value, "type", ""))
)
def test_types_of_columns(array: pa.Array, expected: list[list[Any]]) -> None:
    blocks = read(written({"x": array}, row_group_size=2), Features("x"))
    assert lists(blocks) == expected
    assert errors(blocks) == {}


@pytest.mark.parametrize(
    ("array", "expected"), NESTED, ids=lambda value: str(getattr(value, "type", ""))
)
def test_types_of_columns_whose_batches_are_small(
    array: pa.Array, expected: list[list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    one_row = DecodingBound(batch_rows=1, batch_bytes=1 << 20)
    monkeypatch.setattr(parquet, "bound_decoding", lambda *_: one_row)
    blocks = read(written({"x": array}, row_group_size=2), Features("x"))
    assert lists(blocks) == expected
    assert errors(blocks) == {}


def test_numbers_keep_their_type() -> None:
    (block,) = read(written({"x": pa.array([[1], [2]], pa.list_(pa.uint8()))}), Features("x"))
    assert block[1].columns["input"].values.dtype == np.uint8


def test_struct_fields_as_hugging_face_stores_images() -> None:
    images = [{"bytes": b"a", "path": "a.png"}, None, {"bytes": None, "path": "c.png"}]
    content = written({"image": images, "label": [1, 2, 3]})
    blocks = read(content, Features("image.bytes", id="image.path", label="label"))
    assert lists(blocks) == [[b"a"], [], []]
    assert lists(blocks, "id") == [[b"a.png"], [], [b"c.png"]]
    _, records, _ = blocks[0]
    assert list(records.available(0)) == ["image.bytes", "image.path", "label"]


def test_deep_structs_and_boxes_as_lists_of_four() -> None:
    objects = [{"at": {"bbox": [[0, 0, 1, 1], [0, 0, 0.5, 0.5]]}}, {"at": {"bbox": []}}]
    content = written({"image": [b"a", b"b"], "objects": objects})
    blocks = read(content, Features("image", boxes="objects.at.bbox"))
    assert lists(blocks, "boxes") == [[0, 0, 1, 1, 0, 0, 0.5, 0.5], []]


def test_a_name_with_a_dot_is_found_before_a_path() -> None:
    content = written({"a.b": [b"column"], "a": [{"b": b"field"}]})
    assert lists(read(content, Features("a.b"))) == [[b"column"]]


def test_a_struct_where_a_field_is_meant() -> None:
    content = written({"image": [{"bytes": b"a", "path": "p"}]})
    blocks = read(content, Features("image"))
    assert errors(blocks) == {0: "WrongFeatureKind"}
    assert str(blocks[0][1].faults[0]) == (
        "feature 'image' (source.features.input) is a struct; "
        "name one of its fields ('bytes', 'path') after a dot"
    )


def test_types_that_are_neither_bytes_nor_numbers() -> None:
    content = written({"x": pa.array([0], pa.timestamp("us"))})
    blocks = read(content, Features("x"))
    assert errors(blocks) == {0: "WrongFeatureKind"}
    assert "has type timestamp[us]; store bytes, text or numbers" in str(blocks[0][1].faults[0])


def test_tensors_in_another_than_row_order_are_refused() -> None:
    storage = pa.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], pa.list_(pa.float32(), 6))
    for permutation, expected in ([0, 1], {}), ([1, 0], {0: "WrongFeatureKind"}):
        kind = pa.fixed_shape_tensor(pa.float32(), [2, 3], permutation=permutation)
        content = written({"x": pa.ExtensionArray.from_storage(kind, storage)})
        assert errors(read(content, Features("x"))) == expected


def test_a_null_tensor_costs_itself_only() -> None:
    values = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2))
    tensors = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [2]), values)
    for array in (values, tensors):
        blocks = read(written({"x": array, "y": [1, 2, 3]}), Features("x", label="y"))
        assert lists(blocks) == [[1, 2], [], [3, 4]]
        assert lists(blocks, "label") == [[1], [2], [3]]
        assert errors(blocks) == {}


def test_nulls_among_the_values_are_faults() -> None:
    content = written({"x": [[1.0, 2.0], [1.0, None], None, [3.0, 4.0]]})
    blocks = read(content, Features("x"))
    assert errors(blocks) == {1: "NullValue"}
    assert lists(blocks)[2:] == [[], [3.0, 4.0]]


def test_a_column_that_is_not_there_has_no_values_and_nothing_is_read() -> None:
    content = written({"x": [b"%d" % i for i in range(5)]})
    blocks = read(content, Features("z", label="x.y"))
    assert lists(blocks) == lists(blocks, "label") == [[]] * 5
    assert errors(blocks) == {}
    assert list(blocks[0][1].available(0)) == ["x"]


@pytest.mark.parametrize("role", ["input", "label", "slices"])
def test_a_name_that_two_columns_have_is_refused(role: str) -> None:
    names = {"input": "a", "label": "b", "slices": "c"}
    columns = [pa.array([b"1"]), pa.array([2]), pa.array(["3"])]
    sink = io.BytesIO()
    twice = pa.Table.from_arrays([*columns, pa.array([4])], names=[*names.values(), names[role]])
    pq.write_table(twice, sink)
    ((_, records, _),) = read(sink.getvalue(), Features("a", label="b", slices=("c",)))
    (fault,) = records.faults.values()
    assert fault.error == "AmbiguousFeature"
    assert f"feature '{names[role]}'" in str(fault)
    assert "is the name of several columns; rename all but one" in str(fault)


@pytest.mark.parametrize("group", range(4))
def test_an_unreadable_row_group_costs_its_records_only(group: int) -> None:
    content = written({"x": [b"%d" % i for i in range(10)], "y": list(range(10))})
    blocks = read(damaged(content, group, column=1), Features("x", label="y"))
    lost = [i for i in range(10) if i // 3 == group]
    assert errors(blocks) == dict.fromkeys(lost, "UnreadableRowGroup")
    assert lists(blocks) == [[] if i in lost else [b"%d" % i] for i in range(10)]
    assert [number for number, _, _ in blocks] == [0, 1, 2]
    assert f"row group {group} cannot be read from its row 0 on" in str(
        next(fault for _, records, _ in blocks for fault in records.faults.values())
    )


def test_damage_in_a_column_that_is_not_needed_costs_nothing() -> None:
    content = written({"x": [b"%d" % i for i in range(10)], "y": list(range(10))})
    assert errors(read(damaged(content, 1, column=1), Features("x"))) == {}


def test_page_checksums_are_verified_where_the_file_has_them() -> None:
    values = np.arange(1000, dtype=np.int64)
    options: dict[str, Any] = {"use_dictionary": False, "compression": "none"}
    for checksums in (False, True):
        content = bytearray(written({"x": values}, 1000, write_page_checksum=checksums, **options))
        position = content.index(values[500:502].tobytes())
        content[position] ^= 1
        blocks = read(bytes(content), Features("x"))
        assert set(errors(blocks).values()) == ({"UnreadableRowGroup"} if checksums else set())


@pytest.mark.parametrize("end", [0, 3, 50, -1])
def test_a_file_without_a_footer_is_a_fault(end: int) -> None:
    content = written({"x": [b"a"]})[:end]
    with pytest.raises(DataFault) as caught:
        read(content, Features("x"))
    assert (caught.value.stage, caught.value.error) == ("read", "UnreadableFile")
    assert "\n" not in str(caught.value)


def test_row_groups_in_skipped_blocks_are_not_read() -> None:
    noise = np.random.default_rng(0).bytes(1 << 20)
    content = written({"x": [noise] * 4 + [b"small"] * 4}, 4, use_dictionary=False)
    file = CountingFile(content)
    ((number, records, last),) = read(file, Features("x"), {0})
    assert (number, records.first, last) == (1, 4, ShardEnd(8))
    assert file.taken < 1 << 20


@pytest.mark.parametrize("reads", range(8))
def test_errors_of_the_file_system_propagate(reads: int) -> None:
    class Failing(io.BytesIO):
        left = reads

        def read(self, size: int | None = -1) -> bytes:
            if not self.left:
                raise OSError("connection reset")
            self.left -= 1
            return super().read(size)

    noise = [np.random.default_rng(0).bytes(1000)] * 10
    content = written({"x": noise}, row_group_size=1, use_dictionary=False)
    with pytest.raises(OSError, match="connection reset"):
        read(Failing(content), Features("x"))


def test_empty_row_groups_are_passed_over() -> None:
    sink = io.BytesIO()
    schema = pa.schema([("x", pa.binary())])
    with pq.ParquetWriter(sink, schema) as writer:
        for rows in ([], [b"a"], [], [b"b"], []):
            writer.write_table(pa.table({"x": pa.array(rows, pa.binary())}))
    blocks = read(sink.getvalue(), Features("x"))
    assert lists(blocks) == [[b"a"], [b"b"]]
    assert [last for _, _, last in blocks] == [ShardEnd(2)]


def test_column_slices_share_no_rows() -> None:
    column = Column(np.arange(6), np.array([0, 2, 2, 6]))
    assert column[0:1].values.tolist() == [0, 1]
    assert column[1:2].values.tolist() == []
    assert column[2:3].splits.tolist() == [0, 4]


def test_rows_longer_than_the_limit_are_failures() -> None:
    content = written({"x": [b"12345", b"123456", b"1"], "y": [[1], [2], [3, 3]]})
    blocks = read(content, Features("x"), max_record_bytes=5)
    assert errors(blocks) == {1: "RecordTooLarge"}
    assert lists(blocks) == [[b"12345"], [], [b"1"]]
    assert str(blocks[0][1].faults[1]) == (
        "feature 'x' (source.features.input) is longer than limits.max_record_bytes (5)"
    )
    assert errors(read(content, Features("y"), max_record_bytes=15)) == {2: "RecordTooLarge"}
