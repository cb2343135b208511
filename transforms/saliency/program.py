"""What a run computes: a mini-batch in; codes, sketches and numbers out.

Two compiled functions: scores and gradients, which an engine computes, and what is made of them in
TensorFlow: the method's maps, statistics, sketch, codes.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from transforms.codec import CodecName
from transforms.errors import ConfigurationError, RunError
from transforms.formats.source import IMAGE_RANK, InputSpec
from transforms.models.loading import LoadedModel
from transforms.saliency.attribution import (
    Attribution,
    AttributionFunction,
    Results,
    attribute,
    check_explained,
    pad,
)
from transforms.saliency.engines.engine import (
    DEFAULT_ENGINE,
    CompiledAttribution,
    EngineSpec,
    Inputs,
    compile_attribution,
)
from transforms.saliency.methods import DEFAULT_METHOD, find_method
from transforms.saliency.preprocess import apply_scale
from transforms.saliency.quantize import quantize
from transforms.saliency.reducers import check_reducer
from transforms.saliency.scores.operators import resolve_operator
from transforms.saliency.scores.targets import TargetSpec
from transforms.statistics.maps import MapStatistics

if TYPE_CHECKING:
    import tensorflow as tf

BATCHES_AT_ONCE = 2
"""One mini-batch leaves cores (or the GPU) idle in its serial parts, which another's work fills."""

_Finish = Callable[..., Mapping[str, "tf.Tensor"]]


@dataclasses.dataclass(frozen=True)
class ProgramSpec:
    """What the compiled functions compute.

    Attributes:
      inputs: What the model takes.
      target: Which classes are explained.
      operator: `classification`, `regression`, `segmentation` or `package.module:function`.
      reducer: `max`, `mean`, `min`, `sum` or `none`.
      codec: How maps are encoded.
      batch_size: Examples in one call.
      method: How maps are made of gradients.
      engine: Who computes the gradients.
    """

    inputs: InputSpec
    target: TargetSpec
    operator: str
    reducer: str
    codec: CodecName
    batch_size: int
    method: str = DEFAULT_METHOD
    engine: EngineSpec = DEFAULT_ENGINE


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Runs mini-batches of up to `spec.batch_size` examples; `compile` makes one.

    Attributes:
      spec: What is computed.
      attribution: Scores and gradients, as the engine of `spec` compiled them.
      finish: What is made of them in TensorFlow; takes batches of any size.
      with_boxes: Whether there are box statistics, so that box masks are needed.
    """

    spec: ProgramSpec
    attribution: CompiledAttribution
    finish: _Finish
    with_boxes: bool

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
        finish = _compile_finish(spec, statistics, model)
        return cls(spec, attribution, finish, statistics.with_boxes)

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
        box_mask: npt.NDArray[np.bool_] | None = None,
    ) -> Results:
        """Explains N examples for K targets each.

        Args:
          inputs: (N, *decoded_shape) float32 or uint8, not yet scaled, N at most the batch size.
          labels: (N,) int32.
          box_mask: (N, H, W) bool, when the statistics are made with boxes.

        Returns:
          By name: `target` (N, K) int32, `score` (N, K) float32, `finite` (N, K) bool (the gradient
          and the scores), `map` (N, K, *map_shape) codes, `map_scale` (N, K), `level` (N, K,
          positions...) uint8 codes of the map that statistics are of, `sketch` (N, K,
          *sketch_shape) int32, and the per-map statistics, (N, K) float32. Where the model returns
          scores of classes, `predicted` (N,) int32 and `predicted_score` (N,) float32, too.
        """
        import tensorflow as tf

        count = len(inputs)
        size = self.batch_size
        explained = self.attribution.run(pad(inputs, size), pad(labels, size))
        arguments = [tf.convert_to_tensor(field) for field in explained.fields]
        if self.with_boxes:
            assert box_mask is not None  # noqa: S101 - the caller made the statistics with boxes
            arguments.append(tf.convert_to_tensor(pad(box_mask, size)))
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


def attribution_function(model: LoadedModel, spec: ProgramSpec) -> AttributionFunction:
    """What an engine compiles of a program: from unscaled inputs to scores and gradients.

    Raises:
      ConfigurationError: The model's output is not what the operator or the target needs.
    """
    operator = resolve_operator(spec.operator)
    check_explained(model, operator, spec.target)

    gradient_shape = _gradient_shape(model, spec)

    def call(inputs: tf.Tensor, labels: tf.Tensor, loss_scale: float) -> Attribution:
        taking, explained = explained_inputs(inputs, model, spec)
        attribution = attribute(
            taking,
            operator,
            explained,
            lambda outputs: spec.target.choose(outputs, labels, model.classes),
            loss_scale,
        )
        return dataclasses.replace(
            attribution, gradients=_of_shape(attribution.gradients, gradient_shape)
        )

    separable = model.batch is None
    return AttributionFunction(
        call, spec.inputs.decoded_shape, spec.batch_size, separable, gradient_shape
    )


def explained_inputs(
    inputs: tf.Tensor, model: LoadedModel, spec: ProgramSpec
) -> tuple[Callable[[tf.Tensor], tf.Tensor], tf.Tensor]:
    """Of decoded inputs: a function to the model's outputs, and what it is differentiated by."""
    taking = model.with_channels(spec.inputs.channels)
    given = model_inputs(inputs, model, spec)
    if model.embedding_width is None:
        return taking, given
    rows, outputs = taking.embedded(given)
    return outputs, rows


