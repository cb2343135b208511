"""Exact decisions, cheap products: the forward pass in float32, products that go back in bfloat16.

What low precision ruins is the forward pass: units near an activation's kink flip, and so do maxima
and predictions. With these decided in float32 the backward pass is linear, and rounding its
operands leaves the order of a map's values nearly as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from transforms.saliency.engines.rewriting.graph_copy import Rewrite
from transforms.saliency.engines.rewriting.matrix_precision import in_low_precision

if TYPE_CHECKING:
    import tensorflow as tf

BACKWARD_PRODUCTS = (
    "BatchMatMulV2",
    "BatchMatMulV3",
    "Conv2D",  # The gradient of a transposed convolution
    "Conv2DBackpropInput",
    "Conv3D",
    "Conv3DBackpropInputV2",
    "Einsum",
    "MatMul",
)

DEPTHWISE = "DepthwiseConv2dNativeBackpropInput"
"""OpenVINO gains by it, TensorFlow loses on CPUs: 38 images/s for 60 with MobileNetV2."""

_EXACT_RESULTS = 3  # outputs, targets, scores; gradients come after them


def mixed_rewrites(
    frozen: Any, types: Collection[str], rewrites: Mapping[str, Rewrite]
) -> dict[str, Rewrite]:
    """Rewrites that compute the products of the backward pass with bfloat16 operands.

    An operation belongs to the backward pass if neither outputs nor targets nor scores depend on
    it; what both passes share stays as it is.

    Args:
      frozen: The gradient; it returns `Attribution.fields`.
      types: The types of operation to compute so.
      rewrites: How operations are written otherwise; these are written so, too.
    """
    forward = _ancestors(frozen.outputs[:_EXACT_RESULTS])

    def mixed(operation: Any, *inputs: tf.Tensor) -> Any:
        import tensorflow as tf

        rewrite = rewrites.get(operation.type)
        if operation.name in forward or operation.outputs[0].dtype != tf.float32:
            return rewrite(operation, *inputs) if rewrite else None
        if rewrite:
            low = [tf.cast(x, tf.bfloat16) if x.dtype == tf.float32 else x for x in inputs]
            result = rewrite(operation, *low)
            if result is not None:
                return tf.cast(result, tf.float32)
        return in_low_precision(operation, tf.bfloat16, *inputs)

    return {**rewrites, **dict.fromkeys(types, mixed)}


def _ancestors(tensors: Collection[tf.Tensor]) -> set[str]:
    """Names of the operations that tensors depend on."""
    found: set[str] = set()
    waiting = [tensor.op for tensor in tensors]
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found.add(operation.name)
            waiting += [tensor.op for tensor in operation.inputs]
    return found
