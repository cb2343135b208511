"""Models that are not functions of their input: random, or in training mode."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.models.files import EXPORT
from transforms.models.functions import ModelFunction, trace
from transforms.models.inputs import ModelInput
from transforms.models.loading import ModelSpec, load_model
from transforms.models.training_mode import (
    TrainingOperations,
    check_function_of_input,
    find_training_operations,
)
from transforms.storage import LocalStorage

layers = keras.layers
INPUTS = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def augmenting() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.RandomFlip(name="flip"),
            layers.RandomContrast(0.1, name="contrast"),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )


def training_operations(call: Callable[[tf.Tensor], tf.Tensor]) -> TrainingOperations:
    return trace(ModelFunction(call, "it", ModelInput()), (8, 8, 3)).training


def check(call: Callable[[tf.Tensor], tf.Tensor], inputs: object = INPUTS) -> None:
    check_function_of_input("it", call, inputs, TrainingOperations())  # type: ignore[arg-type]


def test_exported_augmentation_is_refused_and_named(
    augmenting: keras.Model, tmp_path: Path
) -> None:
    augmenting.export(tmp_path / "exported", verbose=False)

    with pytest.raises(ConfigurationError) as refusal:
        load_model(ModelSpec(str(tmp_path / "exported")), LocalStorage())

    assert "is not a function of its input: it draws random numbers" in str(refusal.value)
    for layer in ("flip", "contrast"):
        assert re.search(rf"\b{layer}(_\d+)? \(StatelessRandomUniformV2\)", str(refusal.value))
    assert "model(inputs, training=False)" in str(refusal.value)


def test_what_is_advised_is_accepted(augmenting: keras.Model, tmp_path: Path) -> None:
    augmenting.save(tmp_path / "model.keras")
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, augmenting(inputs, training=False)).export(
        tmp_path / "exported", verbose=False
    )

    for name in ("model.keras", "exported"):
        loaded = load_model(ModelSpec(str(tmp_path / name)), LocalStorage())
        assert loaded.training == TrainingOperations()
        check(loaded)
    assert "training=False" in EXPORT


def test_layers_whose_mode_is_written_in_code_are_named() -> None:
    norm, drop = layers.BatchNormalization(name="norm"), layers.Dropout(0.5, name="drop")

    found = training_operations(lambda x: drop(norm(x, training=True), training=True))

    (random,) = found.random
    assert re.fullmatch(r"drop(_\d+)? \(StatelessRandomUniformV2\)", random)
    assert re.fullmatch(r"norm(_\d+)? \(AssignVariableOp\)", found.updating[0])


def test_what_tensorflow_has_always_had_is_found() -> None:
    def noisy(inputs: tf.Tensor) -> tf.Tensor:
        return inputs + tf.random.normal(tf.shape(inputs), name="noise")

    def normalised(inputs: tf.Tensor) -> tf.Tensor:
        ones = tf.ones(3)
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=ones, offset=ones, mean=[], variance=[], is_training=True, name="bn/op"
        )[0]

    assert training_operations(noisy).random == ("noise (RandomStandardNormal)",)
    assert training_operations(normalised).updating == ("bn (FusedBatchNormV3)",)


def test_random_numbers_that_are_always_the_same_are_no_fault() -> None:
    def projected(inputs: tf.Tensor) -> tf.Tensor:
        matrix = tf.random.stateless_normal((192, 3), seed=(1, 2))
        return tf.reshape(inputs, (-1, 192)) @ matrix

    assert training_operations(projected) == TrainingOperations()
    check(projected)


def test_batch_statistics_are_refused_by_what_they_do() -> None:
    norm = layers.BatchNormalization(name="norm")
    norm.build((None, 8, 8, 3))

    def call(inputs: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(norm(inputs, training=True), axis=1)

    found = TrainingOperations(updating=("norm (AssignVariableOp)",))
    with pytest.raises(ConfigurationError) as refusal:
        check_function_of_input("model 'm'", call, INPUTS, found)
    assert str(refusal.value).startswith("model 'm' is not a function of its input: the first ")
    assert "% with the other examples of their batch (layers that train: norm (Ass" in str(
        refusal.value
    )


def test_one_example_and_a_fixed_batch_will_do() -> None:
    def centred(inputs: tf.Tensor) -> tf.Tensor:
        return inputs - tf.reduce_mean(inputs, axis=0)

    for batch in (None, 4):
        with pytest.raises(ConfigurationError, match="other examples of their batch"):
            check_function_of_input("it", centred, INPUTS[:1], TrainingOperations(), batch)
    check(lambda x: x**2, INPUTS[:1])


def test_state_is_refused_by_what_it_does() -> None:
    calls = tf.Variable(0.0)

    def call(inputs: tf.Tensor) -> tf.Tensor:
        return inputs + calls.assign_add(1.0)

    with pytest.raises(ConfigurationError, match=r"change by .* from one call to the next"):
        check(call)


def test_examples_that_a_model_refuses_tell_nothing() -> None:
    def picky(inputs: tf.Tensor) -> tf.Tensor:
        tf.debugging.assert_less(inputs, -100.0)
        return inputs

    check(picky)
    check(lambda x: x * np.nan)


def test_a_graph_without_training_has_none() -> None:
    graph = tf.function(lambda x: x * 2, autograph=False).get_concrete_function(tf.zeros(2)).graph
    assert find_training_operations(graph) == TrainingOperations()
