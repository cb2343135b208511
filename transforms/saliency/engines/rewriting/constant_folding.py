"""What depends on no input, computed beforehand, so that no engine has to.

OpenVINO 2026.4 computes operations of constants that it cannot fold itself (UnsortedSegmentSum, the
gradient of gathering; ReverseV2, which flips kernels) in the first call alone, and may let other
operations write over the result: all later calls are wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    import tensorflow as tf

_MOST_VALUES = 2**20
"""Of a result that is larger than all it is made of: filling larger ones is left to the engine."""

_NO_ARITHMETIC = frozenset({"Const", "Identity"})


def constant_values(function: Any) -> dict[str, npt.NDArray[Any]]:
    """What a function's operations give that depends on no input and that others depend on.

    Args:
      function: A concrete function without variables or random numbers.

    Returns:
      Values by name of tensor; weights that are constants already are not among them.
    """
    import tensorflow as tf

    graph = function.graph
    constant: set[str] = set()
    computed: dict[str, int] = {}  # The most values of a constant that an operation is made of
    wanted: dict[str, tf.Tensor] = {}
    for operation in graph.get_operations():  # each after those that it reads
        names = [tensor.op.name for tensor in operation.inputs]
        if operation.type == "Placeholder" or not constant.issuperset(names):
            for tensor in operation.inputs:
                if tensor.op.name in computed and _is_worth(tensor, computed[tensor.op.name]):
                    wanted[tensor.name] = tensor
            continue
        constant.add(operation.name)
        if operation.type not in _NO_ARITHMETIC or not computed.keys().isdisjoint(names):
            sizes = [_size(tensor) for tensor in operation.inputs]
            computed[operation.name] = max(
                [*sizes, *(computed[name] for name in names if name in computed)], default=0
            )
    # To optimise the graph first would take twice as long as to compute it once.
    as_it_is = tf.compat.v1.ConfigProto()
    as_it_is.graph_options.rewrite_options.disable_meta_optimizer = True
    with tf.compat.v1.Session(graph=graph, config=as_it_is) as session:
        values = session.run(list(wanted.values()))
    return dict(zip(wanted, values, strict=True))


def _is_worth(tensor: tf.Tensor, source: int) -> bool:
    numeric = tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool
    return numeric and _size(tensor) <= max(_MOST_VALUES, source)


def _size(tensor: tf.Tensor) -> int:
    return int(tensor.shape.num_elements() or 0)
