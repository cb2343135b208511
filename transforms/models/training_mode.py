"""Is a model a function of its input? Random and training-mode operations, and what they change.

Layers that augment are random, and batch normalisation in training mode depends on the other
examples of a batch. Keras passes `training=False` on to its own layers; exported models keep the
mode they were traced in, and layers of augmentation default to `training=True` there. A gradient of
such a model is not a map of the example. The graph tells what is random; what depends on the batch
is told by scores, as operations that compute moments may do so of one example alone.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.errors import ConfigurationError

if TYPE_CHECKING:
    import tensorflow as tf

_TOLERANCE = 1e-4
"""Of the largest output: batches of one shape are computed alike, so rounding is far below it."""

_NAMES_SHOWN = 8

_RANDOM = re.compile(r"Random|Multinomial|^ParameterizedTruncatedNormal")
_FIXED_BY_SEED = re.compile(r"^Stateless(Random|Multinomial|Parameterized|Truncated)")
_ASSIGNS = re.compile(r"^Assign(Add|Sub)?VariableOp$|^RngReadAndSkip$|^RngSkip$")

# `model/random_flip/stateless_random_uniform/StatelessRandomUniformV2` is of `random_flip`.
_WITHIN_LAYER = re.compile(
    r"^(stateless_|truncated_)*(random_(uniform|normal)|dropout|categorical|moments)(_\d+)?$"
)


@dataclasses.dataclass(frozen=True)
class TrainingOperations:
    """Operations in a graph that belong to training.

    Attributes:
      random: Layers (else operations) that draw anew at each call, as `name (operation)`.
      updating: The same of those that change variables or normalise by the batch.
    """

    random: tuple[str, ...] = ()
    updating: tuple[str, ...] = ()


def find_training_operations(graph: Any) -> TrainingOperations:
    """Looks for operations of training in a graph and in the functions it calls.

    Args:
      graph: A TensorFlow graph.
    """
    found = list(_nodes(graph.as_graph_def()))
    updating = [node for node in found if _ASSIGNS.search(node.op) or _is_training(node)]
    # Stateless operations repeat themselves, unless what seeds them is a variable that changes.
    seeded_anew = any(_ASSIGNS.search(node.op) for node in found)
    random = [
        node
        for node in found
        if _RANDOM.search(node.op)
        and (seeded_anew if _FIXED_BY_SEED.search(node.op) else "Get" not in node.op)
        and "GetKeyCounter" not in node.op
    ]
    return TrainingOperations(_described(random), _described(updating))


def check_no_random_operation(title: str, found: TrainingOperations) -> None:
    """Refuses a model that draws random numbers.

    Args:
      title: How messages call the model.
      found: What is in its graph.

    Raises:
      ConfigurationError: It does.
    """
    if found.random:
        raise ConfigurationError(
            f"{title} is not a function of its input: it draws random numbers at every call in "
            f"{_listed(found.random)}; {_REMEDY}"
        )


def check_function_of_input(  # noqa: PLR0917 - a model, and what it is tried on
    title: str,
    call: Callable[..., tf.Tensor],
    inputs: npt.NDArray[np.float32],
    found: TrainingOperations,
    batch: int | None = None,
    beside: Sequence[npt.NDArray[Any]] = (),
) -> npt.NDArray[np.float64] | None:
    """Refuses a model whose scores of an example differ from call to call, or with its batch.

    Args:
      title: How messages call the model.
      call: Outputs (N, ...) of inputs (N, ...) and of what feeds other inputs.
      inputs: (n, ...) examples, n at least 1; those of a batch that can be computed.
      found: What is in the model's graph, to be named.
      batch: The only batch size it takes; None if it takes any.
      beside: What feeds other inputs, each (n, ...).

    Returns:
      (n, ...) the examples' outputs, n at most `batch`; None where the model refuses one of them.

    Raises:
      ConfigurationError: They do.
    """
    import tensorflow as tf

    size = batch or max(2, len(inputs))
    rows = np.resize(np.arange(len(inputs)), size)
    kept = (size + 1) // 2

    def outputs(values: npt.NDArray[Any], of: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        fed = (tf.constant(each[of]) for each in beside)
        found: npt.NDArray[np.float64] = np.asarray(call(tf.constant(values), *fed), np.float64)
        return found

    try:
        first, second = outputs(inputs[rows], rows), outputs(inputs[rows], rows)
        among = outputs(*_among_others(inputs, rows, kept))
    except tf.errors.OpError:
        return None  # A refused example: explaining the first ones tells which and why.
    magnitudes = np.abs(np.stack([first, second, among]))
    largest = float(np.max(magnitudes, initial=0.0, where=np.isfinite(magnitudes)))
    for values, reference, how in (
        (second, first, "from one call to the next"),
        (among[:kept], first[:kept], "with the other examples of their batch"),
    ):
        finite = np.isfinite(values) & np.isfinite(reference)
        change = float(np.max(np.abs(values[finite] - reference[finite]), initial=0.0))
        if change > _TOLERANCE * largest:
            named = found.random + found.updating
            where = f" (layers that train: {_listed(named)})" if named else ""
            raise ConfigurationError(
                f"{title} is not a function of its input: the first examples' outputs change by "
                f"{change / largest:.1%} {how}{where}; {_REMEDY}"
            )
    return first[: len(inputs)]


def _among_others(
    inputs: npt.NDArray[Any], rows: npt.NDArray[np.int64], kept: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """A batch whose first `kept` examples have other neighbours, and which examples are in it."""
    mixed = np.where(np.arange(len(rows)) < kept, rows, 0)
    others = inputs[mixed]
    if len(inputs) <= kept:
        # Neither an order nor a repetition of the same examples: moments are to change.
        others[kept:] = others[kept:] / 2
    return others, mixed


_REMEDY = (
    "save it as a .keras file, which is called with training=False, or export "
    "keras.Model(inputs, model(inputs, training=False)); where its code says training=True, "
    "correct that"
)


def _nodes(definition: Any) -> Iterator[Any]:
    yield from definition.node
    for function in definition.library.function:
        yield from function.node_def


def _is_training(node: Any) -> bool:
    return "is_training" in node.attr and bool(node.attr["is_training"].b)


def _described(nodes: list[Any]) -> tuple[str, ...]:
    described: dict[str, str] = {}
    for node in nodes:
        parts = node.name.split("/")[:-1]
        while len(parts) > 1 and _WITHIN_LAYER.match(parts[-1]):
            parts.pop()
        described.setdefault(parts[-1] if parts else node.name, str(node.op))
    return tuple(f"{name} ({operation})" for name, operation in described.items())


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
