"""Models as functions: one batch of inputs in, one batch of outputs out, in inference mode."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transforms.errors import ConfigurationError
from transforms.models.files import reason
from transforms.models.inputs import ModelInput, Shape, choose_input, several
from transforms.models.layers import find_layer, list_layers, recorded_calls
from transforms.models.opening.keras2 import is_keras_2
from transforms.models.softmax import SoftmaxEnding, find_softmax
from transforms.models.training_mode import TrainingOperations, find_training_operations

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Trace:
    """What running a function once, symbolically, tells of it.

    Attributes:
      layer: Path of the layer whose output is explained; None where no layer can be named.
      output_shape: Without the batch axis.
      softmax: Set if the output is that of a softmax.
      training: Its operations that belong to training.
      concrete: What was traced, of one input or of the only batch size that it takes.
    """

    layer: str | None
    output_shape: Shape
    softmax: SoftmaxEnding | None
    training: TrainingOperations
    concrete: Any


def class_count(output_shape: Shape) -> int | None:
    """How many classes an output has a score of each for.

    Args:
      output_shape: Without the batch axis.

    Returns:
      C where the output is (N, C), None where it is anything else.

    >>> class_count((10,)), class_count((7, 7, 10))
    (10, None)
    """
    return output_shape[0] if len(output_shape) == 1 else None


class ModelFunction:
    """A differentiable function from inputs to outputs; subclasses add what they know of it.

    Attributes:
      title: How messages call the model.
      input: What it takes, and is explained at.
      others: What it takes beside that.
      constants: What each of the others is held at, by name; 0 where nothing is said.
      fed: Names of those of the others that are fed with each example's own values.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        title: str,
        model_input: ModelInput,
        others: tuple[ModelInput, ...] = (),
    ) -> None:
        self._call = call
        self.title = title
        self.input = model_input
        self.others = others
        self.constants: Mapping[str, float] = {}
        self.fed: frozenset[str] = frozenset()

    output_name: str | None = None
    """The name of the output; None where layers are known, or nothing is."""

    layers_out_of_reach: str | None = "has no layers: give a Keras model"
    """Why what its layers return cannot be had, and the remedy; None where it can."""

    @property
    def model(self) -> Any:
        """What all functions of one model share; the function itself where nothing is known."""
        return self

    @property
    def keras_model(self) -> keras.Model | None:
        """The Keras model; None where it is of another kind."""
        return None

    def __call__(self, inputs: tf.Tensor, others: Sequence[tf.Tensor] = ()) -> tf.Tensor:
        """Outputs (N, ...).

        Args:
          inputs: (N, ...), of the input's dtype.
          others: (N, ...) of each of the others, of their dtypes.
        """
        return self.single(self._call(inputs, *others))

    def held(self, count: int | tf.Tensor) -> list[tf.Tensor]:
        """The other inputs for so many examples, each at its constant."""
        import tensorflow as tf

        return [
            tf.fill(
                (count, *(each.shape or ())), tf.cast(self.constants.get(each.name, 0), each.dtype)
            )
            for each in self.others
        ]

    def hold(self, constants: Mapping[str, float], fed: Collection[str] = ()) -> None:
        """Says what the other inputs are held at, and which are fed with examples' own values.

        Raises:
          ConfigurationError: They are not those that the model has, or take text.
        """
        names = {each.name for each in self.others}
        given = {*constants, *fed}
        if names != given:
            keys = "constants and model.inputs.features name" if fed else "constants names"
            raise ConfigurationError(
                f"model.inputs.{keys} {', '.join(sorted(given)) or 'nothing'}, but "
                f"beside {self.input.name!r} {self.title} takes {', '.join(sorted(names))}; give a "
                "number, or a feature, for each of these"
            )
        for each in self.others:
            if each.dtype == "string":
                raise ConfigurationError(
                    f"input {each.name!r} of {self.title} takes text, which is neither a constant "
                    "nor a feature of numbers; export the model from behind what reads the text"
                )
        self.constants = constants
        self.fed = frozenset(fed)

    @contextlib.contextmanager
    def recorded_layers(self) -> Iterator[Mapping[str, Any]]:
        """What each layer returns, by path, in calls made meanwhile; empty without layers."""
        yield {}

    def single(self, outputs: Any) -> tf.Tensor:
        """The one tensor among a model's outputs.

        Raises:
          ConfigurationError: There are several, or it belongs to an inner graph.
        """
        import tensorflow as tf

        tensors = tf.nest.flatten(outputs)
        if len(tensors) != 1:
            names = [str(key) for key in outputs] if isinstance(outputs, Mapping) else None
            raise ConfigurationError(several("outputs", self.title, names or len(tensors)))
        output = tf.convert_to_tensor(tensors[0])
        if tf.is_symbolic_tensor(output) and (
            tf.executing_eagerly() or output.graph is not tf.compat.v1.get_default_graph()
        ):
            raise ConfigurationError(
                f"the explained layer of {self.title} runs inside a tf.function, condition or loop "
                "of its own, out of reach; choose a layer outside it as output_layer"
            )
        return output


