"""Models: loaded from any storage, described, and ready to be explained."""

from __future__ import annotations

import copy
import dataclasses
import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from transforms.errors import ConfigurationError, RunError
from transforms.models.files import (
    Keras2Error,
    is_keras_file,
    local_model,
    model_digest,
    open_keras,
    open_saved_model,
)
from transforms.models.functions import KerasFunction, ModelFunction, Trace, class_count, trace
from transforms.models.inputs import ModelInput, Shape
from transforms.models.integers import DifferentiableFunction, EmbeddedFunction, differentiable
from transforms.models.layers import list_layers
from transforms.models.logits import LogitsFunction
from transforms.models.opening.imports import import_modules
from transforms.models.opening.keras2 import is_keras_2, open_keras_2
from transforms.models.signatures import SignatureFunction
from transforms.models.softmax import SoftmaxEnding
from transforms.models.training_mode import TrainingOperations, check_no_random_operation
from transforms.storage import LocalStorage, Storage

if TYPE_CHECKING:
    import tensorflow as tf


ModelOutput: TypeAlias = Literal["as_is", "logits"]

OutputReading: TypeAlias = Literal["classes", "channels", "values", "proposals", "any"]
"""What an operator takes outputs for: scores of classes (N, C); scores of classes at each position,
(N, ..., C); numbers (N, C); a detector's proposals (N, P, 4 + C); or it is not known."""

_BOX_COORDINATES = 4

_logger = logging.getLogger(__name__)

_warned_of_softmax: weakref.WeakSet[Any] = weakref.WeakSet()


