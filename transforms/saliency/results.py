"""From a method's state to what is stored: maps, statistics, sketch, codes; in TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from transforms.errors import ConfigurationError
from transforms.formats.source import IMAGE_RANK
from transforms.saliency.activations import ActivationLayer
from transforms.saliency.attribution import Attribution
from transforms.saliency.engines.engine import DEFAULT_ENGINE
from transforms.saliency.quantize import quantize
from transforms.saliency.reducers import reduce_channels
from transforms.statistics.columns import POSITIVE_SHARE
from transforms.statistics.maps import REGIONS, MapStatistics, positive_share

if TYPE_CHECKING:
    import tensorflow as tf

    from transforms.models.loading import LoadedModel
    from transforms.saliency.program import ProgramSpec

MakeResults = Callable[..., Mapping[str, "tf.Tensor"]]

_MOST_COMPILED = 16


def field_specs(spec: ProgramSpec, model: LoadedModel) -> list[tf.TensorSpec]:
    """Of `Attribution.fields`, for any batch size."""
    import tensorflow as tf

    count = spec.target.count
    specs = [
        tf.TensorSpec((None, *model.output_shape), tf.float32),
        tf.TensorSpec((None, count), tf.int32),
        tf.TensorSpec((None, count), tf.float32),
    ]
    shape = gradient_shape(model, spec)
    if spec.method.needs != "score":
        specs.append(tf.TensorSpec((None, count, *shape), tf.float32))
    if spec.method.needs == "layer":
        specs.append(tf.TensorSpec((None, *shape), tf.float32))
    return specs


def gradient_shape(model: LoadedModel, spec: ProgramSpec) -> tuple[int, ...]:
    """Of one gradient: the input's, or a layer's; of tokens (T, 1, width), as an image's rows.

    Where maps are handed over, with one channel.
    """
    inputs, width = spec.inputs, model.embedding_width
    if model.integer_dtype is not None and inputs.scale != "none":
        raise ConfigurationError(
            f"source.input.scale is {inputs.scale!r}, but the model takes {model.integer_dtype}; "
            "it scales its inputs itself, so leave it out"
        )
    if isinstance(spec.layer, ActivationLayer):
        return spec.layer.shape
    if width is None:
        has_fewer = spec.hands_over_maps and inputs.has_channels
        return (*inputs.positions, 1) if has_fewer else inputs.decoded_shape
    if spec.method.calls > 1 or spec.method.uses_inputs:
        raise ConfigurationError(
            f"explain.method is {spec.method.name!r}, but the model takes tokens, which have no "
            "values to change or to multiply with; choose saliency"
        )
    if spec.reducer == "none":
        raise ConfigurationError(
            "explain.reducer is 'none', but the model takes tokens, whose maps have one value per "
            "token; choose max, mean, min or sum"
        )
    return (*inputs.shape, 1, 1 if spec.hands_over_maps else width)


def comparable_maps(spec: ProgramSpec) -> Callable[[Attribution], tf.Tensor]:
    """What engines are compared by: maps >= 0 of what one call gives back, not of all steps."""

    def maps(attribution: Attribution) -> tf.Tensor:
        import tensorflow as tf

        if attribution.gradients is None:
            return tf.abs(attribution.outputs)
        gradients = tf.convert_to_tensor(attribution.gradients)
        if attribution.activations is not None:  # Of the last layers, gradients are constants.
            gradients *= tf.expand_dims(attribution.activations, 1)
        gradients = tf.reshape(gradients, (-1, *gradients.shape[2:]))
        return reduce_channels(tf.abs(gradients), spec.reducer or "none")

    return maps


def compile_results(
    spec: ProgramSpec,
    state_specs: Sequence[tf.TensorSpec],
    statistics: MapStatistics,
    model: LoadedModel,
) -> MakeResults:
    """Compiles what is made of a method's state, in TensorFlow, for batches of any size.

    Equal ones are compiled once in a process, as neither the batch size nor the engine nor what the
    model computes is in them.

    Args:
      spec: What is computed.
      state_specs: Of the method's state.
      statistics: The statistics of single maps.
      model: What is explained.

    Returns:
      Of outputs, targets, scores, the state's tensors, the inputs where the method uses them and
      what `statistics.places` asks for: all of `Program.run`'s results.
    """
    outputs = tuple(field_specs(spec, model)[:3])
    any_size = dataclasses.replace(spec, batch_size=1, engine=DEFAULT_ENGINE)
    return _compiled(any_size, (*outputs, *state_specs), statistics, model.classes is not None)


@functools.lru_cache(maxsize=_MOST_COMPILED)
def _compiled(
    spec: ProgramSpec,
    specs: tuple[tf.TensorSpec, ...],
    statistics: MapStatistics,
    with_predictions: bool,
) -> MakeResults:
    """What `compile_results` does, of what it depends on: `specs` are its first arguments'."""
    import tensorflow as tf

    method, count = spec.method, spec.target.count

    def finish(
        outputs: tf.Tensor, targets: tf.Tensor, scores: tf.Tensor, *others: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        state, given = others[: len(specs) - 3], list(others[len(specs) - 3 :])
        inputs = given.pop(0) if method.uses_inputs else None
        values, columns = method.finish(state, inputs, scores)
        # (N, K, ...) -> (N * K, ...): what follows knows nothing of targets.
        values = tf.reshape(values, (-1, *values.shape[2:]))
        places = {
            name: each if name == REGIONS else tf.repeat(each, count, axis=0)
            for name, each in zip(statistics.places, given, strict=True)
        }
        results = {
            name: tf.reshape(value, (-1, count, *value.shape[1:]))
            for name, value in _of_maps(values, places, spec, statistics).items()
        }
        results["finite"] &= tf.math.is_finite(scores)
        results |= {"target": targets, "score": scores, **columns}
        if with_predictions:
            predicted = tf.argmax(outputs, axis=-1, output_type=tf.int32)
            predicted_score = tf.gather(outputs, predicted, batch_dims=1)
            results["finite"] &= tf.math.is_finite(predicted_score)[:, tf.newaxis]
            results |= {"predicted": predicted, "predicted_score": predicted_score}
        return results

    signature = [*specs]  # For any batch size.
    if method.uses_inputs:
        signature.append(tf.TensorSpec((None, *spec.inputs.decoded_shape), tf.float32))
    for shape, dtype in statistics.places.values():
        signature.append(tf.TensorSpec((None, *shape), dtype))
    compiled: MakeResults = tf.function(finish, input_signature=signature, autograph=False)
    compiled.get_concrete_function()  # type: ignore[attr-defined] # traced now, not at first use
    return compiled


def _of_maps(
    values: tf.Tensor,
    places: Mapping[str, tf.Tensor],
    spec: ProgramSpec,
    statistics: MapStatistics,
) -> dict[str, tf.Tensor]:
    """What is stored of the maps of M values, by name, one row per map."""
    import tensorflow as tf

    form = spec.form
    keeps_channels = spec.inputs.has_channels and form.reducer == "none"
    maps = spec.method.maps(values, form)
    if maps.shape.rank == 1 + IMAGE_RANK and not keeps_channels:
        # Of an image's maps the axis of channels; of tokens', the rows of an image one wide, too.
        maps = tf.reshape(maps, (-1, *spec.inputs.positions))
    magnitudes = tf.abs(maps) if form.signed else maps
    # With all channels kept, statistics describe positions: their largest channel.
    flat = tf.reduce_max(magnitudes, axis=-1) if keeps_channels else magnitudes
    found = statistics.compute(flat, places)
    if form.signed:
        found[POSITIVE_SHARE] = positive_share(maps)
    codes, scales = quantize(maps, spec.stored_codec, signed=form.signed)
    levels, _ = quantize(flat, "uint8")
    finite = tf.reduce_all(tf.math.is_finite(values), axis=list(range(1, values.shape.rank)))
    return found | {"map": codes, "map_scale": scales, "level": levels, "finite": finite}
