"""Freezing: variables become constants, so that a compiler can work on them beforehand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.models.signatures import MOST_CONSTANT_BYTES
from transforms.saliency.attribution import beside_name
from transforms.saliency.engines.rewriting.constant_folding import constant_values
from transforms.saliency.engines.rewriting.graph_copy import Rewrite, copy_graph
from transforms.saliency.engines.rewriting.inference_ops import INFERENCE_REWRITES

if TYPE_CHECKING:
    import tensorflow as tf

RESULT_NAMES = (
    "result_outputs",
    "result_targets",
    "result_scores",
    "result_gradients",
    "result_activations",
)
"""Of `Attribution`'s fields; what a call that needs less leaves out is at the end."""

_MOST_BYTES = MOST_CONSTANT_BYTES

_LOOPS = frozenset({"While", "StatelessWhile"})

_READS = frozenset(
    {"Placeholder", "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VarHandleOp"}
    | {"PartitionedCall", "StatefulPartitionedCall", "While", "If"}  # Their bodies are looked at.
)
"""Operations that count as stateful, but that freezing does away with."""


class NotFreezableError(Exception):
    """A function that cannot become a graph of constants; the message says why."""


def freeze(function: Any) -> Any:
    """A concrete function without variables, all calls inlined.

    Raises:
      NotFreezableError: See `check_freezable`.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    check_freezable(function)
    return convert_variables_to_constants_v2(function, lower_control_flow=False)


def check_freezable(function: Any) -> None:
    """Refuses a concrete function that cannot become a graph of constants.

    Raises:
      NotFreezableError: The variables do not fit into a graph, it has a loop, or it does more than
        compute, such as assert, call Python or draw random numbers: freezing would lose that.
    """
    effect = find_effect(function)
    if effect is not None:
        raise NotFreezableError(f"operation {effect} has an effect or a state")
    if any(node.op in _LOOPS for node in _nodes(function)):
        # Their gradients are functions of variables, which are gone once those are constants.
        raise NotFreezableError("the model has a loop (as LSTM and GRU layers have)")
    if any(node.attr["_XlaMustCompile"].b for node in _nodes(function)):
        raise NotFreezableError(
            "a layer of the model is compiled by XLA (grouped convolutions are)"
        )
    size = sum(each.dtype.size * each.shape.num_elements() for each in function.graph.variables)
    if size > _MOST_BYTES:
        raise NotFreezableError(f"the variables have {size / 1e9:.1f} GB, and a graph holds 2 GB")


def without_calls(function: Any) -> Any:
    """The function itself, where it calls no other and reads its variables whole; else frozen.

    Copying it with values for what it reads takes a third of the time that freezing takes.

    Raises:
      NotFreezableError: See `check_freezable`.
    """
    check_freezable(function)
    nodes = function.graph.as_graph_def().node
    calls = any(
        value.HasField("func") or value.list.func for node in nodes for value in node.attr.values()
    )
    return freeze(function) if calls or values_read(function) is None else function


def values_read(function: Any) -> dict[str, npt.NDArray[Any]] | None:
    """What a concrete function reads of variables and other captured tensors, by name of tensor.

    Returns:
      None where it does anything else with a variable than to read all of it.
    """
    captured = captured_values(function)
    if captured is None:
        return None
    values: dict[str, npt.NDArray[Any]] = {}
    for inner, value in captured:
        reads = inner.consumers() if inner.dtype == "resource" else ()
        if any(operation.type != "ReadVariableOp" for operation in reads):
            return None
        values |= {operation.outputs[0].name: value for operation in reads}
        if inner.dtype != "resource":
            values[inner.name] = value
    return values


def captured_values(function: Any) -> list[tuple[tf.Tensor, npt.NDArray[Any]]] | None:
    """A concrete function's captures: the tensor in its graph, and the value, a variable's as now.

    Returns:
      None where it captures something else than numbers and variables, such as a table.
    """
    variables = {id(each.handle): each for each in function.graph.variables}
    values = []
    for outer, inner in function.graph.captures:
        value = variables.get(id(outer), outer)
        if value.dtype in ("resource", "variant", "string"):
            return None
        values.append((inner, np.asarray(value)))
    return values


def find_effect(function: Any) -> str | None:
    """Type of an operation in a function that does more than compute; None if there is none."""
    from tensorflow.python.framework import op_def_registry

    graph = function.graph.as_graph_def()
    own = {each.signature.name for each in graph.library.function}
    for nodes in (graph.node, *(each.node_def for each in graph.library.function)):
        for node in nodes:
            if node.op in own or node.op in _READS:
                continue
            definition = op_def_registry.get(node.op)
            if definition is None or definition.is_stateful:
                return str(node.op)
    return None


def _nodes(function: Any) -> Iterator[Any]:
    """All operations of a function, those of the functions that it calls among them."""
    graph = function.graph.as_graph_def()
    yield from graph.node
    for each in graph.library.function:
        yield from each.node_def


@dataclasses.dataclass(frozen=True)
class InferenceGraph:
    """A gradient as a graph of inference operations.

    Attributes:
      definition: Its placeholders are named `inputs`, `labels` and as `beside_name` has it, its
        results as in `names`.
      constants: Results that depend on no input, such as the targets of one class, by name; what
        reads graphs may leave such results out.
      names: Of the results, the first of `RESULT_NAMES`.
    """

    definition: tf.compat.v1.GraphDef
    constants: Mapping[str, npt.NDArray[Any]]
    names: tuple[str, ...] = RESULT_NAMES


def inference_graph(
    frozen: Any, rewrites: Mapping[str, Rewrite] = INFERENCE_REWRITES
) -> InferenceGraph:
    """Writes a frozen gradient in inference operations.

    Args:
      frozen: Takes `inputs`, `labels`, and what feeds other inputs; it has no variables, or makes
        no calls (`without_calls`).
      rewrites: What to put in place of its operations, by type.

    Raises:
      NotCopyableError: It has loops or conditions.
      NotFreezableError: Weights, as they are and transposed for the gradient, do not fit.
    """
    import tensorflow as tf

    read = values_read(frozen) or {}

    def rewritten(*given: tf.Tensor) -> list[tf.Tensor]:
        return copy_graph(frozen, given, rewrites, read)

    inputs = frozen.inputs[: len(frozen.inputs) - len(frozen.captured_inputs)]
    beside = map(beside_name, range(len(inputs) - 2))
    signature = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
        for name, tensor in zip(("inputs", "labels", *beside), inputs, strict=True)
    ]
    written = tf.function(rewritten, input_signature=signature, autograph=False)
    function = written.get_concrete_function()
    values = constant_values(function)
    size = sum(each.nbytes for each in values.values()) + _constant_bytes(function)
    if size > _MOST_BYTES:
        raise NotFreezableError(
            f"with what is computed beforehand the graph has {size / 1e9:.1f} GB, and holds 2 GB"
        )
    constants = {}
    names = RESULT_NAMES[: len(function.outputs)]

    def folded(*given: tf.Tensor) -> list[tf.Tensor]:
        results = copy_graph(function, given, {}, values)
        for name, result in zip(names, results, strict=True):
            value = tf.get_static_value(result)
            if value is not None:
                constants[name] = value
        return [tf.identity(result, name=name) for name, result in zip(names, results, strict=True)]

    traced = tf.function(folded, input_signature=signature, autograph=False)
    definition = traced.get_concrete_function().graph.as_graph_def()
    return InferenceGraph(definition, constants, names)


def _constant_bytes(function: Any) -> int:
    tensors = (each.outputs[0] for each in function.graph.get_operations() if each.type == "Const")
    return sum(each.dtype.size * (each.shape.num_elements() or 0) for each in tensors)
