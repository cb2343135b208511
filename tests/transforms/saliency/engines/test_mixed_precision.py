"""Mixed precision: the forward pass to the last bit of float32, the backward pass rounded."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gradients import batch_of, gradient_of, plain, run_engine

from transforms.errors import ConfigurationError
from transforms.formats.source import InputSpec
from transforms.saliency.engines.engine import EngineSpec
from transforms.saliency.engines.rewriting.freezing import freeze
from transforms.saliency.engines.rewriting.graph_copy import copy_graph
from transforms.saliency.engines.rewriting.mixed_precision import BACKWARD_PRODUCTS, mixed_rewrites
from transforms.saliency.engines.tensorflow_engine import TensorFlowEngine
from transforms.saliency.methods.occlusion import OcclusionMethod
from transforms.saliency.program import ProgramSpec
from transforms.saliency.scores.targets import TargetSpec

SHAPE = (12, 12, 3)


def _transposed_convolution() -> keras.Model:
    """Its forward pass holds the operation that is a convolution's gradient."""
    keras.utils.set_random_seed(5)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Conv2DTranspose(6, 3, strides=2, activation="relu"),
            layers.DepthwiseConv2D(3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_decisions_are_exact_and_gradients_nearly(engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    function = gradient_of(_transposed_convolution(), SHAPE, batch_size=4)
    exact = run_engine(engine, function)
    found = run_engine(engine, function, EngineSpec(engine, precision="mixed", threads=2))
    np.testing.assert_allclose(found.outputs, exact.outputs, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(found.scores, exact.scores, rtol=2e-6, atol=1e-7)
    expected = plain(function).gradients
    error = np.abs(found.gradients - expected).max() / np.abs(expected).max()
    assert 1e-5 < error < 0.03
    assert found.gradients.dtype == np.float32


def test_only_what_no_score_depends_on_is_rounded() -> None:
    frozen = freeze(gradient_of(_transposed_convolution(), SHAPE).trace(2))
    rewrites = mixed_rewrites(frozen, BACKWARD_PRODUCTS, {})

    def copied(*inputs: tf.Tensor) -> list[tf.Tensor]:
        return copy_graph(frozen, inputs, rewrites)

    signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in frozen.inputs]
    made = tf.function(copied, input_signature=signature, autograph=False).get_concrete_function()
    types: dict[Any, list[str]] = {tf.float32: [], tf.bfloat16: []}
    for operation in made.graph.get_operations():
        if operation.type in BACKWARD_PRODUCTS:
            types[operation.outputs[0].dtype].append(operation.type)
    # One of each in either pass: a transposed convolution's gradient is a convolution.
    assert sorted(types[tf.float32]) == ["Conv2D", "Conv2DBackpropInput", "MatMul"]
    assert sorted(types[tf.bfloat16]) == ["Conv2D", "Conv2DBackpropInput", "MatMul"]


def test_xla_decides_as_float32_does_and_rounds_as_mixed_does() -> None:
    # On a CPU, as tests have no GPU; there it is used.
    function = gradient_of(_transposed_convolution(), SHAPE, batch_size=4, target="predicted")
    compiled = TensorFlowEngine(xla=True).compile(function, EngineSpec(precision="mixed"))
    assert compiled.notes == ()
    found = compiled.run(*batch_of(SHAPE, 4))
    exact, mixed = (
        plain(function),
        run_engine("tensorflow", function, EngineSpec(precision="mixed")),
    )
    np.testing.assert_array_equal(found.targets, exact.targets)
    np.testing.assert_allclose(found.outputs, exact.outputs, rtol=2e-6, atol=1e-7)
    for expected in (exact, mixed):
        error = np.abs(found.gradients - expected.gradients).max()
        assert error / np.abs(exact.gradients).max() < 0.03


def test_a_method_without_gradients_is_refused() -> None:
    spec = ProgramSpec(
        InputSpec("image", SHAPE), TargetSpec("predicted"), "classification", None, "uint8", 2
    )
    mixed = EngineSpec(precision="mixed")
    assert dataclasses.replace(spec, engine=mixed).engine == mixed
    with pytest.raises(ConfigurationError) as raised:
        dataclasses.replace(spec, engine=mixed, method=OcclusionMethod())
    assert str(raised.value) == (
        "explain.precision is 'mixed', but explain.method occlusion takes no gradient, and mixed "
        "is for the backward pass; choose float32"
    )
