"""Models of integers: images of bytes, and tokens. Integers have no gradient; what follows has.

An image of bytes is cast to numbers before anything else is done to it. The cast is taken out, so
that the model is a function of numbers, which agrees with the original on whole ones. Tokens choose
rows of an embedding: the gradient is that of the rows, one for each token.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms.errors import ConfigurationError
from transforms.models.functions import ModelFunction
from transforms.models.inputs import Shape
from transforms.models.signatures import constant_function

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_GATHERS = frozenset({"Gather", "GatherV2", "ResourceGather"})
_HANDING_ON = frozenset({"Identity", "EnsureShape", "StopGradient"})
_OF_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank"})  # They ask for no values.

_TOLERANCE = 1e-4
"""Of the largest output, between the original and what is explained in its place."""

_EXAMPLES = 2
_MOST = 255


class DifferentiableFunction(ModelFunction):
    """A function of integers as one that can be explained; subclasses say where.

    Attributes:
      integer_dtype: The type that the original takes.
    """

    def __init__(self, function: ModelFunction, call: Any) -> None:
        own = dataclasses.replace(function.input, dtype="float32")
        super().__init__(call, function.title, own, function.others)
        self._original = function
        self.integer_dtype = function.input.dtype
        self.output_name = function.output_name
        self.layers_out_of_reach = function.layers_out_of_reach or (
            f"takes {self.integer_dtype}, and its layers are out of reach: export it with a "
            "floating-point input"
        )
        self.constants = function.constants
        self.fed = function.fed

    @property
    def model(self) -> Any:
        """What the original is of."""
        return self._original.model

    @property
    def keras_model(self) -> keras.Model | None:
        """That of the original."""
        return self._original.keras_model


class FloatFunction(DifferentiableFunction):
    """The original without the cast to numbers that its input goes through first."""


class EmbeddedFunction(DifferentiableFunction):
    """The original in two parts: tokens to rows of an embedding, and these to outputs.

    Attributes:
      width: Numbers of each row.
    """

    def __init__(self, function: ModelFunction, constant: Any, rows: tf.Tensor) -> None:
        import tensorflow as tf

        tokens, *others = constant.inputs
        self._embed = constant.prune([tokens], [rows])
        self._head = constant.prune([tokens, rows, *others], [constant.outputs[0]])
        self.width = int(rows.shape[-1])

        def call(inputs: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
            return self.outputs(inputs, self.embedded(inputs), others)

        super().__init__(function, call)
        self._dtype = tf.as_dtype(function.input.dtype)

    def embedded(self, inputs: tf.Tensor) -> tf.Tensor:
        """Rows (N, T, width) of tokens (N, T), which are whole numbers."""
        import tensorflow as tf

        return self._embed(tf.cast(inputs, self._dtype))[0]

    def outputs(
        self, inputs: tf.Tensor, embedded: tf.Tensor, others: Sequence[tf.Tensor] = ()
    ) -> tf.Tensor:
        """Outputs (N, ...) of rows; the tokens themselves tell what is masked, no more."""
        import tensorflow as tf

        return self._head(tf.cast(inputs, self._dtype), embedded, *others)[0]


def differentiable(function: ModelFunction, shape: Shape) -> ModelFunction:
    """A function that can be explained; the function itself where its input is floating-point.

    Args:
      function: Any.
      shape: Of one input, without the batch axis.

    Raises:
      ConfigurationError: Its integers go into something else than a cast or an embedding.
    """
    import tensorflow as tf

    dtype = function.input.dtype
    if function.input.is_floating or not function.input.fits(shape):
        return function  # what does not fit is refused where it is traced
    if not (tf.as_dtype(dtype).is_integer or tf.as_dtype(dtype).is_bool):
        raise _refusal(function, "which have no gradient; export it with a floating-point input")
    constant = _constant(function, shape)
    casts, gathers, others = _entries(constant.inputs[0])
    if any(name.endswith("PartitionedCall") for name in others):
        raise _refusal(
            function,
            "which go into a function that is kept whole, as recurrent layers have in a "
            "SavedModel; give the model as a .keras file",
        )
    if others:
        raise _refusal(
            function,
            f"which go into {', '.join(others)}: integers have no gradient; export it with a "
            "floating-point input",
        )
    if not gathers:
        found: ModelFunction = _without_cast(function, constant, casts)
    elif len(gathers) == 1 and len(shape) == 1:
        found = EmbeddedFunction(function, constant, gathers[0].outputs[0])
    else:
        raise _refusal(
            function,
            f"which {len(gathers)} embeddings of inputs {shape} look up; tokens (N, T) of one "
            "embedding can be explained: export it from the embeddings' output on",
        )
    _check_same(function, found, shape)
    return found


def _constant(function: ModelFunction, shape: Shape) -> Any:
    import tensorflow as tf

    batch = function.input.batch
    specs = [
        tf.TensorSpec((batch, *each_shape), each.dtype)
        for each, each_shape in [
            (function.input, shape),
            *((each, each.shape or ()) for each in function.others),
        ]
    ]
    call = tf.function(lambda inputs, *others: function(inputs, others), autograph=False)
    try:
        concrete = call.get_concrete_function(*specs)
    except ConfigurationError:
        raise
    except Exception as error:  # whatever a user's model can raise
        raise _refusal(function, f"and cannot be applied to {shape} ({error})") from error
    return constant_function(concrete, concrete.graph.variables, function.title)


def _entries(inputs: tf.Tensor) -> tuple[list[Any], list[Any], list[str]]:
    """Where numbers are made of integers: operations that cast, that look up rows, and others.

    Masks (comparisons of the integers) may go anywhere: they have no gradient and need none.
    """
    casts, gathers, others = [], [], []
    waiting, seen = [(inputs, True)], set()
    while waiting:
        tensor, untouched = waiting.pop()
        for operation in tensor.consumers():
            if operation.name in seen or operation.type in _OF_SHAPES:
                continue
            seen.add(operation.name)
            if not _floats(operation):
                handed = untouched and operation.type in _HANDING_ON
                waiting += [(each, handed) for each in operation.outputs]
            elif operation.type in _GATHERS and tensor is operation.inputs[1]:
                gathers.append(operation)
            elif operation.type == "Cast" and untouched:
                readers = operation.outputs[0].consumers()
                back = [each for each in readers if each.type == "Cast" and not _floats(each)]
                waiting += [(each.outputs[0], False) for each in back]  # Keras casts to and fro.
                if len(back) < len(readers):
                    casts.append(operation)
            elif not tensor.dtype.is_bool:
                others.append(operation.type)
    return casts, gathers, others


def _floats(operation: Any) -> bool:
    return any(each.dtype.is_floating for each in operation.outputs)


def _without_cast(function: ModelFunction, constant: Any, casts: list[Any]) -> ModelFunction:
    import tensorflow as tf

    if not casts:
        raise _refusal(function, "which its output does not depend on by any number")
    feeds = [each.outputs[0] for each in casts]
    # The integers too, as operations may wait for them; none that is left reads them.
    pruned = constant.prune([*constant.inputs, *feeds], [constant.outputs[0]])
    dtype = tf.as_dtype(function.input.dtype)

    def call(inputs: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
        floats = [tf.cast(inputs, each.dtype) for each in feeds]
        return pruned(tf.cast(inputs, dtype), *others, *floats)[0]

    return FloatFunction(function, call)


def _check_same(function: ModelFunction, found: ModelFunction, shape: Shape) -> None:
    """Compares with the original on whole numbers.

    Raises:
      ConfigurationError: They differ.
    """
    import tensorflow as tf

    sides = [side for side in shape if side is not None]
    if len(sides) < len(shape):
        return
    dtype = tf.as_dtype(function.input.dtype)
    is_image = isinstance(found, FloatFunction)
    # Any token that a vocabulary has, and any byte.
    most = min(_MOST, int(dtype.max)) if is_image and not dtype.is_bool else 1
    batch = function.input.batch or _EXAMPLES
    values = np.random.default_rng(0).integers(0, most, (batch, *sides), endpoint=True)
    others = function.held(batch)
    expected = np.asarray(function(tf.cast(values, dtype), others), np.float64)
    outputs = np.asarray(found(tf.cast(values, tf.float32), others), np.float64)
    largest = float(np.max(np.abs(expected), initial=0.0))
    if not np.allclose(outputs, expected, rtol=0, atol=_TOLERANCE * largest, equal_nan=True):
        raise _refusal(function, "and gives other outputs without the cast of them")


def _refusal(function: ModelFunction, why: str) -> ConfigurationError:
    own = function.input
    return ConfigurationError(f"{function.title} takes {own.dtype} inputs ({own.name!r}), {why}")
