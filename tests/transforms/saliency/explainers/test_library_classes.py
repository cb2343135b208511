"""Explainers in memory make the maps of a run, by Xplique's names and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

import transforms
from transforms import Example, InputSpec, explain_spec
from transforms.errors import ConfigurationError
from transforms.saliency.block import load_explainer
from transforms.saliency.examples import explain_examples
from transforms.storage import LocalStorage

SHAPE, CLASSES, COUNT = (8, 7, 3), 4, 5

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("GradientInput", {}, {"gradient_input": {}}),
    (
        "IntegratedGradients",
        {"steps": 5, "baseline_value": [0.5, 0, 1]},
        {"integrated_gradients": {"steps": 5, "baseline": [0.5, 0, 1]}},
    ),
    (
        "SmoothGrad",
        {"nb_samples": 3, "noise": 0.3, "seed": 2},
        {"smoothgrad": {"samples": 3, "noise": 0.3, "seed": 2}},
    ),
    ("SquareGrad", {"nb_samples": 3}, {"squaregrad": {"samples": 3, "noise": 0.2}}),
    ("VarGrad", {"nb_samples": 3}, {"vargrad": {"samples": 3, "noise": 0.2}}),
    ("GradCAM", {}, {"grad_cam": {}}),
    ("GradCAMPP", {"conv_layer": "first"}, {"grad_cam_pp": {}}),
    (
        "Occlusion",
        {"patch_size": (3, 2), "patch_stride": 2, "occlusion_value": 0.5},
        {"occlusion": {"patch_size": [3, 2], "patch_stride": 2, "occlusion_value": 0.5}},
    ),
    (
        "Rise",
        {"nb_samples": 6, "grid_size": 3, "preservation_probability": 0.4, "mask_value": 0.1},
        {"rise": {"samples": 6, "grid_size": 3, "preservation_probability": 0.4}},
    ),
]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(7)
    k = keras.layers
    layers = [
        k.Conv2D(4, 3, activation="tanh", name="first"),
        k.Conv2D(3, 2, activation="softplus"),
        k.Flatten(),
        k.Dense(CLASSES, name="logits"),
        k.Softmax(),
    ]
    return keras.Sequential([keras.Input(SHAPE), *layers])


@pytest.fixture(scope="module")
def path(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return path


INPUTS = np.random.default_rng(3).normal(size=(COUNT, *SHAPE)).astype(np.float32)
LABELS = [3, 1, 0, 2, 1]


def by_a_run(path: Path, method: Mapping[str, Any], **given: Any) -> npt.NDArray[np.float32]:
    """Maps of a run whose examples are called by their positions."""
    spec = explain_spec(
        str(path),
        InputSpec("tensor", SHAPE),
        "label",
        method=method,
        output_layer="logits",
        codec="float32",
        batch_size=2,
        **given,
    )
    examples = [
        Example(str(row), each, label)
        for row, (each, label) in enumerate(zip(INPUTS, LABELS, strict=True))
    ]
    found = explain_examples(load_explainer(spec, LocalStorage()), examples)
    return np.stack([each[0].map for each in found if isinstance(each, tuple)])


@pytest.mark.parametrize(("name", "arguments", "method"), CASES)
def test_a_class_makes_the_maps_of_a_run(
    model: keras.Model,
    path: Path,
    name: str,
    arguments: dict[str, Any],
    method: dict[str, dict[str, Any]],
) -> None:
    if "rise" in method:
        method["rise"]["mask_value"] = 0.1
    given = {"layer": "first"} if "conv_layer" in arguments else {}
    expected = by_a_run(path, method, **given)
    explainer = getattr(transforms, name)(model, output_layer="logits", batch_size=3, **arguments)
    found = explainer.explain(INPUTS, tf.one_hot(LABELS, CLASSES))
    assert found.shape == (COUNT, *SHAPE[:2], 1)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found[..., 0], expected, rtol=0, atol=1e-5 * largest)


def test_what_does_not_fit_is_refused(model: keras.Model) -> None:
    targets = tf.one_hot(LABELS, CLASSES)
    explainer = transforms.GradCAM(model, "logits", conv_layer="lost")
    with pytest.raises(ConfigurationError, match=r"conv_layer: model .* has no layer 'lost'; choo"):
        explainer.explain(INPUTS, targets)
    function = transforms.GradCAM(lambda inputs: inputs[:, 0, 0])
    with pytest.raises(ConfigurationError, match="has no layers: give a Keras model, or choose a "):
        function.explain(INPUTS, tf.one_hot([0] * COUNT, 3))
    with pytest.raises(ConfigurationError, match=r"steps is 0; give an integer of at least 2"):
        transforms.IntegratedGradients(model, steps=0)


@pytest.mark.parametrize(
    "name", ["IntegratedGradients.baseline_value", "Occlusion.occlusion_value"]
)
def test_values_may_be_numpy_s(name: str, model: keras.Model) -> None:
    of, _, parameter = name.partition(".")
    cases = [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.array(2), 2.0),
        (np.array([0.5, 1.0], np.float32), (0.5, 1.0)),
        ([0.5, np.float32(1)], (0.5, 1.0)),
    ]
    for value, expected in cases:
        method = getattr(transforms, of)(model, **{parameter: value})._method
        assert expected in method.parameters.values()
    others: list[Any] = ["a", np.array(["a"]), np.array([[1.0]]), np.nan, [], True]
    for refused in others:
        with pytest.raises(ConfigurationError, match="give a number, or a list with one per chann"):
            getattr(transforms, of)(model, **{parameter: refused})
