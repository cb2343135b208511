"""What a traced function computes, as a digest: its graph, and the values that it has captured.

A model's name, path or file says less: layers may be of modules of one's own, weights may have been
changed since they were loaded, and operators may be any code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from transforms.saliency.engines.rewriting.freezing import captured_values

if TYPE_CHECKING:
    import tensorflow as tf

_OUTSIDE: Final = frozenset(
    {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "MatchingFiles"}
)
"""Give what Python code or files say, of which a graph has no more than the name."""

_GRADIENT_NAME: Final = "_gradient_op_type"
"""How an operation is differentiated. Its value has a number that grows with each trace."""


def function_digest(function: Any) -> str | None:
    """SHA-256 of a concrete function, in hex; equal for functions that compute the same alone.

    Args:
      function: Concrete; it may read variables, whose values now count.

    Returns:
      None where it reads something else than numbers, such as a table or a file, calls Python, or
      has operations of another library than TensorFlow, so nothing is known of it.
    """
    captured = captured_values(function)
    if captured is None:
        return None
    graph = function.graph.as_graph_def()
    if _outside_operation(graph) is not None:
        return None
    for node in _nodes(graph):
        node.attr.pop(_GRADIENT_NAME, None)  # What is traced has been differentiated.
    graph.library.function.sort(key=lambda each: each.signature.name)  # They have no order.
    digest = hashlib.sha256(graph.SerializeToString(deterministic=True))
    ports = [(each.name, each.dtype.name, each.shape) for each in _ports(function)]
    digest.update(f"\n{len(function.inputs)} {ports}".encode())
    for inner, value in captured:
        array = np.ascontiguousarray(value)
        digest.update(f"\n{inner.name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def outside_operation(function: Any) -> str | None:
    """Type of an operation whose code is neither in a concrete function nor in TensorFlow.

    It calls Python, reads files, or is of a library that `tf.load_op_library` has loaded.

    Returns:
      The first one's; None if there is none.
    """
    return _outside_operation(function.graph.as_graph_def())


def _outside_operation(graph: tf.compat.v1.GraphDef) -> str | None:
    import tensorflow as tf

    own = {each.signature.name for each in graph.library.function}
    for node in _nodes(graph):
        # An operator that is loaded later is in a module of its own.
        is_known = node.op in own or hasattr(tf.raw_ops, node.op)
        if node.op in _OUTSIDE or not is_known:
            return str(node.op)
    return None


def _nodes(graph: tf.compat.v1.GraphDef) -> Iterator[Any]:
    """All operations of a graph, those of the functions that it calls among them."""
    yield from graph.node
    for each in graph.library.function:
        yield from each.node_def


def _ports(function: Any) -> list[Any]:
    return [*function.inputs, *function.outputs]
