"""Lower precision where it pays: in what a device's matrix units compute.

Convolutions and matrix products take bfloat16 or float16 operands; all else stays float32, and so
do the sums between layers. Agreement with float32 is measured on real examples (`agreement`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transforms.saliency.engines.engine import Precision
from transforms.saliency.engines.rewriting.graph_copy import Rewrite

if TYPE_CHECKING:
    import tensorflow as tf

LOSS_SCALES: Mapping[Precision, float] = {
    "float32": 1.0,
    "mixed": 1.0,
    "bfloat16": 1.0,
    "float16": 2.0**10,
}
"""What scores are multiplied by before they are differentiated.

float16's smallest number is 6e-8, which gradients in deep networks fall below. Powers of two, so
that float32 loses nothing.
"""

_MATRIX_OPERATIONS = (
    "BatchMatMulV2",
    "BatchMatMulV3",
    "Conv2D",
    "Conv2DBackpropInput",
    "Conv3D",
    "Conv3DBackpropInputV2",
    "DepthwiseConv2dNative",
    "DepthwiseConv2dNativeBackpropInput",
    "Einsum",
    "MatMul",
)

_TYPES_OF_OPERANDS = ("T", "Ta", "Tb", "Tout")


def matrix_rewrites(precision: Precision) -> dict[str, Rewrite]:
    """Rewrites that compute matrix products in a precision, by type of operation."""

    def lowered(operation: Any, *inputs: tf.Tensor) -> Any:
        import tensorflow as tf

        if operation.outputs[0].dtype != tf.float32:
            return None
        return in_low_precision(operation, tf.as_dtype(precision), *inputs)

    return dict.fromkeys(_MATRIX_OPERATIONS, lowered)


def in_low_precision(operation: Any, low: tf.DType, *inputs: tf.Tensor) -> tf.Tensor:
    """An operation on float32 made anew with operands of another type; the result is float32."""
    import tensorflow as tf

    attributes = dict(operation.node_def.attr)
    for name in _TYPES_OF_OPERANDS:
        if name in attributes:
            attributes[name] = tf.compat.v1.AttrValue(type=low.as_datatype_enum)
    operands = [tf.cast(each, low) if each.dtype == tf.float32 else each for each in inputs]
    made = tf.compat.v1.get_default_graph().create_op(
        operation.type, operands, [low], attrs=attributes, name=operation.name
    )
    return tf.cast(made.outputs[0], tf.float32)
