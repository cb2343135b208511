"""What explainers share: maps of arrays and datasets in memory, by any method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union, cast

import numpy as np

from transforms.errors import ConfigurationError
from transforms.formats.source import IMAGE_RANK, Channels, InputSpec
from transforms.models.functions import KerasFunction, ModelFunction, check_floating, trace
from transforms.models.inputs import ModelInput, Shape
from transforms.models.loading import LoadedModel, count_outputs, warn_about_softmax
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
    attribute,
    check_inputs,
    check_targets,
    pad,
    score,
)
from transforms.saliency.batching.batches import array_batches, dataset_batches
from transforms.saliency.contract.method import MapForm, Method
from transforms.saliency.contract.steps import Steps, steps_of
from transforms.saliency.reducers import check_reducer
from transforms.saliency.scores.operators import Operator, classification, resolve_operator
from transforms.saliency.scores.targets import Targets

if TYPE_CHECKING:
    import keras
    import numpy.typing as npt
    import tensorflow as tf


ExplainedModel: TypeAlias = Union["keras.Model", LoadedModel, Callable[["tf.Tensor"], "tf.Tensor"]]

OneOrPerChannel: TypeAlias = Union[float, Sequence[float], "npt.NDArray[Any]"]
"""One number, or one per channel of the inputs."""


class Explainer:
    """Explains arrays and datasets in memory with one method.

    One function of a fixed batch shape is compiled; a shorter last batch is padded. It reads the
    model's weights at every call, so maps follow a model that is trained in between.

    Methods that draw random numbers key them by an example's position among the inputs.
    """

    def __init__(
        self,
        model: ExplainedModel,
        method: Method,
        *,
        output_layer: str | int | None = None,
        batch_size: int | None = 64,
        operator: str | Operator | None = None,
        reducer: str | None = None,
        channels: Channels | None = None,
        conv_layer: LayerName = None,
    ) -> None:
        """Prepares an explainer.

        Args:
          model: A Keras model of any kind, a loaded one, or any differentiable function of
            tensors (N, ...).
          method: Which calls are made, and which maps are made of them.
          output_layer: Name, path (`submodel/name`) or index of the layer to explain; None is the
            last one. Of a layer that is used several times the last use counts. The layer before
            a softmax is recommended.
          batch_size: Examples at once; None is all. A model with a batch size of its own keeps it.
          operator: g(model, inputs, targets) -> (N,) scores, or its name; None is classification.
            One that branches on tensors in Python needs `@tf.function`.
          reducer: How an image's channels become one: `max`, `mean`, `min`, `sum`; `none` or None
            keeps them.
          channels: `first` for a model of (N, C, H, W): its maps are those of images, (N, H, W, 1).
            None is `last`, and refuses inputs that look like channels first.
          conv_layer: Name, path or index of the layer whose activations are explained, by methods
            that explain one; None is the last one that has places.

        Raises:
          ConfigurationError: An argument cannot be worked with.
        """
        if batch_size is not None and (isinstance(batch_size, bool) or batch_size < 1):
            raise ConfigurationError(
                f"batch_size is {batch_size}; give at least 1, or None for all at once"
            )
        import tensorflow as tf

        self._function = as_function(model, output_layer)
        self._operator = resolve_operator(operator)
        self._reducer = check_reducer(reducer) if method.reducer is not None else None
        self._method = method
        self._channels: Channels | None = channels
        self._conv_layer = conv_layer
        self._layers: dict[Shape, ActivationLayer] = {}
        self._is_first = channels == "first"
        self._batch_size = self._function.input.batch or batch_size
        self._classes: dict[Shape, int | None] = {}
        self._explained_layers: dict[Shape, str | None] = {}
        self._steps: dict[Shape, tuple[Steps, Callable[..., tf.Tensor]]] = {}
        # Without AutoGraph, which disguises errors and complains of lambdas.
        self._compiled = tf.function(self._attribute, autograph=False)

    def explain(
        self,
        inputs: tf.data.Dataset | tf.Tensor | npt.ArrayLike,
        targets: tf.Tensor | npt.ArrayLike | None = None,
    ) -> tf.Tensor:
        """Maps of inputs.

        Args:
          inputs: (N, W), (N, T, W) or (N, H, W, C), or (N, C, H, W) with `channels="first"`; or a
            dataset of such inputs or of (inputs, targets), batched or not, which is read batch by
            batch.
          targets: (N, outputs) one-hot for classification, else what the operator takes. Not
            given where the dataset has them.

        Returns:
          Maps, float32: (N, W), (N, T, W) or (N, H, W, 1), or (N, H, W, C) with no reducer.

        Raises:
          ConfigurationError: Inputs or targets do not fit the model.
        """
        import tensorflow as tf

        if isinstance(inputs, tf.data.Dataset):
            batches = dataset_batches(inputs, targets, self._batch_size, self._function.input)
        else:
            batches = array_batches(inputs, targets, self._batch_size, self._function.input.dtype)
        maps = []
        size = self._function.input.batch
        explained = 0
        for batch_inputs, batch_targets in batches:
            self._check(batch_inputs, batch_targets)
            count = len(batch_inputs)
            size = size or count  # no batch is larger than the first
            padded = (
                pad(batch_inputs, size),
                None if batch_targets is None else pad(batch_targets, size),
            )
            ids = [str(explained + row) for row in range(size)]
            maps.append(self._explain_batch(*padded, ids)[:count])
            explained += count
        if not maps:
            raise ConfigurationError("inputs is empty; give at least one example")
        return tf.concat(maps, axis=0)

    def __call__(
        self,
        inputs: tf.data.Dataset | tf.Tensor | npt.ArrayLike,
        targets: tf.Tensor | npt.ArrayLike | None = None,
    ) -> tf.Tensor:
        """The same as `explain`."""
        return self.explain(inputs, targets)

    def _explain_batch(
        self, inputs: tf.Tensor, targets: tf.Tensor | None, ids: Sequence[str]
    ) -> tf.Tensor:
        import tensorflow as tf

        # The concrete function: calling tf.function itself warns of retracing as soon as a program
        # makes a few explainers.
        compiled = self._compiled.get_concrete_function(inputs, targets)

        def call(perturbed: tf.Tensor) -> Attribution:
            given = tf.cast(perturbed, inputs.dtype)
            return Attribution(
                *compiled(_channels_first(given) if self._is_first else given, targets)
            )

        first = Attribution(*compiled(inputs, targets))
        unscaled = tf.cast(_channels_last(inputs) if self._is_first else inputs, tf.float32)
        shape = tuple(unscaled.shape[1:])
        if shape not in self._steps:
            self._steps[shape] = self._compile(shape, first)
        steps, finish = self._steps[shape]
        state = steps.run(first, call, unscaled, ids, steps.calls)
        return finish(first.scores, unscaled, *state)

    def _compile(
        self, shape: tuple[int, ...], first: Attribution
    ) -> tuple[Steps, Callable[..., tf.Tensor]]:
        """The method's steps for inputs of a shape, and what makes maps of their state."""
        import tensorflow as tf

        channels: Channels | None = "last" if len(shape) == IMAGE_RANK else None
        inputs = InputSpec("tensor", shape, channels=channels)
        method = self._method.of_inputs(inputs)
        form = MapForm(method.signs[0], self._reducer, inputs.positions, inputs.has_channels)
        specs = [tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in first.fields]
        steps = steps_of(method, tuple(specs), shape)

        def finish(scores: tf.Tensor, unscaled: tf.Tensor, *state: tf.Tensor) -> tf.Tensor:
            values, _ = method.finish(state, unscaled, scores)
            return method.maps(values[:, 0], form)

        signature = [specs[2], tf.TensorSpec((None, *shape), tf.float32), *steps.state]
        compiled = tf.function(finish, input_signature=signature, autograph=False)
        return steps, compiled.get_concrete_function()

    def _attribute(
        self, inputs: tf.Tensor, targets: tf.Tensor | None
    ) -> tuple[tf.Tensor | None, ...]:
        import tensorflow as tf

        def choose(_: tf.Tensor) -> Targets:
            return Targets((targets,), tf.zeros((inputs.shape[0], 1), tf.int32))  # not asked for

        if self._method.needs == "score":
            return score(self._function, self._operator, inputs, choose).fields
        if self._method.needs == "layer":
            layer = self._layers[tuple(inputs.shape[1:])]
            with_layer = layered(self._function, self._function, layer)
            found = attribute(self._function, self._operator, inputs, choose, layered=with_layer)
            return channels_last(found, layer).fields
        found = attribute(self._function, self._operator, inputs, choose)
        if self._is_first:
            found = dataclasses.replace(found, gradients=_channels_last(found.gradients))
        return found.fields

    def _check(self, inputs: tf.Tensor, targets: tf.Tensor | None) -> None:
        check_inputs(inputs, self._channels)
        shape = tuple(inputs.shape[1:])
        if shape not in self._classes:
            traced = trace(self._function, shape)
            warn_about_softmax(self._function, traced.softmax)
            classifies = self._operator is classification
            self._classes[shape] = count_outputs(self._function, traced) if classifies else None
            self._explained_layers[shape] = traced.layer
        classes = self._classes[shape]
        if classes is not None:
            check_targets(targets, len(inputs), classes)
        if self._method.needs == "layer" and shape not in self._layers:
            self._layers[shape] = self._find_layer(shape, targets)

    def _find_layer(self, shape: Shape, targets: tf.Tensor | None) -> ActivationLayer:
        """The layer whose activations are explained, of inputs of a shape."""
        import tensorflow as tf

        def choose(outputs: tf.Tensor) -> Targets:
            # Whatever the operator takes of an example, it takes the same of all of these.
            same = None if targets is None else tf.repeat(targets[:1], outputs.shape[0], axis=0)
            return Targets((same,))

        function, explained = self._function, self._explained_layers[shape]
        scored = ScoredModel(function, function, shape, explained, self._operator, choose)
        return find_activation_layer(scored, self._conv_layer, self._method.name, "conv_layer")


