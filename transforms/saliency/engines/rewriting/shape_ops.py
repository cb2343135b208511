"""Arithmetic on shapes, done beforehand: with a fixed batch every shape is known.

Gradients of concatenation and broadcasting ask for shapes when they run, by operations that engines
for inference do not know, and with constants in their place need not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


def fold_shapes(operation: Any, inputs: list[tf.Tensor]) -> list[tf.Tensor] | None:
    """What an operation on shapes gives, as constants.

    Returns:
      None if it depends on more than constants, or gives other numbers than integers.
    """
    import tensorflow as tf

    if operation.type in ("Shape", "ShapeN"):
        if not all(tensor.shape.is_fully_defined() for tensor in inputs):
            return None
        dtype = operation.outputs[0].dtype
        return [tf.constant(tensor.shape.as_list(), dtype) for tensor in inputs]
    if not inputs or any(each.dtype not in (tf.int32, tf.int64) for each in operation.outputs):
        return None
    values = [tf.get_static_value(tensor) for tensor in inputs]
    if any(value is None for value in values):
        return None
    return [tf.constant(result) for result in _evaluate(operation, values)]


def _evaluate(operation: Any, values: list[Any]) -> list[Any]:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        evaluated = graph.create_op(
            operation.type,
            [tf.constant(value) for value in values],
            [each.dtype for each in operation.outputs],
            attrs=dict(operation.node_def.attr),
        )
    with tf.compat.v1.Session(graph=graph) as session:
        results: list[Any] = session.run(evaluated.outputs)
    return results
