"""Methods of gradients against slow references written from their papers, and what must hold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from explained import (
    CLASSES,
    COUNT,
    SHAPE,
    Array,
    explained,
    maps_of,
    smooth_model,
    some_inputs,
    tape_gradient,
)

from transforms.saliency.perturbing.random_numbers import normal_numbers, random_key

Model = Any
SAMPLES, NOISE, SEED = 6, 0.3, 5
NOISY = {"samples": SAMPLES, "noise": NOISE, "seed": SEED}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("smooth") / "model.keras"


@pytest.fixture(scope="module")
def model(path: Path) -> Model:
    return smooth_model(path)


def noisy_gradients(model: Model, inputs: Array, classes: Array) -> Array:
    """(SAMPLES, N, *SHAPE): one example and one step at a time."""
    found = np.empty((SAMPLES, *inputs.shape), np.float32)
    for step in range(SAMPLES):
        for row, each in enumerate(inputs):
            key = tf.constant(random_key(SEED, step + 1, f"example {row}"))
            noise = np.reshape(normal_numbers(key, math.prod(SHAPE)), SHAPE)
            noisy = each + NOISE * noise
            found[step, row] = tape_gradient(model, noisy[np.newaxis], classes[[row]])[0]
    return found


def predictions(model: Model, inputs: Array) -> Array:
    found: Array = np.argmax(model(inputs), axis=-1)
    return found


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_gradient_input_is_the_product_added_over_channels(path: Path, model: Model) -> None:
    inputs = some_inputs()
    gradients = tape_gradient(model, inputs, predictions(model, inputs))
    found = maps_of(explained(path, inputs, "gradient_input"))
    close(found, (gradients * inputs).sum(axis=-1))
    assert (found < 0).any()
    assert (found > 0).any()


@pytest.mark.parametrize("baseline", [0.0, [0.5, -0.25, 1.0]])
@pytest.mark.parametrize("steps", [2, 7])
def test_integrated_gradients_are_the_trapezoidal_rule(
    path: Path, model: Model, steps: int, baseline: Any
) -> None:
    inputs = some_inputs()
    classes = predictions(model, inputs)
    start = np.broadcast_to(np.float32(baseline), inputs.shape)
    gradients = np.stack(
        [
            tape_gradient(model, start + a * (inputs - start), classes)
            for a in np.linspace(0, 1, steps)
        ]
    ).astype(np.float64)
    mean = (gradients[:-1] + gradients[1:]).mean(axis=0) / 2
    method = {"integrated_gradients": {"steps": steps, "baseline": baseline}}
    close(maps_of(explained(path, inputs, method)), ((inputs - start) * mean).sum(axis=-1))


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("smoothgrad", lambda gradients: gradients.mean(axis=0)),
        ("squaregrad", lambda gradients: (gradients**2).mean(axis=0)),
        ("vargrad", lambda gradients: gradients.var(axis=0, ddof=1)),
    ],
)
def test_noise_methods_are_moments_of_noisy_gradients(
    path: Path, model: Model, name: str, formula: Any
) -> None:
    inputs = some_inputs()
    gradients = noisy_gradients(model, inputs, predictions(model, inputs)).astype(np.float64)
    found = maps_of(explained(path, inputs, {name: NOISY}))
    close(found, formula(gradients).mean(axis=-1))


def test_integrated_gradients_of_a_linear_model_are_exact(tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    linear = keras.Sequential(layers)
    linear.save(tmp_path / "linear.keras")
    inputs = some_inputs()
    classes = predictions(linear, inputs)
    gradients = tape_gradient(linear, inputs, classes)
    method = {"integrated_gradients": {"steps": 9, "baseline": 0.5}}
    found = maps_of(explained(tmp_path / "linear.keras", inputs, method, reducer="none"))
    np.testing.assert_allclose(found, gradients * (inputs - 0.5), rtol=3e-7, atol=0)


def test_smoothgrad_without_noise_is_the_gradient(path: Path, model: Model) -> None:
    inputs = some_inputs()
    gradients = tape_gradient(model, inputs, predictions(model, inputs))
    method = {"smoothgrad": {"samples": 4, "noise": 0}}
    close(maps_of(explained(path, inputs, method, reducer="none")), gradients)
    assert (
        not maps_of(explained(path, inputs, {"vargrad": {"samples": 4, "noise": 0}})).max() > 1e-12
    )


def test_the_completeness_error_is_what_the_sum_misses_and_falls_with_the_steps(
    path: Path, model: Model
) -> None:
    inputs = 2 * some_inputs()
    classes = predictions(model, inputs)
    outputs, at_baseline = np.asarray(model(inputs)), np.asarray(model(np.zeros_like(inputs)))
    rows = np.arange(COUNT)
    difference = outputs[rows, classes] - at_baseline[rows, classes]
    errors = {}
    for steps in (5, 9, 17, 33):
        found = explained(path, inputs, {"integrated_gradients": {"steps": steps}})
        recorded = np.array([each[0].statistics["completeness_error"] for each in found])
        sums = maps_of(found).sum(axis=(1, 2), dtype=np.float64)
        np.testing.assert_allclose(recorded, sums - difference, atol=2e-5)
        errors[steps] = np.abs(recorded).max()
    assert errors[5] > 1e-3
    for steps in (9, 17, 33):  # each has half the way between its points that the one before has
        assert errors[steps] <= errors[(steps + 1) // 2] / 2


def test_targets_are_chosen_once_at_the_unperturbed_input(path: Path, model: Model) -> None:
    inputs = some_inputs()
    order = np.argsort(-np.asarray(model(inputs)), axis=-1)
    method = {"smoothgrad": {**NOISY, "noise": 3.0}}  # so strong that predictions change
    found = explained(path, inputs, method, {"top": 2})
    each_class = [maps_of(explained(path, inputs, method, {"class": c})) for c in range(CLASSES)]
    for number in (0, 1):
        assert [each[number].target for each in found] == order[:, number].tolist()
        expected = np.stack([each_class[c][row] for row, c in enumerate(order[:, number])])
        close(maps_of(found, number), expected)


def test_labels_are_explained_in_every_step(path: Path) -> None:
    labels = [3, 1, 0, 2, 1]
    found = explained(path, some_inputs(), {"smoothgrad": NOISY}, "label", labels=labels)
    assert [each[0].target for each in found] == labels
    by_class = explained(path, some_inputs(), {"smoothgrad": NOISY}, {"class": 1})
    np.testing.assert_array_equal(maps_of(found)[[1, 4]], maps_of(by_class)[[1, 4]])


@pytest.mark.parametrize("name", ["smoothgrad", "squaregrad", "vargrad"])
def test_noise_depends_on_the_id_and_the_seed_alone(path: Path, name: str) -> None:
    inputs = some_inputs()
    ids = [f"example {row}" for row in range(COUNT)]
    method = {name: NOISY}
    found = maps_of(explained(path, inputs, method))
    reverse = maps_of(explained(path, inputs[::-1], method, ids=ids[::-1]))
    np.testing.assert_array_equal(found, reverse[::-1])
    alone = maps_of(explained(path, inputs[3:4], method, ids=ids[3:4]))
    np.testing.assert_array_equal(found[3:4], alone)
    assert not np.array_equal(found, maps_of(explained(path, inputs, method, ids=ids[::-1])))
    assert not np.array_equal(found, maps_of(explained(path, inputs, {name: {**NOISY, "seed": 6}})))


@pytest.mark.parametrize("name", ["gradient_input", "integrated_gradients", "smoothgrad"])
@pytest.mark.parametrize("target", [{"top": 2}, {"class": 2}])
def test_openvino_makes_the_same_maps(path: Path, name: str, target: Any) -> None:
    pytest.importorskip("openvino")
    given = {"integrated_gradients": {"steps": 5}, "smoothgrad": NOISY}
    method = {name: given[name]} if name in given else name
    inputs = some_inputs()
    expected = maps_of(explained(path, inputs, method, target), -1)
    close(maps_of(explained(path, inputs, method, target, engine="openvino"), -1), expected)


@pytest.mark.parametrize("shape", [(6,), (4, 3)])
@pytest.mark.parametrize(
    "name", ["gradient_input", "integrated_gradients", "smoothgrad", "vargrad"]
)
def test_tables_and_series_keep_their_shape(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    layers = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3, "tanh")]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    inputs = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    given: dict[str, Any] = {"smoothgrad": NOISY, "vargrad": NOISY}
    method = {name: given[name]} if name in given else name
    found = maps_of(explained(tmp_path / "model.keras", inputs, method))
    assert found.shape == inputs.shape
    assert np.abs(found).max() > 0
