"""Gradients for tests of engines: a function of inputs, and which of its outputs to explain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from transforms.saliency.attribution import Attribution, AttributionFunction, attribute
from transforms.saliency.engines.engine import EngineSpec, find_engine
from transforms.saliency.scores.operators import Operator, classification
from transforms.saliency.scores.targets import Targets, TargetSpec

BATCH = 2


def gradient_of(
    model: Callable[[tf.Tensor], tf.Tensor],
    shape: tuple[int, ...],
    *,
    batch_size: int = BATCH,
    target: Any = "label",
    operator: Operator = classification,
    separable: bool = True,
) -> AttributionFunction:
    """The gradient of a function that returns (N, outputs)."""
    rule = TargetSpec.parse(target)

    def call(inputs: tf.Tensor, labels: tf.Tensor, loss_scale: float) -> Attribution:
        def choose(outputs: tf.Tensor) -> Targets:
            return rule.choose(outputs, labels, outputs.shape[-1])

        return attribute(model, operator, inputs, choose, loss_scale)

    return AttributionFunction(call, shape, batch_size, separable)


def batch_of(
    shape: tuple[int, ...], batch_size: int = BATCH
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Inputs and labels."""
    values = np.random.default_rng(0).normal(size=(batch_size, *shape))
    return values.astype(np.float32), np.arange(batch_size, dtype=np.int32) % 2


def run_engine(
    name: str, function: AttributionFunction, spec: EngineSpec | None = None
) -> Attribution:
    """What an engine makes of a batch, as arrays."""
    compiled = find_engine(name).compile(function, spec or EngineSpec(name, threads=2))
    result = compiled.run(*batch_of(function.shape, function.batch_size))
    return Attribution(*(np.asarray(field) for field in result.fields))


def plain(function: AttributionFunction) -> Attribution:
    """What TensorFlow makes of it, traced and nothing else."""
    traced = function.trace(function.batch_size)
    inputs, labels = batch_of(function.shape, function.batch_size)
    result = traced(tf.constant(inputs), tf.constant(labels))
    return Attribution(*(np.asarray(field) for field in result))