class LoadedModel:
    """A model in inference mode, at the layer whose output is explained.

    Attributes:
      uri: Where it came from.
      digest: SHA-256 of its content, in hex.
      function: What is called and differentiated.
    """

    def __init__(self, uri: str, digest: str, function: ModelFunction, shape: Shape) -> None:
        self.uri = uri
        self.digest = digest
        self.function = function
        self._input_shape = shape
        self._trace: Trace = trace(function, shape)
        self._reading: OutputReading | None = None
        self._takes_channels_first = False
        self._fed: Mapping[str, tf.Tensor] = {}

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """Outputs (N, outputs) of inputs (N, ...), which are of the input's dtype."""
        taken = channels_to_front(inputs) if self._takes_channels_first else inputs
        return self._read(self.function(taken, self._beside(inputs)))

    def _beside(self, inputs: tf.Tensor) -> Sequence[tf.Tensor]:
        import tensorflow as tf

        for name, values in self._fed.items():
            if not values.shape[:1].is_compatible_with(inputs.shape[:1]):
                raise ConfigurationError(
                    f"{self.function.title} is called with {inputs.shape[0]} examples where there "
                    f"are {values.shape[0]}, each with its own value of input {name!r}: let the "
                    "operator call it with as many as it is given, or hold that input at a constant"
                )
        held = self.function.held(tf.shape(inputs)[0])
        others = zip(self.function.others, held, strict=True)
        return [self._fed.get(each.name, constant) for each, constant in others]

    @property
    def fed_inputs(self) -> tuple[ModelInput, ...]:
        """The inputs that are fed with examples' own values, in the order of `feeding`."""
        return tuple(each for each in self.function.others if each.name in self.function.fed)

    def feeding(self, values: Sequence[tf.Tensor]) -> LoadedModel:
        """The same model with values for the inputs that are fed.

        Args:
          values: Of each of `fed_inputs`, (N, ...), for N examples at a time.
        """
        model = copy.copy(self)
        names = (each.name for each in self.fed_inputs)
        model._fed = dict(zip(names, values, strict=True))
        return model

    def _read(self, outputs: tf.Tensor) -> tf.Tensor:
        return _two_classes(outputs, self.softmax is not None) if self.is_paired else outputs

    @property
    def embedding_width(self) -> int | None:
        """How many numbers stand for each token; None where the inputs are no tokens."""
        function = self.function
        return function.width if isinstance(function, EmbeddedFunction) else None

    def embedded(self, tokens: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        """Tokens (N, T) as rows (N, T, width), and the function from rows to outputs (N, ...)."""
        function = self.function
        assert isinstance(function, EmbeddedFunction)  # noqa: S101 - `embedding_width` tells
        beside = self._beside(tokens)
        return function.embedded(tokens), lambda rows: self._read(
            function.outputs(tokens, rows, beside)
        )

    @property
    def integer_dtype(self) -> str | None:
        """The integer type that the model takes in use; None where it takes numbers."""
        function = self.function
        return function.integer_dtype if isinstance(function, DifferentiableFunction) else None

    def read_as(self, reading: OutputReading) -> LoadedModel:
        """The same model with its outputs taken for something; what is loaded is shared.

        One score, read as classes, becomes those of two: z gives (-z, z), a probability p, as a
        sigmoid makes, (1 - p, p).
        """
        model = copy.copy(self)
        model._reading = reading
        return model

    def with_channels(self, place: Literal["first", "last"] | None) -> LoadedModel:
        """The same model as a function of inputs (N, H, W, C), wherever it takes the channels."""
        model = copy.copy(self)
        model._takes_channels_first = place == "first"
        return model

    @property
    def is_paired(self) -> bool:
        """Whether its one score is read as those of two classes; see `read_as`."""
        return self._trace.output_shape[-1:] == (1,) and self._reading in ("classes", "channels")

    @property
    def input_shape(self) -> Shape:
        """Shape of one input, without the batch axis; None for a length that is free."""
        return self._input_shape

    @property
    def input_dtype(self) -> str:
        """TensorFlow's name of the input's dtype, always a floating-point one."""
        return self.function.input.dtype

    @property
    def batch(self) -> int | None:
        """The only batch size the model takes; None if it takes any."""
        return self.function.input.batch

    @property
    def output_shape(self) -> Shape:
        """Shape of the explained output of one input, without the batch axis."""
        shape = self._trace.output_shape
        return (*shape[:-1], 2) if self.is_paired else shape

    @property
    def classes(self) -> int | None:
        """Number of classes; None where the explained output is not read as (N, classes)."""
        if self._reading in ("channels", "values", "proposals"):
            return None
        classes = class_count(self.output_shape)
        return None if classes == 1 and self._reading == "any" else classes

    @property
    def explicable(self) -> int | None:
        """How many outputs a target may name; None where only the operator knows."""
        last = self.output_shape[-1] if self.output_shape else None
        if self._reading == "proposals":
            return None if last is None else last - _BOX_COORDINATES
        return last if self._reading in ("channels", "values") else self.classes

    @property
    def outputs(self) -> int:
        """Number of outputs (classes).

        Raises:
          ConfigurationError: The explained output is not (N, outputs).
        """
        return 2 if self.is_paired else count_outputs(self.function, self._trace)

    @property
    def explained_layer(self) -> str | None:
        """Path of the layer whose output is explained; a SavedModel's output name."""
        return self.function.output_name or self._trace.layer

    @property
    def softmax(self) -> SoftmaxEnding | None:
        """Set if the explained output is that of a softmax or sigmoid."""
        return self._trace.softmax

    @property
    def training(self) -> TrainingOperations:
        """Operations of training that are in the model, though it is called for inference."""
        return self._trace.training

    @property
    def traced(self) -> Any:
        """A concrete function from inputs to outputs, before these are read as anything."""
        return self._trace.concrete

    @property
    def reading(self) -> OutputReading | None:
        """What its outputs are taken for; see `read_as`."""
        return self._reading

    def describe(self) -> dict[str, Any]:
        """What it is, in plain values that JSON can hold."""
        keras_model = self.function.keras_model
        return {
            "uri": self.uri,
            "format": _format(keras_model),
            "digest": self.digest,
            "input": {
                "name": self.function.input.name,
                "shape": list(self.input_shape),
                "dtype": self.integer_dtype or self.input_dtype,
            },
            "output": {"layer": self.explained_layer, "shape": list(self._trace.output_shape)},
            "parameters": None if keras_model is None else int(keras_model.count_params()),
            "layers": []
            if keras_model is None
            else [each.path for each in list_layers(keras_model)],
            "advice": None if self.softmax is None else self.softmax.advice,
        }


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Which model, and how it is loaded: the same for the launcher and for every worker.

    Attributes:
      uri: A .keras, .h5 or .hdf5 file, or a SavedModel folder.
      output_layer: Name, path (`submodel/name`) or index of the layer to explain; a SavedModel's
        layers are not kept, there it is the name of an output. None is the last layer.
      allow_unsafe: Load Keras files that hold Python code (Lambda layers). A SavedModel is a
        graph of TensorFlow's operations and holds none.
      input_shape: Shape of the inputs that will come, without the batch axis. Checked against the
        model's own; needed only where the model leaves it open.
      digest: SHA-256 of its content, in hex, where it is known; another content is refused.
      output: `as_is`; `logits` is what the softmax or sigmoid that it ends in is computed of.
      imports: Modules to import first: the model's own code.
      signature: Of a SavedModel; None is `serving_default`.
      explained_input: The name of the input that is explained; None where there is one.
      constants: What the other inputs are held at, by name.
      fed: Those of the other inputs that are fed with each example's own values.
    """

    uri: str
    output_layer: str | int | None = None
    allow_unsafe: bool = False
    input_shape: Shape | None = None
    digest: str | None = None
    output: ModelOutput = "as_is"
    imports: tuple[str, ...] = ()
    signature: str | None = None
    explained_input: str | None = None
    constants: tuple[tuple[str, float], ...] = ()
    fed: tuple[str, ...] = ()


def load_model(spec: ModelSpec, storage: Storage) -> LoadedModel:
    """Loads a model; warns once if what is explained ends in softmax.

    Args:
      spec: The model.
      storage: Where it is. What is not local is copied to a temporary folder first.

    Raises:
      ConfigurationError: It cannot be loaded or explained, does not take such inputs, or draws
        random numbers.
      RunError: It is not the model whose digest is known.
    """
    function: ModelFunction
    uri = spec.uri
    code = import_modules(spec.imports)
    with local_model(uri, storage) as path:
        digest = model_digest(path, LocalStorage())  # of a remote one's copy: it is read once
        _require_digest(spec, digest)
        if is_keras_file(path):
            if spec.signature is not None:
                raise ConfigurationError(
                    f"model.signature is {spec.signature!r}, but {uri} is a Keras file; only "
                    "SavedModels have signatures, so leave it out"
                )
            opened = _open(spec, path, code)
            function = KerasFunction(opened, spec.output_layer, spec.explained_input)
        else:
            saved = open_saved_model(uri, path)
            function = SignatureFunction(
                saved, f"model {uri}", spec.output_layer, spec.signature, spec.explained_input
            )
    if spec.explained_input is not None:
        function.hold(dict(spec.constants), spec.fed)
    if spec.output == "logits":
        function = LogitsFunction(function)
    shape = spec.input_shape if spec.input_shape is not None else function.input.shape
    if shape is None:
        raise ConfigurationError(
            f"model {uri} does not say what shape its input has; give source.input.shape, or save "
            "the model after it was called once"
        )
    loaded = LoadedModel(uri, digest, differentiable(function, shape), shape)
    check_no_random_operation(function.title, loaded.training)
    warn_about_softmax(function, loaded.softmax)
    return loaded


def _open(spec: ModelSpec, path: str, code: Mapping[str, Any]) -> Any:
    """A Keras file's model, by the Keras that reads it."""
    try:
        return open_keras(spec.uri, path, spec.allow_unsafe, code)
    except Keras2Error:
        return open_keras_2(spec.uri, path, spec.allow_unsafe, code)


def channels_to_front(inputs: tf.Tensor) -> tf.Tensor:
    """(N, H, W, C) -> (N, C, H, W)."""
    import tensorflow as tf

    return tf.transpose(inputs, [0, 3, 1, 2])


def _two_classes(scores: tf.Tensor, are_probabilities: bool) -> tf.Tensor:
    import tensorflow as tf

    other = 1 - scores if are_probabilities else -scores
    return tf.concat([other, scores], axis=-1)


def _require_digest(spec: ModelSpec, found: str) -> None:
    if spec.digest not in (None, found):
        raise RunError(
            f"model {spec.uri} is not the one that the run was begun with: its digest is {found} "
            f"here, and {spec.digest} where the run was launched; give launcher and workers the "
            "same model, and don't replace it while a run lasts"
        )


def count_outputs(function: ModelFunction, traced: Trace) -> int:
    """Number of outputs (classes) of a function that returns (N, outputs).

    Raises:
      ConfigurationError: It returns something else.
    """
    classes = class_count(traced.output_shape)
    if classes is None:
        where = f"layer {traced.layer!r} of {function.title}" if traced.layer else function.title
        raise ConfigurationError(
            f"{where} returns {_with_batch(traced.output_shape)}, but a class is explained in "
            "(N, outputs); choose a layer that returns one score per class by output_layer, or "
            "give an operator that makes one score per example of it"
        )
    return classes


def warn_about_softmax(function: ModelFunction, softmax: SoftmaxEnding | None) -> None:
    """Logs, once for each model, that what is explained ends in softmax."""
    if softmax is None or function.model in _warned_of_softmax:
        return
    _warned_of_softmax.add(function.model)
    _logger.warning("%s: %s", function.title, softmax.advice)


def _format(keras_model: Any) -> str:
    if keras_model is None:
        return "SavedModel"
    return "Keras 2" if is_keras_2(keras_model) else "Keras"


def _with_batch(shape: Shape) -> str:
    return "(" + ", ".join(["N", *("any" if each is None else str(each) for each in shape)]) + ")"
