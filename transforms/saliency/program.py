"""What a run computes: a mini-batch in; codes, sketches and numbers out.

Two compiled functions: the gradient, which an engine computes, and what is made of it in
TensorFlow: channel reduction, statistics, sketch, codes.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.codec import CodecName
from transforms.formats.source import InputSpec
from transforms.models.loading import LoadedModel
from transforms.saliency.attribution import TargetGradients, target_gradients
from transforms.saliency.engines.engine import (
    DEFAULT_ENGINE,
    CompiledGradient,
    EngineSpec,
    GradientFunction,
    compile_gradient,
)
from transforms.saliency.preprocess import apply_scale
from transforms.saliency.quantize import quantize
from transforms.saliency.reducers import check_reducer, reduce_channels
from transforms.saliency.scores.operators import resolve_operator
from transforms.saliency.scores.targets import TargetSpec
from transforms.statistics.maps import MapStatistics

if TYPE_CHECKING:
    import tensorflow as tf

Results = dict[str, npt.NDArray[Any]]

IMAGE_RANK = 3  # (H, W, C), without the batch


@dataclasses.dataclass(frozen=True)
class ProgramSpec:
    """What the compiled function computes.

    Attributes:
      inputs: What the model takes.
      target: Which classes are explained.
      operator: `classification` or `package.module:function`.
      reducer: `max`, `mean`, `min`, `sum` or `none`.
      codec: Of the codes.
      batch_size: Examples in one call.
      engine: Who computes the gradient.
    """

    inputs: InputSpec
    target: TargetSpec
    operator: str
    reducer: str
    codec: CodecName
    batch_size: int
    engine: EngineSpec = DEFAULT_ENGINE


class Program:
    """Runs mini-batches of up to `batch_size` examples through one trace.

    Args:
      model: What is explained.
      spec: What is computed.
      statistics: The statistics of single maps.
      gradient: The spec's engine's, if it has been compiled already.
    """

    def __init__(
        self,
        model: LoadedModel,
        spec: ProgramSpec,
        statistics: MapStatistics,
        gradient: CompiledGradient | None = None,
    ) -> None:
        self._spec = spec
        self._with_boxes = statistics.with_boxes
        self._gradient = gradient or compile_gradient(gradient_function(model, spec), spec.engine)
        self._finish = _compile_finish(spec, statistics, model.outputs)

    @property
    def batch_size(self) -> int:
        """Examples in one call."""
        return self._spec.batch_size

    def preparation(self, batch_size: int) -> float:
        """Seconds that compiling for mini-batches of a size may take; 0 where nothing has to be."""
        prepared = batch_size == self.batch_size or self._gradient.takes(batch_size)
        return 0.0 if prepared else self._gradient.compile_seconds

    def resized(self, batch_size: int) -> Program | None:
        """The same for mini-batches of another size; None if that has to be compiled anew."""
        if not self._gradient.takes(batch_size):
            return None
        program = copy.copy(self)
        program._spec = dataclasses.replace(self._spec, batch_size=batch_size)
        return program

    def run(
        self,
        inputs: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int32],
        box_mask: npt.NDArray[np.bool_] | None = None,
    ) -> Results:
        """Explains N examples for K targets each.

        Args:
          inputs: (N, *shape) float32, decoded but not yet scaled, N at most the batch size.
          labels: (N,) int32.
          box_mask: (N, H, W) bool, when the statistics are made with boxes.

        Returns:
          By name: `predicted` (N,) int32, `predicted_score` (N,) float32; `target` (N, K) int32,
          `score` (N, K) float32, `finite` (N, K) bool (the gradient and the scores),
          `map` (N, K, *map_shape) codes, `map_scale` (N, K), `level` (N, K, positions...) uint8
          codes of the map that statistics are of, `sketch` (N, K, *sketch_shape) int32, and the
          per-map statistics, (N, K) float32.
        """
        import tensorflow as tf

        count = len(inputs)
        size = self._spec.batch_size
        explained = self._gradient.run(_pad(inputs, size), _pad(labels, size))
        arguments = [tf.convert_to_tensor(field) for field in explained.fields]
        if self._with_boxes:
            assert box_mask is not None  # noqa: S101 - the caller made the statistics with boxes
            arguments.append(tf.convert_to_tensor(_pad(box_mask, size)))
        results = self._finish(*arguments)
        return {name: value.numpy()[:count] for name, value in results.items()}


def _pad(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if len(array) == size:
        return array
    # Copies of the first example, as a model may refuse zeros.
    return np.concatenate([array, np.repeat(array[:1], size - len(array), axis=0)])


def gradient_function(model: LoadedModel, spec: ProgramSpec) -> GradientFunction:
    """The gradient of a program, for an engine to compile: from unscaled inputs to gradients."""
    import tensorflow as tf

    operator = resolve_operator(spec.operator)

    def explain(inputs: tf.Tensor, labels: tf.Tensor, loss_scale: float) -> TargetGradients:
        scaled = tf.cast(apply_scale(inputs, spec.inputs.scale), model.input_dtype)
        return target_gradients(
            model,
            operator,
            scaled,
            lambda outputs: spec.target.classes(outputs, labels),
            loss_scale,
        )

    separable = model.batch is None
    return GradientFunction(explain, spec.inputs.shape, spec.batch_size, separable)


def _compile_finish(
    spec: ProgramSpec, statistics: MapStatistics, outputs: int
) -> Callable[..., Mapping[str, tf.Tensor]]:
    import tensorflow as tf

    reducer = check_reducer(spec.reducer)
    shape = spec.inputs.shape
    has_channels = len(shape) == IMAGE_RANK
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
        maps = reduce_channels(gradients, reducer)
        if has_channels and reducer != "none":
            maps = tf.squeeze(maps, axis=-1)
        # With all channels kept, statistics describe positions: their largest channel.
        flat = tf.reduce_max(maps, axis=-1) if has_channels and reducer == "none" else maps
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
        predicted = tf.argmax(outputs, axis=-1, output_type=tf.int32)
        predicted_score = tf.gather(outputs, predicted, batch_dims=1)
        results["finite"] &= tf.math.is_finite(scores)
        results["finite"] &= tf.math.is_finite(predicted_score)[:, tf.newaxis]
        return results | {
            "target": targets,
            "score": scores,
            "predicted": predicted,
            "predicted_score": predicted_score,
        }

    signature = [  # For any batch size, so that others can be tried.
        tf.TensorSpec((None, outputs), tf.float32),
        tf.TensorSpec((None, count), tf.int32),
        tf.TensorSpec((None, count), tf.float32),
        tf.TensorSpec((None, count, *shape), tf.float32),
    ]
    if statistics.with_boxes:
        signature.append(tf.TensorSpec((None, *shape[:2]), tf.bool))
    compiled = tf.function(finish, input_signature=signature, autograph=False)
    compiled.get_concrete_function()  # Traced now, not when the first block is there.
    program: Callable[..., Mapping[str, tf.Tensor]] = compiled
    return program