def model_inputs(inputs: tf.Tensor, model: LoadedModel, spec: ProgramSpec) -> tf.Tensor:
    """What the model is given of decoded inputs."""
    import tensorflow as tf

    scaled = apply_scale(inputs, spec.inputs.scale)
    if model.integer_dtype is None:
        return tf.cast(scaled, model.input_dtype)
    dtype = tf.as_dtype(model.integer_dtype)
    low, high = (0, 1) if dtype.is_bool else (dtype.min, dtype.max)
    return tf.clip_by_value(tf.round(scaled), float(low), float(high))  # as the deployed one gets


def _gradient_shape(model: LoadedModel, spec: ProgramSpec) -> tuple[int, ...]:
    """Of one gradient: the input's; of tokens (T, 1, width), an image's with a row each."""
    inputs, width = spec.inputs, model.embedding_width
    if model.integer_dtype is not None and inputs.scale != "none":
        raise ConfigurationError(
            f"source.input.scale is {inputs.scale!r}, but the model takes {model.integer_dtype}; "
            "it scales its inputs itself, so leave it out"
        )
    if width is None:
        return inputs.decoded_shape
    if check_reducer(spec.reducer) == "none":
        raise ConfigurationError(
            "explain.reducer is 'none', but the model takes tokens, whose maps have one value per "
            "token; choose max, mean, min or sum"
        )
    return (*inputs.shape, 1, width)


def _of_shape(gradients: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """(N, K, ...) -> (N, K, *shape)."""
    import tensorflow as tf

    return tf.reshape(gradients, (tf.shape(gradients)[0], gradients.shape[1], *shape))


def map_function(spec: ProgramSpec) -> Callable[[tf.Tensor], tf.Tensor]:
    """How a program makes maps of gradients (M, *shape): its method, with its reducer."""
    return functools.partial(find_method(spec.method).maps, reducer=check_reducer(spec.reducer))


def _compile_finish(spec: ProgramSpec, statistics: MapStatistics, model: LoadedModel) -> _Finish:
    import tensorflow as tf

    make_maps = map_function(spec)
    shape = _gradient_shape(model, spec)
    has_channels = len(shape) == IMAGE_RANK
    keeps_channels = has_channels and check_reducer(spec.reducer) == "none"
    count = spec.target.count

    def finish(
        outputs: tf.Tensor,
        targets: tf.Tensor,
        scores: tf.Tensor,
        gradients: tf.Tensor,
        box_mask: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        # (N, K, ...) -> (N * K, ...): what follows knows nothing of targets.
        gradients = tf.reshape(gradients, (-1, *shape))
        maps = make_maps(gradients)
        if has_channels and not keeps_channels:
            maps = tf.squeeze(maps, axis=-1)
        # With all channels kept, statistics describe positions: their largest channel.
        flat = tf.reduce_max(maps, axis=-1) if keeps_channels else maps
        if model.embedding_width is not None:
            maps = flat = tf.reshape(maps, (-1, *spec.inputs.positions))
        if box_mask is not None:
            box_mask = tf.repeat(box_mask, count, axis=0)
        per_map = statistics.compute(flat, box_mask)
        codes, scales = quantize(maps, spec.codec)
        levels, _ = quantize(flat, "uint8")
        finite = tf.reduce_all(tf.math.is_finite(gradients), axis=list(range(1, len(shape) + 1)))
        per_map |= {"map": codes, "map_scale": scales, "level": levels, "finite": finite}
        results = {
            name: tf.reshape(value, (-1, count, *value.shape[1:]))
            for name, value in per_map.items()
        }
        results["finite"] &= tf.math.is_finite(scores)
        results |= {"target": targets, "score": scores}
        if model.classes is not None:
            predicted = tf.argmax(outputs, axis=-1, output_type=tf.int32)
            predicted_score = tf.gather(outputs, predicted, batch_dims=1)
            results["finite"] &= tf.math.is_finite(predicted_score)[:, tf.newaxis]
            results |= {"predicted": predicted, "predicted_score": predicted_score}
        return results

    signature = [  # For any batch size, so that others can be tried.
        tf.TensorSpec((None, *model.output_shape), tf.float32),
        tf.TensorSpec((None, count), tf.int32),
        tf.TensorSpec((None, count), tf.float32),
        tf.TensorSpec((None, count, *shape), tf.float32),
    ]
    if statistics.with_boxes:
        signature.append(tf.TensorSpec((None, *spec.inputs.positions), tf.bool))
    compiled: _Finish = tf.function(finish, input_signature=signature, autograph=False)
    compiled.get_concrete_function()  # type: ignore[attr-defined] # traced now, not at first use
    return compiled
