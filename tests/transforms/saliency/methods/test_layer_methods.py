"""Grad-CAM and Grad-CAM++ against slow references written from their papers, and their layers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from explained import CLASSES, COUNT, Array, explained, maps_of

from transforms.errors import ConfigurationError
from transforms.formats.source import InputSpec
from transforms.models.loading import ModelSpec, load_model
from transforms.saliency.activations import ActivationLayer
from transforms.saliency.methods import find_method
from transforms.saliency.program import ProgramSpec, find_layer_of
from transforms.saliency.scores.operators import output_reading
from transforms.saliency.scores.targets import TargetSpec
from transforms.storage import LocalStorage

SHAPE = (12, 10, 3)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nested") / "model.keras"


@pytest.fixture(scope="module")
def model(path: Path) -> keras.Model:
    """A model inside a model; the places of its last layer are 4 x 3."""
    keras.utils.set_random_seed(11)
    k = keras.layers
    inside = keras.Sequential(
        [
            keras.Input(SHAPE),
            k.Conv2D(6, 3, activation="tanh", name="first"),
            k.AveragePooling2D(2, name="halved"),
            k.Conv2D(5, 2, activation="softplus", name="last"),
        ],
        name="inside",
    )
    inputs = keras.Input(SHAPE)
    hidden = k.Dropout(0.5, name="nothing")(inside(inputs))
    hidden = k.GlobalAveragePooling2D(keepdims=True, name="pooled")(hidden)
    hidden = k.Dense(6, activation="tanh", name="hidden")(hidden)
    outputs = k.Dense(CLASSES, name="logits")(k.Flatten()(hidden))
    made = keras.Model(inputs, outputs)
    made.save(path)
    return made


def some_inputs(shape: tuple[int, ...] = SHAPE) -> Array:
    return np.random.default_rng(3).normal(size=(COUNT, *shape)).astype(np.float32)


def layer_gradients(model: Any, inputs: Array, weights: Array) -> tuple[Array, Array]:
    """Activations of `last` (N, h, w, c), and the gradient of the weighed outputs by them."""
    inside = model.get_layer("inside")
    activations = keras.Model(inside.inputs, inside.get_layer("last").output)(inputs)
    with tf.GradientTape() as tape:
        tape.watch(activations)
        hidden = model.get_layer("hidden")(model.get_layer("pooled")(activations))
        outputs = model.get_layer("logits")(tf.reshape(hidden, (len(inputs), -1)))
        scores = tf.reduce_sum(outputs * weights, axis=-1)
    return np.asarray(activations), np.asarray(tape.gradient(scores, activations))


def slow_grad_cam(activations: Array, gradients: Array) -> Array:
    """(h, w) of one example's (h, w, c)."""
    found = np.zeros(activations.shape[:2])
    for channel in range(activations.shape[2]):
        found += gradients[..., channel].mean() * activations[..., channel].astype(np.float64)
    return found.astype(np.float32)


def slow_grad_cam_pp(activations: Array, gradients: Array) -> Array:
    """The same by the second and third derivatives of exp(g), less the factor exp(g)."""
    found = np.zeros(activations.shape[:2])
    for channel in range(activations.shape[2]):
        whole = activations[..., channel].astype(np.float64).sum()
        weight = 0.0
        for first in gradients[..., channel].astype(np.float64).ravel():
            second, third = first**2, first**3
            weight += second / (2 * second + whole * third) * max(first, 0)
        found += weight * activations[..., channel]
    return found.astype(np.float32)


