from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.saliency.scores.targets import TargetSpec

OUTPUTS = tf.constant([[0.1, 0.7, 0.2], [5.0, -1.0, 6.0], [2.0, 3.0, 3.0]])
LABELS = tf.constant([2, 0, 1], tf.int64)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("label", [[2], [0], [1]]),
        ("predicted", [[1], [2], [1]]),
        ({"class": 0}, [[0], [0], [0]]),
        ({"top": 1}, [[1], [2], [1]]),
        ({"top": 2}, [[1, 2], [2, 0], [1, 2]]),
        ({"top": 3}, [[1, 2, 0], [2, 0, 1], [1, 2, 0]]),
    ],
)
def test_classes_to_explain(target: Any, expected: list[list[int]]) -> None:
    spec = TargetSpec.parse(target)

    classes = tf.function(spec.classes)(OUTPUTS, LABELS)

    assert classes.dtype == tf.int32
    assert spec.count == len(expected[0])
    np.testing.assert_array_equal(classes, expected)


def test_only_label_needs_labels() -> None:
    assert TargetSpec.parse("label").needs_labels
    assert not any(
        TargetSpec.parse(each).needs_labels for each in ("predicted", {"class": 0}, {"top": 1})
    )


def test_specs_are_plain_values() -> None:
    spec = TargetSpec.parse({"top": 2})

    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 - our own bytes
    assert hash(spec) == hash(TargetSpec("top", 2))


@pytest.mark.parametrize(
    "target",
    [
        *["labels", "class", "top", {}, {"class": -1}, {"top": 0}, {"top": True}],
        *[{"class": 1.0}, {"class": 1, "top": 2}, {"label": 1}, {"best": 1}, 3],
    ],
)
def test_other_targets_are_refused(target: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"give label, predicted, \{class: 3\} or"):
        TargetSpec.parse(target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"class": 3}, "explain.target.class is 3, but the model has 3 outputs; give 0 to 2"),
        ({"top": 4}, "explain.target.top is 4, but the model has 3 outputs; give at most 3"),
    ],
)
def test_targets_beyond_the_model_are_refused(target: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TargetSpec.parse(target).check(3)


@pytest.mark.parametrize("target", ["label", "predicted", {"class": 2}, {"top": 3}])
def test_targets_within_the_model_pass(target: Any) -> None:
    TargetSpec.parse(target).check(3)
