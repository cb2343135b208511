from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from transforms.formats.columns import Records
from transforms.formats.features import Features
from transforms.formats.tfrecord.examples import parse_examples

FEATURES = Features("image", label="y")


def example(**features: Any) -> bytes:
    stored = {}
    for name, values in features.items():
        if isinstance(values[0], bytes):
            stored[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        elif isinstance(values[0], float):
            stored[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
        else:
            stored[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    message = tf.train.Example(features=tf.train.Features(feature=stored))
    return bytes(message.SerializeToString())


def lists(records: Records, role: str) -> list[list[Any]]:
    return [records.columns[role].of(row).tolist() for row in range(records.count)]


def errors(records: Records) -> dict[int, str]:
    return {row: fault.error for row, fault in records.faults.items()}


def test_every_kind_of_feature() -> None:
    payloads = [
        example(image=[b"a"], y=[1], box=[0.5, 0.25], unused=[9]),
        example(image=[b"b"], y=[2, 3]),
    ]
    records = parse_examples(payloads, Features("image", label="y", boxes="box"), first=10)
    assert records.first == 10
    assert lists(records, "input") == [[b"a"], [b"b"]]
    assert lists(records, "label") == [[1], [2, 3]]
    assert lists(records, "boxes") == [[0.5, 0.25], []]
    assert records.faults == {}
    assert records.available(0) == ["box", "image", "unused", "y"]


def test_one_feature_in_two_roles() -> None:
    records = parse_examples([example(x=[1.0], y=[4])], Features("x", id="y", label="y"))
    assert lists(records, "id") == lists(records, "label") == [[4]]


@pytest.mark.parametrize("bad", [b"nonsense", b"\xff" * 9, b"\x8a"])
def test_nonsense_costs_one_fault_wherever_it_is(bad: bytes) -> None:
    for position in range(7):
        payloads = [example(image=[b"%d" % i], y=[i]) for i in range(7)]
        payloads[position] = bad
        records = parse_examples(payloads, FEATURES)
        assert errors(records) == {position: "NotAnExample"}
        expected = [[i] for i in range(7)]
        expected[position] = []
        assert lists(records, "label") == expected


def test_only_nonsense() -> None:
    assert errors(parse_examples([b"nonsense"] * 3, FEATURES)) == dict.fromkeys(
        range(3), "NotAnExample"
    )


def test_the_rare_kind_of_feature_is_the_fault_even_where_it_comes_first() -> None:
    payloads = [example(image=[b"i"], y=[0.5])] + [example(image=[b"i"], y=[i]) for i in range(3)]
    records = parse_examples(payloads, FEATURES)
    assert errors(records) == {0: "WrongFeatureKind"}
    assert str(records.faults[0]) == (
        "feature 'y' (source.features.label) holds floats where other records hold integers"
    )
    assert lists(records, "label") == [[], [0], [1], [2]]


def test_a_feature_that_only_later_records_have() -> None:
    records = parse_examples([example(image=[b"i"]), example(image=[b"j"], y=[1])], FEATURES)
    assert lists(records, "label") == [[], [1]]


def test_features_that_no_record_has() -> None:
    records = parse_examples([example(z=[1]), b"nonsense", b""], FEATURES)
    assert lists(records, "input") == [[], [], []]
    assert errors(records) == {1: "NotAnExample"}
    assert records.available(0) == ["z"]
    assert records.available(1) == []


def test_no_payloads() -> None:
    records = parse_examples([], FEATURES)
    assert records.count == 0
    assert lists(records, "input") == []


@given(st.data())
def test_damage_never_raises_and_leaves_the_others_alone(data: st.DataObject) -> None:
    payloads = [example(image=[b"image %d" % i], y=[i]) for i in range(5)]
    victim = data.draw(st.integers(0, 4))
    damaged = bytearray(payloads[victim])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    payloads[victim] = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    records = parse_examples(payloads, FEATURES)
    assert set(records.faults) <= {victim}
    for row in set(range(5)) - {victim}:
        assert records.columns["input"].of(row).tolist() == [b"image %d" % row]
        assert records.columns["label"].of(row).tolist() == [row]