def slow_resize(values: Array, height: int, width: int) -> Array:
    """Bilinear interpolation between the centres of cells."""
    found = np.empty((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            down = (y + 0.5) * values.shape[0] / height - 0.5
            across = (x + 0.5) * values.shape[1] / width - 0.5
            top, left = math.floor(down), math.floor(across)
            found[y, x] = sum(
                (1 - abs(down - row))
                * (1 - abs(across - column))
                * values[
                    min(max(row, 0), values.shape[0] - 1),
                    min(max(column, 0), values.shape[1] - 1),
                ]
                for row in (top, top + 1)
                for column in (left, left + 1)
            )
    return found


SLOW = {"grad_cam": slow_grad_cam, "grad_cam_pp": slow_grad_cam_pp}


def slow_maps(name: str, model: Any, inputs: Array, weights: Array, sign: str) -> Array:
    activations, gradients = layer_gradients(model, inputs, weights)
    maps = [SLOW[name](*pair) for pair in zip(activations, gradients, strict=True)]
    kept = [np.maximum(each, 0) if sign == "positive" else each for each in maps]
    return np.stack([slow_resize(each, *SHAPE[:2]) for each in kept])


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", sorted(SLOW))
@pytest.mark.parametrize("sign", ["positive", "signed"])
def test_maps_are_those_of_the_paper(path: Path, model: keras.Model, name: str, sign: Any) -> None:
    inputs = some_inputs()
    classes = np.argmax(model(inputs), axis=-1)
    expected = slow_maps(name, model, inputs, np.eye(CLASSES, dtype="f")[classes], sign)
    close(maps_of(explained(path, inputs, name, sign=sign)), expected)


def contrast(model: Any, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Twice the target's output, less the first class's."""
    outputs = model(inputs)
    return 2 * tf.reduce_sum(outputs * targets, axis=-1) - outputs[:, 0]


@pytest.mark.parametrize("name", sorted(SLOW))
def test_the_operators_score_is_differentiated(path: Path, model: keras.Model, name: str) -> None:
    inputs = some_inputs()
    weights = np.tile(np.array([-1, 0, 2, 0], np.float32), (COUNT, 1))
    operator = "test_layer_methods:contrast"
    found = maps_of(explained(path, inputs, name, {"class": 2}, operator=operator))
    close(found, slow_maps(name, model, inputs, weights, "positive"))


def test_a_convolution_an_average_and_a_dense_layer_have_a_closed_form(tmp_path: Path) -> None:
    keras.utils.set_random_seed(5)
    k = keras.layers
    dense = k.Dense(3, bias_initializer="normal")
    layers = [k.Conv2D(4, 3, padding="same", activation="relu"), k.GlobalAveragePooling2D(), dense]
    model = keras.Sequential([keras.Input((6, 5, 2)), *layers])
    model.save(tmp_path / "model.keras")
    inputs = some_inputs((6, 5, 2))
    activations = np.asarray(model.layers[0](inputs))
    for target in range(3):
        expected = activations @ dense.kernel.numpy()[:, target] / 30
        found = explained(tmp_path / "model.keras", inputs, "grad_cam", {"class": target})
        close(maps_of(found), np.maximum(expected, 0))


def test_maps_do_not_depend_on_batch_mates(path: Path, model: keras.Model) -> None:
    del model
    inputs = some_inputs()
    found = maps_of(explained(path, inputs, "grad_cam"))
    reverse = maps_of(explained(path, inputs[::-1], "grad_cam"))
    np.testing.assert_array_equal(found, reverse[::-1])


@pytest.mark.parametrize("target", [{"top": 2}, {"class": 2}])
def test_openvino_makes_the_same_maps(path: Path, model: keras.Model, target: Any) -> None:
    pytest.importorskip("openvino")
    del model
    inputs = some_inputs()
    expected = maps_of(explained(path, inputs, "grad_cam_pp", target), -1)
    close(maps_of(explained(path, inputs, "grad_cam_pp", target, engine="openvino"), -1), expected)


def found_layer(
    path: Path,
    layer: str | int | None = None,
    shape: tuple[int, ...] = SHAPE,
    operator: str = "classification",
    channels: Any = None,
    **model: Any,
) -> ActivationLayer:
    spec = ProgramSpec(
        inputs=InputSpec("tensor", shape, channels=channels),
        target=TargetSpec("class", 0),
        operator=operator,
        reducer=None,
        codec="uint8",
        batch_size=2,
        method=find_method("grad_cam"),
        layer=layer,
    )
    loaded = load_model(ModelSpec(str(path), input_shape=shape, **model), LocalStorage())
    found = find_layer_of(loaded.read_as(output_reading(operator)), spec).layer
    assert isinstance(found, ActivationLayer)
    return found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, ActivationLayer("inside/last", (4, 3, 5))),
        ("last", ActivationLayer("inside/last", (4, 3, 5))),
        ("inside/first", ActivationLayer("inside/first", (10, 8, 6))),
        ("inside", ActivationLayer("inside", (4, 3, 5))),
        (-5, ActivationLayer("nothing", (4, 3, 5))),
    ],
)
def test_layers_are_found_by_name_path_and_number(
    path: Path, model: keras.Model, given: Any, found: ActivationLayer
) -> None:
    del model
    assert found_layer(path, given) == found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("lost", r"explain\.layer: model '.*' has no layer 'lost'; choose one of: inside/last, "),
        (77, r"explain\.layer 77 is out of range"),
        (
            "hidden",
            r"returns \(2, 1, 1, 6\) for 2 examples, but .* larger than 1 x 1; choose",
        ),
        ("logits", r"'logits' of .* returns \(2, 4\) .* choose one of: nothing, inside, inside/l"),
    ],
)
def test_a_layer_that_has_no_places_is_refused(
    path: Path, model: keras.Model, given: Any, message: str
) -> None:
    del model
    with pytest.raises(ConfigurationError, match=message):
        found_layer(path, given)


def total(model: Any, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """The sum of the outputs."""
    del targets
    outputs = model(inputs)
    return tf.reduce_sum(outputs, axis=list(range(1, outputs.shape.rank)))


def test_only_layers_before_the_explained_one_are_taken(path: Path, model: keras.Model) -> None:
    del model
    before = found_layer(path, output_layer="inside/last", operator="test_layer_methods:total")
    assert before.path == "inside/halved"
    explained_layer: dict[str, Any] = {
        "output_layer": "inside/first",
        "operator": "test_layer_methods:total",
    }
    with pytest.raises(ConfigurationError, match="has none before the explained output that ret"):
        found_layer(path, **explained_layer)
    with pytest.raises(ConfigurationError, match=r"'inside/last' of .* does not change the score"):
        found_layer(path, "last", **explained_layer)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("output", ["as_is", "logits"])
def test_what_a_segmentation_returns_is_not_its_own_reason(
    classes: int, output: Any, tmp_path: Path
) -> None:
    k = keras.layers
    activation = "sigmoid" if classes == 1 else "softmax"
    layers = [k.Conv2D(4, 3, padding="same", name="body"), k.Conv2D(classes, 1, name="head")]
    stack = [keras.Input((6, 5, 2)), *layers, k.Activation(activation, name="last")]
    keras.Sequential(stack).save(tmp_path / "model.keras")
    given: dict[str, Any] = {"shape": (6, 5, 2), "operator": "segmentation", "output": output}
    found = found_layer(tmp_path / "model.keras", **given)
    assert found.path == ("body" if output == "logits" else "head")


@pytest.mark.parametrize("is_within", [False, True])
def test_channels_come_last_wherever_a_model_has_them(is_within: bool, tmp_path: Path) -> None:
    """The same weights, with images channels last and first."""
    keras.utils.set_random_seed(3)
    k = keras.layers
    convolution, dense = k.Conv2D(4, 3, activation="relu"), k.Dense(3)
    keras.Sequential([keras.Input((6, 5, 2)), convolution, k.GlobalAveragePooling2D(), dense]).save(
        tmp_path / "last.keras"
    )
    if is_within:  # the model has them first throughout
        body = [k.Conv2D(4, 3, activation="relu", data_format="channels_first", name="body")]
        pooled = k.GlobalAveragePooling2D(data_format="channels_first")
    else:
        body = [k.Permute((2, 3, 1)), k.Conv2D(4, 3, activation="relu", name="body")]
        pooled = k.GlobalAveragePooling2D()
    head = k.Dense(3)
    model = keras.Sequential([keras.Input((2, 6, 5)), *body, pooled, head])
    body[-1].set_weights(convolution.get_weights())
    head.set_weights(dense.get_weights())
    model.save(tmp_path / "first.keras")
    layer = found_layer(tmp_path / "first.keras", shape=(2, 6, 5), channels="first")
    assert layer == ActivationLayer("body", (4, 3, 4), channels_first=is_within)
    inputs = some_inputs((6, 5, 2))
    expected = maps_of(explained(tmp_path / "last.keras", inputs, "grad_cam"))
    first = np.moveaxis(inputs, -1, 1)
    found = explained(tmp_path / "first.keras", first, "grad_cam", channels="first")
    close(maps_of(found), expected)


def test_models_without_layers_are_refused(tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    k = keras.layers
    model = keras.Sequential([keras.Input(SHAPE), k.Conv2D(4, 3), k.Flatten(), k.Dense(3)])
    model.export(tmp_path / "saved", verbose=False)
    with pytest.raises(ConfigurationError, match="is a SavedModel, which keeps no layers: give th"):
        found_layer(tmp_path / "saved")
    bytes_in = keras.Input(SHAPE, dtype="uint8")
    keras.Model(bytes_in, model(k.Rescaling(1 / 255)(bytes_in))).save(tmp_path / "bytes.keras")
    with pytest.raises(ConfigurationError, match="takes uint8, and its layers are out of reach: e"):
        found_layer(tmp_path / "bytes.keras")
    table = keras.Sequential([keras.Input((6,)), k.Dense(3)])
    table.save(tmp_path / "table.keras")
    with pytest.raises(ConfigurationError, match="has none before the explained output that ret"):
        found_layer(tmp_path / "table.keras", shape=(6,))


def test_inputs_without_two_sides_are_refused() -> None:
    for name in sorted(SLOW):
        with pytest.raises(ConfigurationError, match=f"'{name}', whose maps have two sides, but"):
            find_method(name).of_inputs(InputSpec("tensor", (6,)))


def test_a_map_that_is_all_zero_has_no_statistics(path: Path, model: keras.Model) -> None:
    del model
    found = explained(path, some_inputs(), "grad_cam", operator="test_layer_methods:nothing")
    assert not maps_of(found).any()
    assert {each[0].statistics["entropy"] for each in found} == {None}


def nothing(model: Any, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """A score with a gradient that is zero."""
    return 0 * contrast(model, inputs, targets)
