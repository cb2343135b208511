"""The one compiled function of a run: a mini-batch in; codes, sketches and numbers out."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.codec import CodecName
from transforms.formats.source import InputSpec
from transforms.models import LoadedModel
from transforms.saliency.operators import resolve_operator
from transforms.saliency.preprocess import apply_scale
from transforms.saliency.quantize import quantize
from transforms.saliency.reducers import check_reducer, reduce_channels
from transforms.saliency.target_gradients import target_gradients
from transforms.saliency.targets import TargetSpec
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
    """

    inputs: InputSpec
    target: TargetSpec
    operator: str
    reducer: str
    codec: CodecName
    batch_size: int


class Program:
    """Runs mini-batches of up to `batch_size` examples through one trace.

    Args:
      model: What is explained.
      spec: What is computed.
      statistics: The statistics of single maps.
    """

    def __init__(self, model: LoadedModel, spec: ProgramSpec, statistics: MapStatistics) -> None:
        self._spec = spec
        self._with_boxes = statistics.with_boxes
        self._function = _compile(model, spec, statistics)

    def resized(self, batch_size: int) -> Program:
        """The same trace, for mini-batches of another size."""
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
        arguments = [_pad(inputs, self._spec.batch_size), _pad(labels, self._spec.batch_size)]
        if self._with_boxes:
            assert box_mask is not None  # noqa: S101 - the caller made the statistics with boxes
            arguments.append(_pad(box_mask, self._spec.batch_size))
        results = self._function(*(tf.convert_to_tensor(argument) for argument in arguments))
        return {name: value.numpy()[:count] for name, value in results.items()}


def _pad(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if len(array) == size:
        return array
    padding = np.zeros((size - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, padding])


def _compile(
    model: LoadedModel, spec: ProgramSpec, statistics: MapStatistics
) -> Callable[..., Mapping[str, tf.Tensor]]:
    import tensorflow as tf

    operator = resolve_operator(spec.operator)
    reducer = check_reducer(spec.reducer)
    shape = spec.inputs.shape
    has_channels = len(shape) == IMAGE_RANK

    def explain(
        inputs: tf.Tensor, labels: tf.Tensor, box_mask: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        scaled = apply_scale(inputs, spec.inputs.scale)
        scaled = tf.cast(scaled, model.input_dtype)
        explained = target_gradients(
            model, operator, scaled, lambda outputs: spec.target.classes(outputs, labels)
        )
        # (N, K, ...) -> (N * K, ...): what follows knows nothing of targets.
        gradients = tf.reshape(explained.gradients, (-1, *shape))
        maps = reduce_channels(gradients, reducer)
        if has_channels and reducer != "none":
            maps = tf.squeeze(maps, axis=-1)
        # With all channels kept, statistics describe positions: their largest channel.
        flat = tf.reduce_max(maps, axis=-1) if has_channels and reducer == "none" else maps
        targets = explained.targets.shape[1]
        if box_mask is not None:
            box_mask = tf.repeat(box_mask, targets, axis=0)
        per_map = statistics.compute(flat, box_mask)
        codes, scales = quantize(maps, spec.codec)
        levels, _ = quantize(flat, "uint8")
        finite = tf.reduce_all(tf.math.is_finite(gradients), axis=list(range(1, len(shape) + 1)))
        per_map |= {"map": codes, "map_scale": scales, "level": levels, "finite": finite}
        results = {
            name: tf.reshape(value, (-1, targets, *value.shape[1:]))
            for name, value in per_map.items()
        }
        predicted = tf.argmax(explained.outputs, axis=-1, output_type=tf.int32)
        predicted_score = tf.gather(explained.outputs, predicted, batch_dims=1)
        results["finite"] &= tf.math.is_finite(explained.scores)
        results["finite"] &= tf.math.is_finite(predicted_score)[:, tf.newaxis]
        return results | {
            "target": explained.targets,
            "score": explained.scores,
            "predicted": predicted,
            "predicted_score": predicted_score,
        }

    # As fast as a trace of one batch size, and every size can be tried without tracing again.
    signature = [
        tf.TensorSpec((model.batch, *shape), tf.float32),
        tf.TensorSpec((model.batch,), tf.int32),
    ]
    if statistics.with_boxes:
        signature.append(tf.TensorSpec((model.batch, *shape[:2]), tf.bool))
    compiled = tf.function(explain, input_signature=signature, autograph=False)
    compiled.get_concrete_function()  # Traced now, where an error is about the model, not the data.
    program: Callable[..., Mapping[str, tf.Tensor]] = compiled
    return program
