"""Logits: what a model computes before its last softmax or sigmoid, wherever that is applied."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transforms.errors import ConfigurationError
from transforms.models.functions import ModelFunction
from transforms.models.signatures import SignatureFunction
from transforms.models.softmax import logits_of

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class LogitsFunction(ModelFunction):
    """Another function without the softmax or sigmoid that it ends in."""

    def __init__(self, function: ModelFunction) -> None:
        super().__init__(_logits_call(function), function.title, function.input, function.others)
        self._function = function
        self.output_name = function.output_name
        self.layers_out_of_reach = function.layers_out_of_reach
        self.constants = function.constants
        self.fed = function.fed

    @property
    def model(self) -> Any:
        """What the other function is of."""
        return self._function.model

    @property
    def keras_model(self) -> keras.Model | None:
        """That of the other function."""
        return self._function.keras_model

    @contextlib.contextmanager
    def recorded_layers(self) -> Iterator[Mapping[str, Any]]:
        """What each layer returns, by path, in calls made meanwhile."""
        with self._function.recorded_layers() as layers:
            yield layers

    def __call__(self, inputs: tf.Tensor, others: Sequence[tf.Tensor] = ()) -> tf.Tensor:
        """Logits (N, ...) of inputs (N, ...)."""
        import tensorflow as tf

        if tf.executing_eagerly():  # Without a graph there is nothing to look behind.
            return tf.function(self._call, autograph=False)(inputs, others)
        return self._call(inputs, others)


def _logits_call(function: ModelFunction) -> Any:
    """A function that, traced, gives the other one's logits."""
    if isinstance(function, SignatureFunction):
        return _signature_logits(function)

    def call(inputs: tf.Tensor, others: Sequence[tf.Tensor]) -> tf.Tensor:
        output = function(inputs, others)
        return _reshaped(_behind(output, function.title), output)

    return call


def _signature_logits(function: SignatureFunction) -> Any:
    """A signature is a call, which is looked into once it is a graph without calls."""
    constant = function.constant()
    output = constant.outputs[function.output_names.index(str(function.output_name))]
    pruned = constant.prune(constant.inputs, [_behind(output, function.title)])
    return lambda inputs, others: pruned(inputs, *others)[0]


def _behind(output: tf.Tensor, title: str) -> tf.Tensor:
    logits = logits_of(output)
    if logits is None:
        raise ConfigurationError(
            f"model.output is 'logits', but {title} ends in neither softmax nor sigmoid; leave it "
            "out, or choose a layer that does by output_layer"
        )
    return logits


def _reshaped(logits: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    if logits.shape.rank == output.shape.rank:
        return logits
    return tf.reshape(logits, tf.shape(output))
