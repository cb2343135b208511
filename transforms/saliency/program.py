"""What a run computes: a mini-batch in; codes, sketches and numbers out.

Two compiled functions: scores and gradients, which an engine computes, and what is made of them in
TensorFlow: the method's maps, statistics, sketch, codes. A method of several steps calls the first
once per step.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.codec import CodecName, StoredCodec, stored_codec
from transforms.errors import ConfigurationError, RunError
from transforms.formats.source import InputSpec
from transforms.models.loading import LoadedModel
from transforms.saliency.activations import (
    ActivationLayer,
    LayerName,
    ScoredModel,
    channels_last,
    find_activation_layer,
    layered,
)
from transforms.saliency.attribution import (
    Attribution,
    AttributionFunction,
    Results,
    attribute,
    check_explained,
    pad,
    score,
)
from transforms.saliency.contract.method import MapForm, Method, Sign, SteppedMethod
from transforms.saliency.contract.steps import Steps, steps_of
from transforms.saliency.engines.engine import (
    DEFAULT_ENGINE,
    CompiledAttribution,
    EngineSpec,
    Inputs,
    compile_attribution,
)
from transforms.saliency.methods.saliency import SaliencyMethod
from transforms.saliency.preprocess import apply_scale, scale_slope
from transforms.saliency.reducers import Reducer, largest_magnitudes
from transforms.saliency.results import (
    MakeResults,
    compile_results,
    field_specs,
    gradient_shape,
)
from transforms.saliency.scores.operators import resolve_operator
from transforms.saliency.scores.targets import Targets, TargetSpec
from transforms.statistics.maps import MapStatistics
from transforms.statistics.places import separated

if TYPE_CHECKING:
    import tensorflow as tf

_SALIENCY = SaliencyMethod()

BATCHES_AT_ONCE = 2
"""One mini-batch leaves cores (or the GPU) idle in its serial parts, which another's work fills."""


