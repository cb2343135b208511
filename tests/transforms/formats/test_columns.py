from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from transforms.elements import NO_LABEL, Examples, Failure, Shard
from transforms.errors import DataFault
from transforms.formats.columns import Column, Records, to_examples
from transforms.formats.features import Features, beside_role, slice_role
from transforms.formats.source import InputSpec, SourceSpec

SHARD = Shard("/data/a.tfrecord", 1)
FEATURES = Features("image", id="name", label="y", boxes="bbox", mask="object")


def column(rows: Sequence[Sequence[Any]]) -> Column:
    values = [value for row in rows for value in row]
    is_bytes = any(isinstance(value, bytes) for value in values)
    splits = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return Column(np.array(values, dtype=object if is_bytes else None), splits)


def convert(
    *,
    inputs: Sequence[Sequence[Any]] = ([b"x"],),
    ids: Sequence[Sequence[Any]] | None = None,
    labels: Sequence[Sequence[Any]] | None = None,
    boxes: Sequence[Sequence[Any]] | None = None,
    masks: Sequence[Sequence[Any]] | None = None,
    slices: dict[str, Sequence[Sequence[Any]]] | None = None,
    faults: dict[int, DataFault] | None = None,
    class_names: tuple[str, ...] = (),
    shape: tuple[int, ...] = (2,),
) -> tuple[Examples, tuple[Failure, ...]]:
    given = {"input": inputs, "id": ids, "label": labels, "boxes": boxes, "mask": masks}
    columns = {role: column(rows) for role, rows in given.items() if rows is not None}
    names: dict[str, Any] = {
        role: name for role, name in FEATURES.named().items() if role in columns
    }
    names["slices"] = tuple(slices or {})
    columns |= {slice_role(name): column(rows) for name, rows in (slices or {}).items()}
    records = Records(100, len(inputs), columns, faults or {}, lambda _: ["image", "other"])
    source = SourceSpec("tfrecord", Features(**names), class_names=class_names)
    return to_examples(SHARD, records, source, InputSpec("tensor", shape))[:2]


def reasons(failures: Sequence[Failure]) -> list[tuple[int | None, str]]:
    return [(failure.record, failure.error) for failure in failures]


def test_bytes_with_every_feature() -> None:
    examples, failures = convert(
        inputs=[[b"i"], [b"j"]],
        ids=[[b"one"], [b"two"]],
        labels=[[3], [0]],
        boxes=[[0.1, 0.2, 0.3, 0.4, 0, 0, 1, 1], []],
    )
    assert failures == ()
    assert examples.inputs == (b"i", b"j")
    assert examples.ids == ("one", "two")
    assert examples.records.tolist() == [100, 101]
    assert examples.labels.tolist() == [3, 0]
    assert examples.boxes is not None
    expected = np.array([[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 1.0, 1.0]], np.float32)
    np.testing.assert_array_equal(examples.boxes[0], expected)
    assert examples.boxes[1].shape == (0, 4)


def test_defaults_without_the_optional_features() -> None:
    examples, _ = convert(inputs=[[b"i"], [b"j"]])
    assert examples.ids == tuple(f"{SHARD.folder}:{record}" for record in (100, 101))
    assert examples.labels.tolist() == [NO_LABEL, NO_LABEL]
    assert examples.boxes is None


def test_numeric_rows_become_dense_less_those_of_another_length() -> None:
    rows = [[1, 2], [3], [], [4, 5], [6, 7, 8], [9, 10]]
    examples, failures = convert(inputs=rows)
    assert isinstance(examples.inputs, np.ndarray)
    np.testing.assert_array_equal(examples.inputs, [[1, 2], [4, 5], [9, 10]])
    assert examples.records.tolist() == [100, 103, 105]
    assert reasons(failures) == [
        (101, "WrongLength"),
        (102, "MissingFeature"),
        (104, "WrongLength"),
    ]
    assert "has 1 numbers; source.input.shape takes 2" in failures[0].message
    examples, failures = convert(inputs=[[1, 2], [3, 4]])
    np.testing.assert_array_equal(examples.inputs, [[1, 2], [3, 4]])


