"""The tensorflow engine: TensorFlow's own gradient, variables frozen, with XLA on GPUs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from transforms.models.devices import has_gpu
from transforms.saliency.attribution import Attribution, AttributionFunction
from transforms.saliency.engines.engine import (
    CompiledAttribution,
    EngineSpec,
    EngineUnavailableError,
    Inputs,
    Precision,
)
from transforms.saliency.engines.rewriting.freezing import NotFreezableError, find_effect, freeze
from transforms.saliency.engines.rewriting.graph_copy import NotCopyableError, copy_graph
from transforms.saliency.engines.rewriting.matrix_precision import LOSS_SCALES, matrix_rewrites
from transforms.saliency.engines.rewriting.mixed_precision import BACKWARD_PRODUCTS, mixed_rewrites

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class TensorFlowEngine:
    """Runs on whatever TensorFlow runs on.

    Attributes:
      xla: Whether XLA compiles; None: where there is a GPU. On CPUs it made networks for images
        slower, up to ten times.
      frozen: Whether weights become constants, which is faster on CPUs; otherwise what is compiled
        computes with those that the model has at the time.
    """

    xla: bool | None = None
    frozen: bool = True

    def compile(self, function: AttributionFunction, spec: EngineSpec) -> CompiledAttribution:
        """Traces, freezes, and compiles; see `Engine`."""
        import tensorflow as tf

        xla = has_gpu() if self.xla is None else self.xla
        # A trace for any batch size is as fast on CPUs; XLA and rewriting need to know it.
        any_size = function.separable and not xla and spec.precision == "float32"
        size = None if any_size else function.batch_size
        precision = cast(Precision, spec.precision)
        traced = function.trace(size, LOSS_SCALES[precision])
        notes: list[str] = []
        if spec.precision != "float32":
            call = _in_precision(traced, precision)
        elif xla or not self.frozen:
            call = traced  # XLA takes weights as arguments: as constants they slow its compiler.
        else:
            call = _frozen(traced, notes)
        if xla and find_effect(traced) is None:  # XLA would leave effects out.
            call = _with_xla(call, function, notes)

        def run(
            inputs: Inputs, labels: npt.NDArray[np.int32], *beside: npt.NDArray[Any]
        ) -> Attribution:
            given = tf.cast(tf.convert_to_tensor(inputs), tf.float32)  # On the device.
            return Attribution(*call(given, *map(tf.convert_to_tensor, (labels, *beside))))

        return CompiledAttribution(run, tuple(notes), step=1 if any_size else None)


def _frozen(traced: Any, notes: list[str]) -> Any:
    try:
        return freeze(traced)
    except NotFreezableError as error:
        notes.append(f"the gradient is not frozen: {error}")
        return traced


def _in_precision(traced: Any, precision: Precision) -> Any:
    """The function with its matrix products in another precision."""
    import tensorflow as tf

    try:
        frozen = freeze(traced)

        rewrites = (
            mixed_rewrites(frozen, BACKWARD_PRODUCTS, {})
            if precision == "mixed"
            else matrix_rewrites(precision)
        )

        def copied(*inputs: tf.Tensor) -> list[tf.Tensor]:
            return copy_graph(frozen, inputs, rewrites)

        signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in frozen.inputs]
        compiled = tf.function(copied, input_signature=signature, autograph=False)
        return compiled.get_concrete_function()
    except (NotFreezableError, NotCopyableError) as error:
        raise EngineUnavailableError(f"explain.precision {precision}: {error}") from error


def _with_xla(call: Any, function: AttributionFunction, notes: list[str]) -> Any:
    """The function compiled by XLA; as it is where XLA lacks one of its operations."""
    import tensorflow as tf

    compiled = tf.function(call, jit_compile=True, autograph=False)
    size = function.batch_size
    try:
        labels = tf.zeros((size, *function.label_shape), tf.int32)
        beside = [tf.zeros((size, *shape), dtype) for shape, dtype in function.beside]
        compiled(tf.zeros((size, *function.shape)), labels, *beside)
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        notes.append(f"XLA does not compile this model: {str(error).splitlines()[0]}")
        return call
    return compiled


ENGINE = TensorFlowEngine()
