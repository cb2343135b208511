"""What a traced function computes, as a digest: its graph, and the values that it has captured.

A model's name, path or file says less: layers may be of modules of one's own, weights may have been
changed since they were loaded, and operators may be any code.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np

from transforms.saliency.engines.rewriting.freezing import captured_values

_OUTSIDE: Final = frozenset(
    {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "MatchingFiles"}
)
"""Give what Python code or files say, of which a graph has no more than the name."""


def function_digest(function: Any) -> str | None:
    """SHA-256 of a concrete function, in hex; equal for functions that compute the same alone.

    Args:
      function: Concrete; it may read variables, whose values now count.

    Returns:
      None where it reads something else than numbers, such as a table or a file, or calls Python,
      so nothing is known of it.
    """
    captured = captured_values(function)
    if captured is None:
        return None
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    if any(node.op in _OUTSIDE for node in nodes):
        return None
    graph.library.function.sort(key=lambda each: each.signature.name)  # They have no order.
    digest = hashlib.sha256(graph.SerializeToString(deterministic=True))
    ports = [(each.name, each.dtype.name, each.shape) for each in _ports(function)]
    digest.update(f"\n{len(function.inputs)} {ports}".encode())
    for inner, value in captured:
        array = np.ascontiguousarray(value)
        digest.update(f"\n{inner.name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def _ports(function: Any) -> list[Any]:
    return [*function.inputs, *function.outputs]
