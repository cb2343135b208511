from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from explained import SHAPE, smooth_model, some_inputs

from transforms.formats.source import InputSpec
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.saliency.contract.method import MapForm
from transforms.saliency.engines.engine import EngineSpec, compile_attribution
from transforms.saliency.examples import explain_spec
from transforms.saliency.methods.saliency import METHOD
from transforms.saliency.program import attribution_function
from transforms.saliency.reducers import Reducer
from transforms.storage import LocalStorage

GRADIENTS = tf.constant([[[[1.0, -4.0, 2.0], [0.0, 0.5, -0.25]]]])
"""(1, 1, 2, 3): one image of two pixels."""


@pytest.mark.parametrize(
    ("reducer", "expected"),
    [
        ("max", [4.0, 0.5]),
        ("mean", [7.0 / 3, 0.25]),
        ("min", [1.0, 0.0]),
        ("sum", [7.0, 0.75]),
        ("none", [1.0, 4.0, 2.0, 0.0, 0.5, 0.25]),
    ],
)
def test_magnitudes_are_taken_before_channels_are_reduced(
    reducer: Reducer, expected: list[float]
) -> None:
    maps = METHOD().maps(GRADIENTS, MapForm("absolute", reducer, (1, 2)))

    assert maps.shape[:-1] == (1, 1, 2)
    np.testing.assert_allclose(np.ravel(maps), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 3)])
def test_tables_and_series_keep_their_shape(shape: tuple[int, ...]) -> None:
    gradients = tf.reshape(GRADIENTS, shape)

    maps = METHOD().maps(gradients, MapForm("absolute", "max", shape[1:]))
    np.testing.assert_array_equal(maps, np.abs(gradients))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    path = tmp_path_factory.mktemp("model") / "model.keras"
    smooth_model(Path(path))
    return load_model(ModelSpec(str(path)), LocalStorage()).read_as("classes")


def computed(model: LoadedModel, engine: str, inputs: Any, **options: Any) -> Any:
    """What an engine hands over of gradients, (2, 2, 6, 5, channels) for the two top classes."""
    given = InputSpec("tensor", SHAPE, channels="last")
    spec = explain_spec("not loaded", given, {"top": 2}, batch_size=2, **options).program
    named = EngineSpec(engine, threads=1)
    compiled = _compiled(model, dataclasses.replace(spec, engine=named))
    return np.asarray(compiled.run(inputs, np.zeros(2, np.int32)).gradients)


@functools.cache
def _compiled(model: LoadedModel, spec: Any) -> Any:
    return compile_attribution(attribution_function(model, spec), spec.engine)


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_the_largest_magnitudes_are_all_that_leaves_the_engine(
    model: LoadedModel, engine: str
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    inputs = some_inputs()[:2]
    gradients = computed(model, engine, inputs, sign="signed", reducer="max")
    assert gradients.shape == (2, 2, *SHAPE)
    assert (gradients < 0).any()
    handed = computed(model, engine, inputs)
    np.testing.assert_array_equal(handed, np.abs(gradients).max(axis=-1, keepdims=True))

    inputs[1, 2, 3, 1] = np.nan
    finite = np.isfinite(computed(model, engine, inputs, sign="signed", reducer="max")).all(axis=-1)
    handed = computed(model, engine, inputs)
    np.testing.assert_array_equal(np.isfinite(handed)[..., 0], finite)
    assert finite[0].all()
    assert not finite[1].all()


@pytest.mark.parametrize(
    "options",
    [
        {"reducer": "none"},
        {"reducer": "sum"},
        {"sign": "positive"},
        {"sign": "signed"},
        {"method": "gradient_input", "sign": "absolute", "reducer": "max"},
        {"method": {"smoothgrad": {"noise": 1.0}}, "sign": "absolute", "reducer": "max"},
    ],
    ids=str,
)
def test_whatever_needs_more_of_gradients_gets_them(
    model: LoadedModel, options: dict[str, Any]
) -> None:
    gradients = computed(model, "tensorflow", some_inputs()[:2], **options)
    assert gradients.shape == (2, 2, *SHAPE)