def test_no_example_left() -> None:
    examples, failures = convert(inputs=[[1], [2]])
    assert len(examples) == 0
    assert examples.inputs == ()
    assert len(failures) == 2


def test_a_missing_feature_names_those_that_are_there() -> None:
    _, failures = convert(inputs=[[b"x"], []], labels=[[], [1]])
    assert reasons(failures) == [(100, "MissingFeature"), (101, "MissingFeature")]
    assert failures[0].message == (
        "there is no feature 'y' (source.features.label); there are: image, other"
    )
    assert failures[1].message == "feature 'image' (source.features.input) has no value"


def test_several_values_where_one_is_meant() -> None:
    _, failures = convert(
        inputs=[[b"x", b"y"], [b"x"], [b"x"]],
        ids=[[b"a"], [b"b", b"c"], [b"d"]],
        labels=[[0], [0], [1, 2]],
    )
    assert reasons(failures) == [(100 + row, "SeveralValues") for row in range(3)]
    assert [failure.example_id for failure in failures] == ["a", None, "d"]


def test_labels_out_of_range() -> None:
    labels = [[-1], [2**31 - 1], [2**31], [-(2**63)]]
    examples, failures = convert(inputs=[[b"x"]] * 4, labels=labels)
    assert examples.labels.tolist() == [2**31 - 1]
    assert reasons(failures) == [(row, "LabelOutOfRange") for row in (100, 102, 103)]
    labels_unsigned = Column(np.array([2**64 - 1], np.uint64), np.array([0, 1]))
    records = Records(0, 1, {"input": column([[b"x"]]), "label": labels_unsigned}, {}, lambda _: [])
    source = SourceSpec("parquet", Features("image", label="y"))
    _, failures, _ = to_examples(SHARD, records, source, InputSpec("tensor", (1,)))
    assert "is 18446744073709551615; labels are whole numbers from 0 to" in failures[0].message


def test_whole_numbers_of_any_type_are_labels() -> None:
    labels = [[3.0], [2.5], [float("inf")], [float("nan")]]
    examples, failures = convert(inputs=[[b"x"]] * 4, labels=labels)
    assert examples.labels.tolist() == [3, NO_LABEL]
    assert reasons(failures) == [(101, "LabelOutOfRange"), (102, "LabelOutOfRange")]
    assert failures[0].message == (
        "feature 'y' (source.features.label) is 2.5; labels are whole numbers from 0 to 2147483647"
    )


def test_one_hot_labels_are_the_place_of_the_one() -> None:
    labels = [[0, 0, 1], [1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 2, 0]]
    examples, failures = convert(inputs=[[b"x"]] * 5, labels=labels)
    assert examples.labels.tolist() == [2, 0]
    assert reasons(failures) == [(row, "SeveralValues") for row in (102, 103, 104)]
    assert failures[0].message.endswith(
        "has 3 values where one is meant, and is not one-hot: a single 1 among zeros"
    )


def test_a_label_that_is_null_is_none() -> None:
    label = Column(np.array([4]), np.array([0, 1, 1]))
    columns = {"input": column([[b"x"], [b"x"]]), "label": label}
    records = Records(0, 2, columns, {}, lambda _: ["image", "y"])
    source = SourceSpec("parquet", Features("image", label="y"))
    examples, failures, _ = to_examples(SHARD, records, source, InputSpec("tensor", (1,)))
    assert examples.labels.tolist() == [4, NO_LABEL]
    assert failures == ()


def test_names_that_stand_twice_are_for_integers_only() -> None:
    names = ("crane", "heron", "crane")  # as ImageNet's: a bird and a machine
    examples, failures = convert(inputs=[[b"x"]] * 2, labels=[[2], [0]], class_names=names)
    assert examples.labels.tolist() == [2, 0]
    _, failures = convert(labels=[[b"heron"]], class_names=names)
    assert reasons(failures) == [(100, "RepeatedClassName")]
    assert failures[0].message == (
        "feature 'y' (source.features.label) is 'heron', but source.classes has 'crane' in lines 1 "
        "and 3, so names do not tell classes apart: give each class a name of its own"
    )


