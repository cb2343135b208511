"""Copying a graph: the same operations again, some of them written differently.

To copy a frozen graph is to make each of its operations anew in the function that is being
traced, where something else may take an operation's place. So training-only operations become
inference ones, and matrix products change their precision. Arithmetic on shapes becomes constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from transforms.saliency.engines.rewriting.shape_ops import fold_shapes

if TYPE_CHECKING:
    import tensorflow as tf

Rewrite = Callable[..., Any]
"""(operation, *its new inputs) -> what stands for its outputs; None leaves it as it is.

What is returned is the first output, or a list of all.
"""


class NotCopyableError(Exception):
    """A graph with an operation that cannot be made anew; the message names it."""


def copy_graph(
    frozen: Any,
    inputs: Sequence[tf.Tensor],
    rewrites: Mapping[str, Rewrite],
    values: Mapping[str, npt.NDArray[Any]] = MappingProxyType({}),
) -> list[tf.Tensor]:
    """Makes a frozen function's operations anew in the graph that is being traced.

    What no output depends on is left out, and so are control edges: a frozen function has no state
    whose order could matter.

    Args:
      frozen: A concrete function; what it reads of variables is among `values`.
      inputs: The new inputs, in the order of the function's own.
      rewrites: What to put in place of an operation, by its type.
      values: What is known beforehand, by name of the frozen function's tensor.

    Returns:
      The function's outputs.

    Raises:
      NotCopyableError: It has functions of its own, as loops and conditions have.
    """
    import tensorflow as tf

    graph = tf.compat.v1.get_default_graph()
    given = frozen.inputs[: len(inputs)]  # What it captures comes after them.
    made = dict(zip((tensor.name for tensor in given), inputs, strict=True))
    constants: dict[int, tf.Tensor] = {}  # One for all that read the same variable.
    for name, value in values.items():
        if id(value) not in constants:
            constants[id(value)] = tf.constant(value)
        made[name] = constants[id(value)]
    for operation in _ordered(frozen.outputs, made):
        arguments = [made[tensor.name] for tensor in operation.inputs]
        rewrite = rewrites.get(operation.type)
        result = rewrite(operation, *arguments) if rewrite else None
        if result is None:
            result = fold_shapes(operation, arguments)
        if result is None:
            attributes = dict(operation.node_def.attr)  # It is made anew at every question.
            if any(value.HasField("func") for value in attributes.values()):
                raise NotCopyableError(f"operation {operation.type} has a function of its own")
            results = graph.create_op(
                operation.type,
                arguments,
                [tensor.dtype for tensor in operation.outputs],
                attrs=attributes,
                name=operation.name,
            ).outputs
        else:
            results = result if isinstance(result, list) else [result]
        for before, after in zip(operation.outputs, results, strict=False):
            after.set_shape(before.shape)
            made[before.name] = after
    return [made[tensor.name] for tensor in frozen.outputs]


def _ordered(outputs: Sequence[tf.Tensor], known: Mapping[str, Any]) -> Iterator[Any]:
    """The operations behind some tensors, each after those that it reads."""
    done: set[str] = set()
    waiting = [(tensor.op, False) for tensor in reversed(outputs) if tensor.name not in known]
    while waiting:
        operation, ready = waiting.pop()
        if operation.name in done:
            continue
        if ready:
            done.add(operation.name)
            yield operation
            continue
        waiting.append((operation, True))
        waiting += [(tensor.op, False) for tensor in operation.inputs if tensor.name not in known]
