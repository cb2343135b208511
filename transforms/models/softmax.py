"""Does a model end in softmax or sigmoid, and which layer is before it?

Gradients of such outputs are not those of the logits: they vanish where the model is sure, and
rank pixels differently. The answer is read from the graph, so it does not matter whether a layer,
an activation or a plain function applied it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

_PASSING = frozenset({"Identity", "Cast", "EnsureShape", "Reshape", "Squeeze"})
"""Operations that hand on their first input's values."""

_ACTIVATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


@dataclasses.dataclass(frozen=True)
class SoftmaxEnding:
    """The softmax or sigmoid a model ends in.

    Attributes:
      layer: Path of the layer whose output it is; None where no layer can be named.
      layer_before: Path of the layer that returns the logits; None where the softmax is inside
        the layer that computes them.
      activation: `softmax` or `sigmoid`.
    """

    layer: str | None
    layer_before: str | None
    activation: str = "softmax"

    @property
    def advice(self) -> str:
        """What is wrong with explaining it, and what to do, in one sentence."""
        output = "its output" if self.layer is None else f"layer {self.layer!r}"
        by_layer = (
            ""
            if self.layer_before is None
            else f", or the layer before it (output_layer: {self.layer_before})"
        )
        return (
            f"{output} ends in {self.activation}, whose gradients vanish where the model is sure; "
            f"explain its logits (model.output: logits){by_layer}"
        )


def find_softmax(graph: Any, output: str, layers: Mapping[str, str]) -> SoftmaxEnding | None:
    """The softmax or sigmoid a tensor comes from, through casts, reshapes and function calls.

    Args:
      graph: A TensorFlow graph.
      output: The tensor's name in it.
      layers: Tensor name -> path of the layer that returned it.
    """
    definition = graph.as_graph_def()
    functions = {function.signature.name: function for function in definition.library.function}
    nodes = {node.name: node for node in definition.node}
    layer = layers.get(output)
    name, activation, inlined = output, "", False
    while True:
        node_name, index = _split(name)
        before = layers.get(f"{node_name}:{index}")
        if activation and not inlined and before is not None:
            return SoftmaxEnding(layer, before, activation)
        node = nodes.get(node_name)
        if node is not None and node.op in _PASSING:
            name = node.input[0]
        elif node is not None and node.op in _ACTIVATIONS and not activation:
            name, activation = node.input[0], _ACTIVATIONS[node.op]
        elif node is not None and node.op in _CALLS and not activation:
            function = functions[node.attr["f"].func.name]
            nodes = {each.name: each for each in function.node_def}
            name = function.ret[function.signature.output_arg[index].name]
            inlined = True
        else:
            return SoftmaxEnding(layer, None, activation) if activation else None


def logits_of(output: Any) -> Any:
    """What the softmax or sigmoid behind a tensor is computed of; None where there is none.

    Args:
      output: A symbolic tensor; it, casts and reshapes are looked through, calls are not.
    """
    tensor = output
    while tensor.op.type in _PASSING:
        tensor = tensor.op.inputs[0]
    return tensor.op.inputs[0] if tensor.op.type in _ACTIVATIONS else None


def _split(tensor: str) -> tuple[str, int]:
    """Node and output number of `node`, `node:0` or, in functions, `node:output:0`."""
    parts = tensor.split(":")
    return parts[0], int(parts[-1]) if len(parts) > 1 else 0