def test_string_labels_are_looked_up() -> None:
    labels = [[b"dog"], ["cät".encode()], [b"cow"], [b"\xff"]]
    examples, failures = convert(inputs=[[b"x"]] * 4, labels=labels, class_names=("cät", "dog"))
    assert examples.labels.tolist() == [1, 0]
    assert reasons(failures) == [(102, "UnknownLabel"), (103, "UnknownLabel")]
    assert "is 'cow', which is not among the 2 names in source.classes" in failures[0].message
    assert r"'\\xff'" in failures[1].message


def test_string_labels_without_classes_say_so() -> None:
    _, failures = convert(labels=[[b"cat"]])
    assert "is 'cat', which is text, and source.classes is not set: give" in failures[0].message


def test_long_labels_are_cut_in_messages() -> None:
    _, failures = convert(labels=[[b"\xff" * 5000]])
    assert "' and 4900 bytes more, which is text" in failures[0].message
    assert len(failures[0].message) < 800


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": [[0.5]]}, "holds numbers, not a string or an integer"),
        ({"boxes": [[b"box"]]}, "holds bytes, not a list of numbers"),
        ({"masks": [[1, 0]]}, "(source.features.mask) has 2 values where one is meant"),
        ({"masks": [[1]]}, "(source.features.mask) holds numbers, not a PNG file"),
    ],
)
def test_a_feature_of_the_wrong_kind(arguments: dict[str, Any], message: str) -> None:
    examples, failures = convert(**arguments)
    assert len(examples) == 0
    assert failures[0].error in ("WrongFeatureKind", "SeveralValues")
    assert message in failures[0].message


def test_an_example_may_have_no_mask() -> None:
    inputs = [[b"i"], [b"j"], [b"k"], [b"l"]]
    examples, failures = convert(inputs=inputs, masks=[[b"png"], [], [b""], [b"a", b"b"]])
    assert examples.masks == (b"png", None, b"")
    assert reasons(failures) == [(103, "SeveralValues")]
    assert examples[1:].masks == (None, b"")
    assert convert(inputs=inputs)[0].masks is None
    without, _ = convert(inputs=inputs, masks=[[]] * 4)
    other, _ = convert(inputs=inputs, masks=[[b"png"], [], [], []])
    assert without.digest() != other.digest()


def test_ids_of_any_kind() -> None:
    examples, _ = convert(inputs=[[b"x"]] * 2, ids=[["naïve".encode()], [b"bad\xff\xfe"]])
    assert examples.ids == ("naïve", "bad\\xff\\xfe")
    examples, _ = convert(inputs=[[b"x"]] * 2, ids=[[7], [-(2**60)]])
    assert examples.ids == ("7", str(-(2**60)))


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([0.1, 0.2, 0.3], "has 3 numbers"),
        ([0.1, 0.2, np.nan, 0.4], "infinity or NaN"),
        ([0.1, 0.2, np.inf, 0.4], "infinity or NaN"),
        ([0.5, 0.0, 0.4, 1.0], "ymin above ymax"),
        ([0.0, 0.5, 1.0, 0.4], "xmin above xmax"),
        ([0.0, 0.0, 120.0, 80.0], "coordinates from 0 to 120; they are in 0..1"),
    ],
)
def test_bad_boxes(boxes: list[float], message: str) -> None:
    _, failures = convert(boxes=[boxes])
    assert failures[0].error == "BadBoxes"
    assert message in failures[0].message


def test_boxes_beyond_the_image_by_rounding_are_clipped() -> None:
    examples, failures = convert(boxes=[[-1e-6, 0.0, 1.0000001, 1.005]])
    assert failures == ()
    assert examples.boxes is not None
    assert examples.boxes[0].tolist() == [[0, 0, 1, 1]]