@dataclasses.dataclass(frozen=True)
class ProgramSpec:
    """What the compiled functions compute.

    Attributes:
      inputs: What the model takes.
      target: Which classes are explained.
      operator: `classification`, `regression`, `segmentation`, `detection` or
        `package.module:function`.
      reducer: `max`, `mean`, `min`, `sum` or `none`; None where the method's values have no
        channels.
      codec: How maps are encoded.
      batch_size: Examples in one call.
      method: Which calls are made, and which maps are made of them.
      sign: What is kept of the method's values.
      engine: Who computes the gradients.
      layer: Which layer's activations the method explains: as `explain.layer` says it, or as
        `find_layer_of` found it.

    Raises:
      ConfigurationError: The engine's precision is none for the method.
    """

    inputs: InputSpec
    target: TargetSpec
    operator: str
    reducer: Reducer | None
    codec: CodecName
    batch_size: int
    method: Method = _SALIENCY
    sign: Sign = "absolute"
    engine: EngineSpec = DEFAULT_ENGINE
    layer: ActivationLayer | LayerName = None

    def __post_init__(self) -> None:
        if problem := self.method.precision_problem(self.engine.precision):
            raise ConfigurationError(problem)

    @property
    def form(self) -> MapForm:
        """What is made of the method's values."""
        return MapForm(self.sign, self.reducer, self.inputs.positions, self.inputs.has_channels)

    @property
    def hands_over_maps(self) -> bool:
        """Whether the largest magnitudes over channels are all that is asked for of gradients.

        What computes gradients then hands these over. Other reducers need not be exact.
        """
        largest = (self.sign, self.reducer) == ("absolute", "max")
        return largest and self.method.finishes_gradients

    @property
    def stored_codec(self) -> StoredCodec:
        """How maps are encoded, with or without a sign."""
        return stored_codec(self.codec, signed=self.form.signed)

    def first_labels(self, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """What the compiled function is given at first, of the examples' labels (N,)."""
        stepped = isinstance(self.method, SteppedMethod)
        return self.target.first_labels(labels) if stepped else labels


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Runs mini-batches of up to `spec.batch_size` examples; `compile` makes one.

    Attributes:
      spec: What is computed.
      attribution: Scores and gradients, as the engine of `spec` compiled them.
      steps: The method's calls of it.
      finish: What is made of them in TensorFlow; takes batches of any size.
      fed: How many other inputs of the model examples' own values feed.
    """

    spec: ProgramSpec
    attribution: CompiledAttribution
    steps: Steps
    finish: MakeResults
    fed: int = 0

    @classmethod
    def compile(
        cls,
        model: LoadedModel,
        spec: ProgramSpec,
        statistics: MapStatistics,
        attribution: CompiledAttribution | None = None,
    ) -> Program:
        """Compiles a program.

        Args:
          model: What is explained.
          spec: What is computed.
          statistics: The statistics of single maps.
          attribution: What the engine of `spec` compiled, where it has done so already.

        Raises:
          ConfigurationError: The model cannot be explained so, or not by that engine.
        """
        if attribution is None:
            attribution = compile_attribution(attribution_function(model, spec), spec.engine)
        steps = steps_of(spec.method, tuple(field_specs(spec, model)), spec.inputs.decoded_shape)
        finish = compile_results(spec, steps.state, statistics, model)
        return cls(spec, attribution, steps, finish, len(model.fed_inputs))

    @property
    def batch_size(self) -> int:
        """Examples in one call."""
        return self.spec.batch_size

    def preparation(self, batch_size: int) -> float:
        """Seconds that compiling for mini-batches of a size may take; 0 where nothing has to be."""
        prepared = batch_size == self.batch_size or self.attribution.takes(batch_size)
        return 0.0 if prepared else self.attribution.compile_seconds

    def resized(self, batch_size: int) -> Program | None:
        """The same for mini-batches of another size; None if that has to be compiled anew."""
        if not self.attribution.takes(batch_size):
            return None
        spec = dataclasses.replace(self.spec, batch_size=batch_size)
        return dataclasses.replace(self, spec=spec)

    def run(
        self,
        inputs: Inputs,
        labels: npt.NDArray[np.int32],
        ids: npt.NDArray[np.object_] | None = None,
        *others: npt.NDArray[Any],
        most_calls: int | None = None,
    ) -> Results:
        """Explains N examples for K targets each.

        Args:
          inputs: (N, *decoded_shape) float32 or uint8, not yet scaled, N at most the batch size.
          labels: (N,) int32.
          ids: (N,) strings, which random numbers depend on; None where the method draws none.
          *others: What feeds other inputs of the model, then what `PlaceFinder` finds, (N, ...).
          most_calls: The method's calls after which to stop, for a trial; None makes all.

        Returns:
          By name: `target` (N, K) int32, `score` (N, K) float32, `finite` (N, K) bool (the method's
          values and the scores), `map` (N, K, *map_shape) codes, `map_scale` (N, K), `level` (N, K,
          positions...) uint8 codes of the map that statistics are of, `sketch` (N, K,
          *sketch_shape) int32, the per-map statistics and the method's columns, (N, K) float32.
          Where the model returns scores of classes, `predicted` (N,) int32 and `predicted_score`
          (N,) float32, too.
        """
        import tensorflow as tf

        count, size = len(inputs), self.attribution.size_for(len(inputs), self.batch_size)
        calls = min(self.spec.method.calls, most_calls or self.spec.method.calls)
        padded = pad(inputs, size)
        labels = self.spec.first_labels(pad(labels, size))
        fed = [pad(values, size) for values in others[: self.fed]]
        first = self.attribution.run(padded, labels, *fed)
        # The same classes in every step; one target is a label, several are a row of them.
        targets = np.asarray(first.targets)
        pinned = targets[:, 0] if labels.ndim == 1 else targets

        def call(perturbed: tf.Tensor) -> Attribution:
            return self.attribution.run(perturbed, pinned, *fed)

        if calls > 1 or self.spec.method.uses_inputs:
            padded = tf.cast(padded, tf.float32)
        state = self.steps.run(first, call, padded, () if ids is None else pad(ids, size), calls)
        arguments = [*map(tf.convert_to_tensor, (first.outputs, targets, first.scores)), *state]
        if self.spec.method.uses_inputs:
            arguments.append(padded)
        places = separated([pad(place, size) for place in others[self.fed :]])
        arguments += [tf.convert_to_tensor(place) for place in places]
        results = self.finish(*arguments)
        return {name: value.numpy()[:count] for name, value in results.items()}


class Programs:
    """One model's programs, one per batch size, and the threads that run them.

    Safe to share between threads, and between explainers of different batch sizes.

    Args:
      model: What is explained.
      spec: What is computed; its batch size is the first.
      statistics: The statistics of single maps.
      attribution: What the engine of `spec` compiled, where it has done so already.

    Attributes:
      pool: Threads that run `BATCHES_AT_ONCE` mini-batches, however many threads a runner has.
    """

    def __init__(
        self,
        model: LoadedModel,
        spec: ProgramSpec,
        statistics: MapStatistics,
        attribution: CompiledAttribution | None = None,
    ) -> None:
        self._model = model
        self._statistics = statistics
        self._first = Program.compile(model, spec, statistics, attribution)
        self._by_size = {spec.batch_size: self._first}
        self._compile_lock = threading.Lock()
        self.pool = concurrent.futures.ThreadPoolExecutor(BATCHES_AT_ONCE, "explain")

    def preparation(self, batch_size: int) -> float:
        """Seconds that compiling for mini-batches of a size may take; 0 where nothing has to be."""
        return self._first.preparation(batch_size)

    def of_size(self, batch_size: int) -> Program:
        """The program for mini-batches of a size, made when it is first needed.

        Raises:
          RunError: The model takes batches of another size only.
        """
        with self._compile_lock:
            if batch_size not in self._by_size:
                if self._model.batch is not None:
                    raise RunError(
                        f"a mini-batch of {self._model.batch} does not fit into memory, and the "
                        "model takes no smaller one: give the run more memory, or a model "
                        "without a fixed batch size"
                    )
                resized = self._first.resized(batch_size)
                self._by_size[batch_size] = resized or self._compile(batch_size)
            return self._by_size[batch_size]

    def _compile(self, batch_size: int) -> Program:
        spec = dataclasses.replace(self._first.spec, batch_size=batch_size)
        return Program.compile(self._model, spec, self._statistics)


def find_layer_of(model: LoadedModel, spec: ProgramSpec) -> ProgramSpec:
    """The same with the layer that its method explains, where it needs one.

    Raises:
      ConfigurationError: The model has no such layer.
    """
    import tensorflow as tf

    if spec.method.needs != "layer" or isinstance(spec.layer, ActivationLayer):
        return spec

    def choose(outputs: tf.Tensor) -> Targets:
        labels = tf.zeros(tf.shape(outputs)[:1], tf.int32)  # any: which it is changes no layer
        return spec.target.choose(outputs, labels, model.classes)

    taking = model.with_channels(spec.inputs.channels)
    scored = ScoredModel(
        model.function,
        taking,
        spec.inputs.decoded_shape,
        model.explained_layer,
        resolve_operator(spec.operator),
        choose,
    )
    layer = find_activation_layer(scored, spec.layer, spec.method.name)
    return dataclasses.replace(spec, layer=layer)


def attribution_function(model: LoadedModel, spec: ProgramSpec) -> AttributionFunction:
    """What an engine compiles of a program: from unscaled inputs to scores and gradients.

    Raises:
      ConfigurationError: The model's output is not what the operator or the target needs.
    """
    import tensorflow as tf

    operator = resolve_operator(spec.operator)
    check_explained(model, operator, spec.target)

    stepped = isinstance(spec.method, SteppedMethod)
    shape = gradient_shape(model, spec)

    def call(
        inputs: tf.Tensor, labels: tf.Tensor, loss_scale: float, *beside: tf.Tensor
    ) -> Attribution:
        def choose(outputs: tf.Tensor) -> Targets:
            rule = spec.target.choose_or_keep if stepped else spec.target.choose
            return rule(outputs, labels, model.classes)

        taking, explained = explained_inputs(inputs, model.feeding(beside), spec)
        if spec.method.needs == "score":
            return score(taking, operator, explained, choose)
        if isinstance(spec.layer, ActivationLayer):
            with_layer = layered(model.function, taking, spec.layer)
            found = attribute(taking, operator, explained, choose, loss_scale, layered=with_layer)
            return channels_last(found, spec.layer)
        found = attribute(taking, operator, explained, choose, loss_scale)
        channels = found.gradients.shape[-1]
        gradients = tf.reshape(found.gradients, (-1, spec.target.count, *shape[:-1], channels))
        if channels != shape[-1]:
            gradients = largest_magnitudes(gradients)
        if spec.method.uses_inputs:
            # What is multiplied with inputs as they are is the gradient by inputs as they are.
            gradients *= scale_slope(spec.inputs.scale)
        return dataclasses.replace(found, gradients=gradients)

    return AttributionFunction(
        call,
        spec.inputs.decoded_shape,
        spec.batch_size,
        separable=model.batch is None,
        label_shape=spec.target.label_shape if stepped else (),
        beside=tuple((each.known_shape, each.dtype) for each in model.fed_inputs),
    )


def explained_inputs(
    inputs: tf.Tensor, model: LoadedModel, spec: ProgramSpec
) -> tuple[Callable[[tf.Tensor], tf.Tensor], tf.Tensor]:
    """Of decoded inputs: a function to the model's outputs, and what it is differentiated by."""
    taking = model.with_channels(spec.inputs.channels)
    given = model_inputs(inputs, model, spec.inputs)
    if model.embedding_width is None:
        return taking, given
    rows, outputs = taking.embedded(given)
    return outputs, rows


def model_inputs(inputs: tf.Tensor, model: LoadedModel, spec: InputSpec) -> tf.Tensor:
    """What the model is given of decoded inputs."""
    import tensorflow as tf

    scaled = apply_scale(inputs, spec.scale)
    if model.integer_dtype is None:
        return tf.cast(scaled, model.input_dtype)
    dtype = tf.as_dtype(model.integer_dtype)
    low, high = (0, 1) if dtype.is_bool else (dtype.min, dtype.max)
    return tf.clip_by_value(tf.round(scaled), float(low), float(high))  # as the deployed one gets
