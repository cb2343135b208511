"""`Saliency`: maps of arrays and datasets in memory, as Xplique documents them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from transforms.errors import ConfigurationError
from transforms.formats.source import Channels
from transforms.models.functions import (
    KerasFunction,
    ModelFunction,
    ModelInput,
    Shape,
    check_floating,
    trace,
)
from transforms.models.loading import LoadedModel, count_outputs, warn_about_softmax
from transforms.saliency.attribution import attribute, check_inputs, check_targets, pad
from transforms.saliency.batching.batches import array_batches, dataset_batches
from transforms.saliency.methods.saliency import DEFAULT_REDUCER, METHOD
from transforms.saliency.reducers import check_reducer
from transforms.saliency.scores.operators import Operator, classification, resolve_operator
from transforms.saliency.scores.targets import Targets

if TYPE_CHECKING:
    import keras
    import numpy.typing as npt
    import tensorflow as tf


class Saliency:
    """Saliency maps: the absolute gradient of a class's score by the input.

    A_ij = max_c |dg/dx_ijc| (Simonyan, Vedaldi, Zisserman 2013, arXiv 1312.6034).

    One function of a fixed batch shape is compiled; a shorter last batch is padded. It reads the
    model's weights at every call, so maps follow a model that is trained in between.

    With a Keras `model` of four classes and `images`, (2, 12, 12, 3):

    >>> import tensorflow as tf
    >>> explainer = Saliency(model, output_layer="logits", batch_size=32)
    >>> explainer.explain(images, tf.one_hot([3, 0], 4)).shape
    TensorShape([2, 12, 12, 1])
    """

    def __init__(
        self,
        model: keras.Model | LoadedModel | Callable[[tf.Tensor], tf.Tensor],
        output_layer: str | int | None = None,
        batch_size: int | None = 64,
        operator: str | Operator | None = None,
        reducer: str | None = DEFAULT_REDUCER,
        *,
        channels: Channels | None = None,
    ) -> None:
        """Prepares an explainer.

        Args:
          model: A Keras model of any kind, a loaded one, or any differentiable function of
            tensors (N, ...).
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

        Raises:
          ConfigurationError: An argument cannot be worked with.
        """
        if batch_size is not None and (isinstance(batch_size, bool) or batch_size < 1):
            raise ConfigurationError(
                f"batch_size is {batch_size}; give at least 1, or None for all at once"
            )
        import tensorflow as tf

        self._function = _as_function(model, output_layer)
        self._operator = resolve_operator(operator)
        self._reducer = check_reducer(reducer)
        self._channels = channels
        self._batch_size = self._function.input.batch or batch_size
        self._classes: dict[Shape, int | None] = {}
        # Without AutoGraph, which disguises errors and complains of lambdas.
        self._compiled = tf.function(self._explain_batch, autograph=False)

    def explain(
        self,
        inputs: tf.data.Dataset | tf.Tensor | npt.ArrayLike,
        targets: tf.Tensor | npt.ArrayLike | None = None,
    ) -> tf.Tensor:
        """Saliency maps of inputs.

        Args:
          inputs: (N, W), (N, T, W) or (N, H, W, C), or (N, C, H, W) with `channels="first"`; or a
            dataset of such inputs or of (inputs, targets), batched or not, which is read batch by
            batch.
          targets: (N, outputs) one-hot for classification, else what the operator takes. Not
            given where the dataset has them.

        Returns:
          Maps >= 0, float32: (N, W), (N, T, W) or (N, H, W, 1), or (N, H, W, C) with no reducer.

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
        for batch_inputs, batch_targets in batches:
            self._check(batch_inputs, batch_targets)
            count = len(batch_inputs)
            size = size or count  # no batch is larger than the first
            padded = (
                pad(batch_inputs, size),
                None if batch_targets is None else pad(batch_targets, size),
            )
            # The concrete function: calling tf.function itself warns of retracing as soon as
            # a program makes a few explainers.
            maps.append(self._compiled.get_concrete_function(*padded)(*padded)[:count])
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

    def _explain_batch(self, inputs: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
        def choose(_: tf.Tensor) -> Targets:
            return Targets((targets,))

        explained = attribute(self._function, self._operator, inputs, choose)
        gradients = explained.gradients[:, 0]
        if self._channels == "first":
            import tensorflow as tf

            gradients = tf.transpose(gradients, [0, 2, 3, 1])
        return METHOD.maps(gradients, self._reducer)

    def _check(self, inputs: tf.Tensor, targets: tf.Tensor | None) -> None:
        check_inputs(inputs, self._channels)
        shape = tuple(inputs.shape[1:])
        if shape not in self._classes:
            traced = trace(self._function, shape)
            warn_about_softmax(self._function, traced.softmax)
            classifies = self._operator is classification
            self._classes[shape] = count_outputs(self._function, traced) if classifies else None
        classes = self._classes[shape]
        if classes is not None:
            check_targets(targets, len(inputs), classes)


def _as_function(
    model: keras.Model | LoadedModel | Callable[[tf.Tensor], tf.Tensor],
    output_layer: str | int | None,
) -> ModelFunction:
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