def test_the_first_fault_counts_and_unread_records_have_no_default_id() -> None:
    corrupt = DataFault("read", "CorruptRecord", "damaged")
    _, failures = convert(inputs=[[], [1]], labels=[[], [-1]], faults={0: corrupt})
    assert reasons(failures) == [(100, "CorruptRecord"), (101, "WrongLength")]
    assert [failure.example_id for failure in failures] == [None, f"{SHARD.folder}:101"]
    assert [failure.stage for failure in failures] == ["read", "parse"]


def test_concatenated_columns_keep_their_type_beside_empty_ones() -> None:
    whole = Column.concatenate([column([[1], [2, 3]]), Column.empty(2), column([[4]])])
    assert whole.values.dtype.kind == "i"
    assert whole.splits.tolist() == [0, 1, 3, 3, 3, 4]
    assert whole[1:4].values.tolist() == [2, 3]
    assert whole[1:4].splits.tolist() == [0, 2, 2, 2]


def test_slices_are_strings_whatever_they_were() -> None:
    examples, failures = convert(
        inputs=[[b"x"]] * 4,
        slices={
            "camera": [[b"A"], [b""], [], ["日本".encode()]],
            "year": [[2024], [-1], [], [0]],
            "night": [[True], [False], [], [True]],
            "nowhere": [[], [], [], []],
        },
    )
    assert failures == ()
    assert examples.slices == {
        "camera": ("A", "", None, "日本"),
        "year": ("2024", "-1", None, "0"),
        "night": ("true", "false", None, "true"),
        "nowhere": (None, None, None, None),
    }


def test_values_that_name_nothing_are_faults() -> None:
    camera = [[b"A", b"B"], [b"x" * 1024], [b"x" * 1025], [b"\xff"]]
    examples, failures = convert(inputs=[[b"x"]] * 4, slices={"camera": camera})
    assert reasons(failures) == [(100, "SeveralValues"), (102, "SliceTooLong")]
    assert failures[1].message == (
        "feature 'camera' (source.features.slices) has a value of 1025 bytes; a slice's values "
        "have at most 1024"
    )
    assert examples.slices["camera"] == ("x" * 1024, "\\xff")
    _, failures = convert(inputs=[[b"x"]], slices={"weight": [[1.5]]})
    assert [failure.message for failure in failures] == [
        "feature 'weight' (source.features.slices) holds numbers, not a string, an integer or a "
        "boolean"
    ]


def test_the_digest_tells_slices_apart() -> None:
    def digest(*values: Sequence[Any], name: str = "camera") -> str:
        return convert(inputs=[[b"x"]] * 2, slices={name: values})[0].digest()

    plain = convert(inputs=[[b"x"]] * 2)[0].digest()
    digests = {
        plain,
        digest([b"A"], [b"B"]),
        digest([b"B"], [b"A"]),
        digest([], [b"A"]),
        digest([b""], [b"A"]),
        digest([b"A"], [b"B"], name="lens"),
    }
    assert len(digests) == 6


def test_whole_numbers_that_float64_rounds_feed_nothing() -> None:
    exact, rounded = 2**53 - 1, 2**53 + 1
    columns = {
        "input": column([[b"x"]] * 4),
        beside_role("user"): column([[exact], [rounded], [-rounded], [7, 2**62]]),
    }
    source = SourceSpec("tfrecord", Features("image", beside=(("user", "user_id"),)))
    records = Records(0, 4, columns, {}, lambda _: ["image", "user_id"])
    examples, failures, _ = to_examples(SHARD, records, source, InputSpec("tensor", (2,)))
    assert [int(each[0]) for each in examples.beside["user"]] == [exact]
    assert reasons(failures) == [(row, "NotExact") for row in (1, 2, 3)]
    assert failures[0].message == (
        "feature 'user_id' (model.inputs.features) holds whole numbers from 2**53 on, which "
        "float64 rounds"
    )