class KerasFunction(ModelFunction):
    """A Keras model, or the output of one of its layers."""

    layers_out_of_reach = None

    def __init__(
        self,
        model: keras.Model,
        output_layer: str | int | None = None,
        explained: str | None = None,
    ) -> None:
        import keras

        title = f"model {model.name!r}"
        own, others = choose_input(_keras_inputs(model), explained, title)
        super().__init__(model, title, own, others)
        self._keras_model = model
        self._target = None if output_layer is None else find_layer(model, output_layer)
        outputs = getattr(model, "outputs", None) or ()
        if self._target is None and len(outputs) > 1:
            raise ConfigurationError(several("outputs", title, list(model.output_names)))
        # A model that overrides __call__ (a wrapper, as Xplique documents them) need not take it.
        own_call = type(model).__call__ is not keras.Layer.__call__ and not is_keras_2(model)
        self._mode: dict[str, bool] = {} if own_call else {"training": False}
        self._structure = getattr(model, "input", None)
        self._names = [each.name for each in _keras_inputs(model)]

    @property
    def model(self) -> keras.Model:
        """The Keras model."""
        return self._keras_model

    @property
    def keras_model(self) -> keras.Model | None:
        """The Keras model."""
        return self._keras_model

    def __call__(self, inputs: tf.Tensor, others: Sequence[tf.Tensor] = ()) -> tf.Tensor:
        """Outputs of the model, or of its chosen layer, in inference mode."""
        import keras

        if isinstance(self._structure, dict | list | tuple):
            given = {each.name: value for each, value in zip(self.others, others, strict=True)}
            given[self.input.name] = inputs
            flat = [given[name] for name in self._names]
            inputs = keras.tree.pack_sequence_as(self._structure, flat)
        if self._target is None:
            return self.single(self._keras_model(inputs, **self._mode))
        with recorded_calls([self._target]) as outputs:
            self._keras_model(inputs, **self._mode)
        if self._target.path not in outputs:
            raise ConfigurationError(
                f"output_layer {self._target.path!r} computes nothing when {self.title} is called; "
                "choose a layer between its input and its output"
            )
        return self.single(outputs[self._target.path])

    @contextlib.contextmanager
    def recorded_layers(self) -> Iterator[Mapping[str, Any]]:
        """What each layer returns, by path, in calls made meanwhile."""
        with recorded_calls(list_layers(self._keras_model)) as outputs:
            yield outputs


def trace(function: ModelFunction, shape: Shape) -> Trace:
    """Runs a function once, symbolically, on one input of a shape (without the batch axis).

    Raises:
      ConfigurationError: It does not take such inputs, or does not return one tensor with a row
        for each.
    """
    import tensorflow as tf

    if not function.input.fits(shape):
        raise ConfigurationError(
            f"inputs of shape {shape} do not fit {function.title}, which takes "
            f"{function.input.shape}; correct source.input.shape, or the array's"
        )
    recorded: list[tuple[tf.Tensor, Mapping[str, Any]]] = []

    def run(inputs: tf.Tensor) -> tf.Tensor:
        with function.recorded_layers() as layers:
            output = function(inputs, function.held(batch))
        recorded.append((output, layers))
        return output

    batch = function.input.batch or 1
    spec = tf.TensorSpec((batch, *shape), function.input.dtype)
    try:
        # Without AutoGraph, which disguises errors and complains of lambdas.
        concrete = tf.function(run, autograph=False).get_concrete_function(spec)
    except ConfigurationError:
        raise
    except Exception as error:  # whatever a user's model can raise
        raise ConfigurationError(
            f"{function.title} cannot be applied to inputs of shape {shape} ({reason(error)}); "
            "correct source.input.shape, or the array's"
        ) from error
    output, layers = recorded[-1]
    if output.shape.rank is None or output.shape.rank < 1 or output.shape[0] not in (batch, None):
        raise ConfigurationError(
            f"{function.title} returns {output.shape} for {batch} input(s); it must return a row "
            "an input"
        )
    names = _tensor_names(layers, output.graph)
    softmax = find_softmax(output.graph, output.name, names)
    return Trace(
        layer=names.get(output.name),
        output_shape=tuple(output.shape[1:].as_list()),
        softmax=softmax,
        training=find_training_operations(output.graph),
        concrete=concrete,
    )


def check_floating(function: ModelFunction) -> ModelFunction:
    """Refuses a function whose input has no gradient.

    Raises:
      ConfigurationError: It is of integers, or of text.
    """
    if not function.input.is_floating:
        raise ConfigurationError(
            f"{function.title} takes {function.input.dtype} inputs ({function.input.name!r}), "
            "which have no gradient; export it with a floating-point input, or explain it in a run"
        )
    return function


def _keras_inputs(model: keras.Model) -> list[ModelInput]:
    inputs = getattr(model, "inputs", None)
    if inputs:
        return [
            # A type is its name in Keras 3, and not in Keras 2.
            ModelInput(each.name, tuple(each.shape[1:]), getattr(each.dtype, "name", each.dtype))
            for each in inputs
        ]
    # A subclassed model knows what it was built with, if it was.
    shape = (model.get_build_config() or {}).get("input_shape")
    if isinstance(shape, list | tuple) and all(
        each is None or isinstance(each, int) for each in shape
    ):
        return [ModelInput(shape=tuple(shape[1:]))]
    return [ModelInput()]


def _tensor_names(layers: Mapping[str, Any], graph: Any) -> dict[str, str]:
    """Tensor name -> path of the layer that returned it: the outermost, then the last."""
    import tensorflow as tf

    names: dict[str, str] = {}
    for path, value in layers.items():
        if not tf.is_symbolic_tensor(value) or value.graph is not graph:
            continue
        known = names.get(value.name)
        if known is None or path.count("/") <= known.count("/"):
            names[value.name] = path
    return names
