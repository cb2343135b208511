"""Gradients for tests of engines: a function of inputs, and which of its outputs to explain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from transforms.saliency.attribution import TargetGradients, target_gradients
from transforms.saliency.engines.engine import EngineSpec, GradientFunction, find_engine
from transforms.saliency.scores.operators import Operator, classification
from transforms.saliency.scores.targets import TargetSpec

BATCH = 2


def gradient_of(
    model: Callable[[tf.Tensor], tf.Tensor],
    shape: tuple[int, ...],
    *,
    batch_size: int = BATCH,
    target: Any = "label",
    operator: Operator = classification,
    separable: bool = True,
) -> GradientFunction:
    """The gradient of a function that returns (N, outputs)."""
    rule = TargetSpec.parse(target)

    def call(inputs: tf.Tensor, labels: tf.Tensor, loss_scale: float) -> TargetGradients:
        def choose(outputs: tf.Tensor) -> tf.Tensor:
            return rule.classes(outputs, labels)

        return target_gradients(model, operator, inputs, choose, loss_scale)

    return GradientFunction(call, shape, batch_size, separable)


def batch_of(
    shape: tuple[int, ...], batch_size: int = BATCH
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Inputs and labels."""
    values = np.random.default_rng(0).normal(size=(batch_size, *shape))
    return values.astype(np.float32), np.arange(batch_size, dtype=np.int32) % 2


def run_engine(
    name: str, function: GradientFunction, spec: EngineSpec | None = None
) -> TargetGradients:
    """What an engine makes of a batch, as arrays."""
    compiled = find_engine(name).compile(function, spec or EngineSpec(name, threads=2))
    result = compiled.run(*batch_of(function.shape, function.batch_size))
    return TargetGradients(*(np.asarray(field) for field in result.fields))


def plain(function: GradientFunction) -> TargetGradients:
    """What TensorFlow makes of it, traced and nothing else."""
    traced = function.trace(function.batch_size)
    inputs, labels = batch_of(function.shape, function.batch_size)
    result = traced(tf.constant(inputs), tf.constant(labels))
    return TargetGradients(*(np.asarray(field) for field in result))
