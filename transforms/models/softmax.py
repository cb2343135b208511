"""Does a model end in softmax, and which layer is before it?

Gradients of softmax outputs are not those of the logits: they vanish where the model is sure, and
rank pixels differently. The answer is read from the graph, so it does not matter whether a layer,
an activation or a plain function applied the softmax.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

_PASSING = frozenset({"Identity", "Cast", "EnsureShape", "Reshape", "Squeeze"})
"""Operations that hand on their first input's values."""

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


@dataclasses.dataclass(frozen=True)
class SoftmaxEnding:
    """The softmax a model ends in.

    Attributes:
      layer: Path of the layer whose output it is; None where no layer can be named.
      layer_before: Path of the layer that returns the logits; None where the softmax is inside
        the layer that computes them.
    """

    layer: str | None
    layer_before: str | None

    @property
    def advice(self) -> str:
        """What is wrong with explaining it, and what to do, in one sentence."""
        output = "its output" if self.layer is None else f"layer {self.layer!r}"
        remedy = (
            "export the model with a linear last layer to explain its logits"
            if self.layer_before is None
            else f"explain the layer before it (output_layer: {self.layer_before}) for its logits"
        )
        return f"{output} ends in softmax, whose gradients vanish where the model is sure; {remedy}"


def find_softmax(graph: Any, output: str, layers: Mapping[str, str]) -> SoftmaxEnding | None:
    """The softmax a graph's tensor comes from, through casts, reshapes and function calls.

    Args:
      graph: A TensorFlow graph.
      output: The tensor's name in it.
      layers: Tensor name -> path of the layer that returned it.
    """
    definition = graph.as_graph_def()
    functions = {function.signature.name: function for function in definition.library.function}
    nodes = {node.name: node for node in definition.node}
    layer = layers.get(output)
    name, passed_softmax, inlined = output, False, False
    while True:
        node_name, index = _split(name)
        before = layers.get(f"{node_name}:{index}")
        if passed_softmax and not inlined and before is not None:
            return SoftmaxEnding(layer, before)
        node = nodes.get(node_name)
        if node is not None and node.op in _PASSING:
            name = node.input[0]
        elif node is not None and node.op == "Softmax" and not passed_softmax:
            name, passed_softmax = node.input[0], True
        elif node is not None and node.op in _CALLS and not passed_softmax:
            function = functions[node.attr["f"].func.name]
            nodes = {each.name: each for each in function.node_def}
            name = function.ret[function.signature.output_arg[index].name]
            inlined = True
        else:
            return SoftmaxEnding(layer, None) if passed_softmax else None


def _split(tensor: str) -> tuple[str, int]:
    """Node and output number of `node`, `node:0` or, in functions, `node:output:0`."""
    parts = tensor.split(":")
    return parts[0], int(parts[-1]) if len(parts) > 1 else 0
