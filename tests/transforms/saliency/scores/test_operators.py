from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.saliency.scores.operators import (
    Operator,
    check_operator,
    classification,
    resolve_operator,
    scores_of,
)
from transforms.storage import LocalStorage


def first_output(model: Any, inputs: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    return model(inputs)[:, 0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    path = tmp_path_factory.mktemp("model") / "two.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
    return load_model(ModelSpec(str(path)), LocalStorage())


def test_classification_is_the_output_at_the_target() -> None:
    outputs = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    targets = np.array([[0, 0, 1], [1, 0, 0]])

    scores = classification(lambda _: outputs, tf.zeros((2, 4)), targets)

    np.testing.assert_array_equal(scores, [3.0, 4.0])


def test_names_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_operators.py").write_text("def score(model, inputs, targets): return inputs\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert resolve_operator(None) is classification
    assert resolve_operator("classification") is classification
    assert resolve_operator(first_output) is first_output
    assert resolve_operator("my_operators:score")(None, 3, None) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (
            "margin",
            "'margin' is unknown; give 'classification', 'regression', 'segmentation', "
            "'detection' or",
        ),
        ("not_there:score", r"not_there cannot be imported \(ModuleNotFoundError"),
        ("math:scores", "math has no 'scores'"),
        ("math:pi", "'math:pi' is a float, which cannot be called"),
        (":score", "':score' is unknown"),
        (3, "operator is 3, which cannot be called"),
    ],
)
def test_unusable_operators_are_refused(operator: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        resolve_operator(operator)


def test_operator_whose_module_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_operators.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigurationError, match=r"cannot be imported \(ZeroDivisionError"):
        resolve_operator("broken_operators:score")


@pytest.mark.parametrize("operator", [classification, first_output])
def test_one_score_an_example_is_accepted(model: LoadedModel, operator: Operator) -> None:
    check_operator(model, operator, (4,))


@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        (lambda f, x, _: f(x), r"\(3, 2\)"),
        (lambda f, x, _: tf.reduce_sum(f(x)), r"\(\)"),
        (lambda f, x, _: tf.reduce_sum(f(x), 0), r"\(2,\)"),
        (lambda f, x, _: f(x)[:, :1], r"\(3, 1\)"),
    ],
)
def test_other_shapes_are_refused_and_named(
    model: LoadedModel, operator: Operator, shape: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"returns {shape} for 3 examples"):
        check_operator(model, operator, (4,))


def test_a_model_that_refuses_zeros_is_not_run(
    tmp_path: Path,
) -> None:
    class Picky(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
        def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
            largest = tf.reduce_max(tf.abs(inputs), axis=1)
            with tf.control_dependencies([tf.debugging.assert_positive(largest)]):
                return inputs * 2.0

    tf.saved_model.save(Picky(), str(tmp_path / "picky"))
    picky = load_model(ModelSpec(str(tmp_path / "picky")), LocalStorage())

    check_operator(picky, classification, (4,))


def test_failing_operator_is_named(model: LoadedModel) -> None:
    def with_two_arguments(model: Any, inputs: Any) -> Any:
        return model(inputs)

    with pytest.raises(ConfigurationError, match=r"'with_two_arguments' fails .*TypeError"):
        check_operator(model, with_two_arguments, (4,))  # type: ignore[arg-type]


def test_scores_of_unknown_shape_are_checked_when_they_are_known() -> None:
    @tf.function
    def run(inputs: tf.Tensor) -> tf.Tensor:
        return scores_of(
            lambda x: x,
            lambda f, x, _: tf.numpy_function(lambda a: a[:-1, 0], [f(x)], tf.float32),
            inputs,
            None,
        )

    with pytest.raises(tf.errors.InvalidArgumentError):
        run(tf.zeros((3, 2)))
