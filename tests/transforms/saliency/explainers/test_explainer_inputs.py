"""What `Saliency` takes: arrays of any type, datasets of any form; and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.saliency import Saliency

Array = npt.NDArray[np.float64]

CLASSES = 3


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def one_hot(labels: list[int], classes: int = CLASSES) -> Array:
    return np.eye(classes)[labels]


def squares(*shape: int) -> keras.Sequential:
    """Logits (x * x) W; so gradients, 2 x W, tell examples and classes apart."""
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Activation(lambda x: x * x),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES, use_bias=False, name="logits"),
        ]
    )
    model.set_weights([weights(*shape)])
    return model


def weights(*shape: int) -> Array:
    return random(int(np.prod(shape)), CLASSES, seed=5)


def expected_maps(inputs: Array, targets: Array) -> Array:
    by_square = (targets @ weights(*inputs.shape[1:]).T).reshape(inputs.shape)
    maps: Array = np.abs(2 * inputs * by_square)
    return maps


def pairs(inputs: Array, targets: Array) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((inputs, targets))


@pytest.mark.parametrize("known_input", [True, False])
@pytest.mark.parametrize("batch_size", [4, None])
@pytest.mark.parametrize(
    "prepare",
    [
        lambda dataset: dataset,
        lambda dataset: dataset.batch(3),
        lambda dataset: dataset.batch(10, drop_remainder=True),
    ],
)
def test_datasets_give_the_maps_of_arrays(
    prepare: Callable[[tf.data.Dataset], tf.data.Dataset],
    batch_size: int | None,
    known_input: bool,
) -> None:
    model = squares(4, 3)
    inputs = random(10, 4, 3, seed=7)
    targets = one_hot([0, 2, 1, 2, 0, 1, 1, 0, 2, 2])
    explainer = Saliency(model if known_input else model.call, batch_size=batch_size)

    maps = explainer(prepare(pairs(inputs, targets)))

    np.testing.assert_allclose(maps, expected_maps(inputs, targets), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [None, 4])
def test_dataset_of_inputs_with_targets_beside_it(size: int | None) -> None:
    model = squares(7)
    inputs, targets = random(5, 7, seed=7), one_hot([0, 2, 1, 2, 0])
    dataset = tf.data.Dataset.from_tensor_slices(inputs)
    explainer = Saliency(model, batch_size=2)

    maps = explainer(dataset.batch(size) if size else dataset, targets)

    np.testing.assert_allclose(maps, expected_maps(inputs, targets), rtol=1e-5, atol=1e-5)


def test_dataset_is_streamed() -> None:
    produced: list[int] = []
    seen: list[int] = []

    def examples() -> Iterator[tuple[Array, Array]]:
        for number in range(400):
            produced.append(number)
            yield random(7, seed=number), one_hot([0])[0]

    def model(inputs: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda: seen.append(len(produced)), [], [])
        return tf.stack([tf.reduce_sum(inputs, -1)] * CLASSES, -1)

    signature = (tf.TensorSpec((7,)), tf.TensorSpec((CLASSES,)))
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)

    maps = Saliency(model, batch_size=4)(dataset)

    assert maps.shape == (400, 7)
    assert len(seen) == 100
    assert seen[0] < 100  # tf.data reads a few batches ahead
    assert seen[50] < 300


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, np.float16])
def test_arrays_of_any_number_type(dtype: type) -> None:
    inputs: npt.NDArray[Any] = np.arange(14).reshape(2, 7).astype(dtype)
    targets = one_hot([0, 2])

    maps = Saliency(squares(7))(inputs, targets)

    np.testing.assert_allclose(maps, expected_maps(inputs.astype(np.float64), targets), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; give at least 1"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"reducer": "median"}, "'median' is unknown; choose one of max, mean, min, sum, none"),
        ({"operator": "regresion"}, "operator 'regresion' is unknown"),
        ({"output_layer": "logit"}, "has no layer 'logit'; choose one of: logits, "),
        ({"output_layer": 3}, "output_layer 3 is out of range"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Saliency(squares(7), **arguments)


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (random(2, 7), None, r"targets is missing; give one-hot targets \(N, 3\)"),
        (random(2, 7), [0, 1], r"targets has shape \(2,\) for 2 inputs and 3 outputs"),
        (random(2, 7), random(2, 4), r"targets has shape \(2, 4\) for 2 inputs and 3 outputs"),
        (random(2, 7), random(3, 3), r"targets has shape \(3, 3\) for 2 inputs"),
        (random(2, 8), random(2, 3), r"shape \(8,\) do not fit .* takes \(7,\)"),
        (random(7), random(7), r"inputs has shape \(7,\); give \(N, W\)"),
        (random(1, 2, 2, 2, 2), random(1, 3), r"inputs has shape \(1, 2, 2, 2, 2\)"),
        (random(0, 7), random(0, 3), "inputs is empty"),
        (3.0, None, "inputs is a scalar"),
        (np.array(["a"]), None, "give numbers of one shape"),
        (pairs(random(2, 7), random(2, 3)), random(2, 3), "targets are given twice"),
        (tf.data.Dataset.from_tensors({"x": 1}), None, "give a dataset of inputs or"),
        (tf.data.Dataset.from_tensor_slices(random(4, 7)), random(3, 3), "the dataset has more"),
        (tf.data.Dataset.from_tensor_slices(random(2, 7)), random(3, 3), "dataset's 2 inputs"),
        (pairs(random(2, 3, 4, 7), random(2, 3)), None, r"inputs are \(3, 4, 7\), but"),
    ],
)
def test_bad_inputs(inputs: Any, targets: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Saliency(squares(7))(inputs, targets)


def test_dataset_that_may_be_batched_or_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="whether that is a batch cannot be told"):
        Saliency(lambda x: x)(tf.data.Dataset.from_tensor_slices(random(2, 3, 4)))


def test_output_of_another_rank_needs_an_operator() -> None:
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Dense(2, name="steps")])
    inputs = random(2, 4, 3)

    with pytest.raises(ConfigurationError, match=r"'steps' .* returns \(N, 4, 2\)"):
        Saliency(model)(inputs, one_hot([0, 1], 2))
    total = Saliency(model, operator=lambda f, x, _: tf.reduce_sum(f(x), (1, 2)))(inputs)
    assert total.shape == (2, 4, 3)


def test_output_layer_of_a_plain_function_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="output_layer 'a' cannot be chosen"):
        Saliency(tf.nn.relu, output_layer="a")


def test_model_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="model is a str"):
        Saliency("model.keras")