def in_channels(value: OneOrPerChannel) -> float | tuple[float, ...]:
    """One number, or one per channel, as methods take them: Python's own.

    >>> in_channels(0.5), in_channels([0.1, 0.2]), in_channels(np.float32([1, 2]))
    (0.5, (0.1, 0.2), (1.0, 2.0))
    """
    plain: Any = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(plain, list | tuple):
        return tuple(each.item() if isinstance(each, np.generic) else each for each in plain)
    return cast(float, plain)  # What is no number is refused by the method.


def _channels_last(values: tf.Tensor) -> tf.Tensor:
    """(..., C, H, W) -> (..., H, W, C)."""
    import tensorflow as tf

    *others, channels, height, width = range(values.shape.rank)
    return tf.transpose(values, [*others, height, width, channels])


def _channels_first(values: tf.Tensor) -> tf.Tensor:
    """(N, H, W, C) -> (N, C, H, W)."""
    import tensorflow as tf

    return tf.transpose(values, [0, 3, 1, 2])


def as_function(model: ExplainedModel, output_layer: str | int | None) -> ModelFunction:
    """What is called and differentiated of a model.

    Raises:
      ConfigurationError: It is no model, or has no layers to choose the output among.
    """
    import keras

    if isinstance(model, keras.Model):
        return check_floating(KerasFunction(model, output_layer))
    if output_layer is not None:
        remedy = "load_model" if isinstance(model, LoadedModel) else "a Keras model"
        raise ConfigurationError(
            f"output_layer {output_layer!r} cannot be chosen in a {type(model).__name__}; give it "
            f"to {remedy}"
        )
    if isinstance(model, LoadedModel):
        return model.function
    if not callable(model):
        raise ConfigurationError(
            f"model is a {type(model).__name__}; give a Keras model, a loaded one or a function"
        )
    name = getattr(model, "__name__", type(model).__name__)
    return ModelFunction(model, f"function {name!r}", ModelInput())
