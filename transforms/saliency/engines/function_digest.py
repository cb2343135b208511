"""What a traced function computes, as a digest: its graph, and the values that it has captured.

A model's name, path or file says less: layers may be of modules of one's own, weights may have been
changed since they were loaded, and operators may be any code.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def function_digest(function: Any) -> str | None:
    """SHA-256 of a concrete function, in hex; equal for functions that compute the same alone.

    Args:
      function: Concrete; it may read variables, whose values now count.

    Returns:
      None where it reads something else than numbers, such as a table, so nothing is known of it.
    """
    import tensorflow as tf

    graph = function.graph
    digest = hashlib.sha256(graph.as_graph_def().SerializeToString(deterministic=True))
    ports = [(each.name, each.dtype.name, each.shape) for each in _ports(function)]
    digest.update(f"\n{len(function.inputs)} {ports}".encode())
    variables = {id(each.handle): each for each in graph.variables}
    for captured, inner in graph.captures:
        variable = variables.get(id(captured))
        value = captured if variable is None else variable
        if value.dtype in (tf.resource, tf.variant, tf.string):
            return None
        array = np.ascontiguousarray(value)
        digest.update(f"\n{inner.name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def _ports(function: Any) -> list[Any]:
    return [*function.inputs, *function.outputs]
