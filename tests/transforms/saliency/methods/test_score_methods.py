"""Occlusion and RISE against slow references written from their papers, and what must hold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from explained import CLASSES, COUNT, SHAPE, Array, explained, maps_of, smooth_model, some_inputs

from transforms.errors import ConfigurationError
from transforms.formats.source import InputSpec
from transforms.saliency.methods import find_method
from transforms.saliency.perturbing.random_numbers import random_key

Model = Any
RISE = {"samples": 8, "grid_size": 2, "preservation_probability": 0.4, "seed": 5}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("smooth") / "model.keras"


@pytest.fixture(scope="module")
def model(path: Path) -> Model:
    return smooth_model(path)


def scores_of(model: Model, inputs: Array, classes: Array) -> Array:
    found: Array = np.asarray(model(inputs))[np.arange(len(inputs)), classes]
    return found


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("size", "stride"), [((2, 2), (2, 2)), ((3, 2), (2, 1)), ((6, 5), (1, 1))])
def test_occlusion_is_what_the_score_loses_by_patch(
    path: Path, model: Model, size: tuple[int, int], stride: tuple[int, int]
) -> None:
    inputs = some_inputs()
    classes = np.argmax(model(inputs), axis=-1)
    lost = np.zeros(inputs.shape[:3], np.float32)
    covers = np.zeros(inputs.shape[1:3], np.float32)
    for top in range(0, SHAPE[0] - size[0] + 1, stride[0]):
        for left in range(0, SHAPE[1] - size[1] + 1, stride[1]):
            rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
            covered = inputs.copy()
            covered[:, rows, columns] = 0.25
            less = scores_of(model, inputs, classes) - scores_of(model, covered, classes)
            lost[:, rows, columns] += less[:, np.newaxis, np.newaxis]
            covers[rows, columns] += 1
    method = {"occlusion": {"patch_size": size, "patch_stride": stride, "occlusion_value": 0.25}}
    found = maps_of(explained(path, inputs, method))
    close(found, (lost / np.maximum(covers, 1)).astype(np.float32))
    assert (found[:, covers == 0] == 0).all()


def test_rise_is_the_mean_score_by_mask(path: Path, model: Model) -> None:
    inputs = some_inputs()
    classes = np.argmax(model(inputs), axis=-1)
    expected = np.zeros(inputs.shape[:3], np.float32)
    for step in range(1, 9):
        mask = slow_mask(step)
        expected += scores_of(model, inputs * mask[..., np.newaxis], classes)[:, None, None] * mask
    close(maps_of(explained(path, inputs, {"rise": RISE})), expected / (8 * 0.4))


def slow_mask(step: int) -> Array:
    """A 2 x 2 grid, upsampled to three cells of 3 x 3 a side, shifted and cut to 6 x 5."""
    key = random_key(5, step)
    drawn = tf.raw_ops.StatelessRandomUniformV2(shape=[6], key=key[:1], counter=key[1:], alg=1)
    numbers = np.asarray(drawn)
    grid = (numbers[:4] < 0.4).astype(np.float32).reshape(2, 2)
    large = np.empty((9, 9), np.float32)
    for y in range(9):
        for x in range(9):
            down, across = ((each + 0.5) * 2 / 9 - 0.5 for each in (y, x))
            top, left = math.floor(down), math.floor(across)
            large[y, x] = sum(
                (1 - abs(down - row))
                * (1 - abs(across - column))
                * grid[min(max(row, 0), 1), min(max(column, 0), 1)]
                for row in (top, top + 1)
                for column in (left, left + 1)
            )
    top, left = (int(each) for each in np.floor(numbers[4:] * 3))
    return large[top : top + 6, left : left + 5]


def test_an_ignored_pixel_has_no_part(tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    weights = np.random.default_rng(0).normal(size=(np.prod(SHAPE), CLASSES))
    weights = weights.reshape(*SHAPE, CLASSES)
    weights[2, 3] = 0
    dense = keras.layers.Dense(CLASSES)
    linear = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), dense])
    dense.set_weights([weights.reshape(-1, CLASSES), np.zeros(CLASSES)])
    linear.save(tmp_path / "linear.keras")
    inputs = some_inputs()
    method = {"occlusion": {"patch_size": 1, "patch_stride": 1}}
    found = explained(tmp_path / "linear.keras", inputs, method)
    classes = [each[0].target for each in found]
    expected = np.stack([(inputs[row] * weights[..., c]).sum(-1) for row, c in enumerate(classes)])
    maps = maps_of(found)
    np.testing.assert_allclose(maps, expected, atol=2e-5)
    assert np.abs(maps[:, 2, 3]).max() < 2e-6


def test_rise_does_not_depend_on_batch_mates(path: Path) -> None:
    inputs = some_inputs()
    found = maps_of(explained(path, inputs, {"rise": RISE}))
    reverse = maps_of(explained(path, inputs[::-1], {"rise": RISE}))
    np.testing.assert_array_equal(found, reverse[::-1])
    other = maps_of(explained(path, inputs, {"rise": {**RISE, "seed": 6}}))
    assert not np.array_equal(found, other)


@pytest.mark.parametrize("name", ["occlusion", "rise"])
@pytest.mark.parametrize("target", [{"top": 2}, {"class": 2}])
def test_openvino_makes_the_same_maps(path: Path, name: str, target: Any) -> None:
    pytest.importorskip("openvino")
    method = {"rise": RISE} if name == "rise" else name
    inputs = some_inputs()
    expected = maps_of(explained(path, inputs, method, target), -1)
    close(maps_of(explained(path, inputs, method, target, engine="openvino"), -1), expected)


@pytest.mark.parametrize("shape", [(16,), (4, 3)])
def test_tables_and_series_are_occluded(shape: tuple[int, ...], tmp_path: Path) -> None:
    layers = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3, "tanh")]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    inputs = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    found = maps_of(explained(tmp_path / "model.keras", inputs, "occlusion"))
    assert found.shape == inputs.shape
    assert np.abs(found).min() > 0


@pytest.mark.parametrize(
    ("document", "shape", "message"),
    [
        ({"occlusion": {"patch_size": 9}}, (8, 8, 3), r"patch_size is \[9, 9\]; the input's pos"),
        ({"occlusion": {"patch_size": 0}}, (8, 8, 3), "patch_size is 0; give an integer of at le"),
        ({"occlusion": {"occlusion_value": [1, 2]}}, (8, 8, 3), "have 3 channels: give 3 numbers"),
        ({"rise": {"grid_size": 9}}, (8, 8, 3), r"grid_size is \[9, 9\]; the input's positions"),
        ({"rise": {"samples": 0}}, (8, 8, 3), "samples is 0; give an integer of at least 1"),
        ({"rise": {"preservation_probability": 0}}, (8, 8, 3), "give a number above 0"),
        ({"rise": {}}, (8,), "which masks a grid of positions, but source.input.shape"),
    ],
)
def test_what_does_not_fit_the_inputs_is_refused(
    document: Any, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        find_method(document).of_inputs(InputSpec("tensor", shape))


def test_calls_are_counted() -> None:
    image = InputSpec("image", (224, 224, 3))
    patches = {"occlusion": {"patch_size": 3, "patch_stride": 3}}
    assert find_method(patches).of_inputs(image).calls == 5477
    assert find_method("occlusion").of_inputs(image).parameters == {
        "patch_size": (28, 28),
        "patch_stride": (14, 14),
        "occlusion_value": 127.5,
    }
    assert find_method("rise").of_inputs(image).calls == 4001
    assert COUNT > 2
