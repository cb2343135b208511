"""The layer whose activations a method explains, as Grad-CAM does.

Which layer it is says `explain.layer`; without it, it is the last one before the explained output
that still has places: whose output is (N, h, w, c), larger than 1 x 1, and changes the score.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transforms.errors import ConfigurationError
from transforms.models.functions import ModelFunction
from transforms.models.layers import NamedLayer, find_layer, list_layers
from transforms.saliency.attribution import Attribution, LayeredModel, Model, scores_at
from transforms.saliency.contract.method import Method
from transforms.saliency.scores.operators import Operator
from transforms.saliency.scores.targets import Targets

if TYPE_CHECKING:
    import tensorflow as tf

KEY = "explain.layer"
"""What messages call the layer in a run."""

_RANK = 4
_EXAMPLES = 2  # so that an axis of examples can be told from one of another length


@dataclasses.dataclass(frozen=True)
class ActivationLayer:
    """A layer whose output has places.

    Attributes:
      path: Its name, or `submodel/name`.
      shape: (h, w, c) of its output.
      channels_first: Whether it returns (N, c, h, w).
    """

    path: str
    shape: tuple[int, int, int]
    channels_first: bool = False


LayerName = str | int | None
"""A layer's path, name or index; None is the last with places."""


def check_layer_used(method: Method, layer: LayerName) -> None:
    """Refuses a layer that is named for a method which explains none.

    Raises:
      ConfigurationError: It is.
    """
    if layer is not None and method.needs != "layer":
        raise ConfigurationError(
            f"{KEY} is {layer!r}, but explain.method {method.name} explains no layer, so leave it "
            "out"
        )


@dataclasses.dataclass(frozen=True)
class ScoredModel:
    """What a layer is looked for in.

    Attributes:
      function: The model, which knows its layers.
      call: The same from inputs (N, *shape) to outputs, as the operator is given it.
      shape: Of one input.
      explained: Path of the layer whose output is explained; None where no layer can be named.
      operator: Whose score is explained.
      choose: Gives the targets from the outputs (N, ...).
    """

    function: ModelFunction
    call: Model
    shape: tuple[int | None, ...]
    explained: str | None
    operator: Operator
    choose: Callable[[tf.Tensor], Targets]


def layered(function: ModelFunction, call: Model, layer: ActivationLayer) -> LayeredModel:
    """A model with the activations of one of its layers, as that returns them."""

    def call_with_layer(inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with function.recorded_layers() as layers:
            outputs = call(inputs)
        return outputs, layers[layer.path]

    return call_with_layer


def channels_last(found: Attribution, layer: ActivationLayer) -> Attribution:
    """The same with activations (N, h, w, c), and gradients (N, K, h, w, c)."""
    import tensorflow as tf

    if not layer.channels_first:
        return found
    return dataclasses.replace(
        found,
        gradients=tf.transpose(found.gradients, [0, 1, 3, 4, 2]),
        activations=tf.transpose(found.activations, [0, 2, 3, 1]),
    )


def find_activation_layer(
    model: ScoredModel, wanted: LayerName, method: str, key: str = KEY
) -> ActivationLayer:
    """The layer that is asked for, or the last one with places.

    Args:
      model: Where it is looked for.
      wanted: The layer that is asked for.
      method: What needs it.
      key: What messages call it.

    Raises:
      ConfigurationError: There is none, or the one that is asked for has no places, or no gradient.
    """
    import tensorflow as tf

    path = _wanted_path(model.function, wanted, method, key)
    batch = model.function.input.batch or _EXAMPLES
    found: list[ActivationLayer] = []

    def look(inputs: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            with model.function.recorded_layers() as layers:
                outputs = model.call(inputs)
            _, scores = scores_at(model.call, model.operator, inputs, outputs, model.choose)

        def changes_score(activations: tf.Tensor) -> bool:
            return tape.gradient(scores[0], activations) is not None

        recorded = _Recorded(model.function, dict(layers), inputs, changes_score, key)
        if path is None:
            explained = (outputs, layers.get(model.explained or ""))
            found.append(recorded.last_with_places(explained, method))
        else:
            found.append(recorded.checked(path, method))
        return outputs

    signature = [tf.TensorSpec((batch, *model.shape), model.function.input.dtype)]
    tf.function(look, input_signature=signature, autograph=False).get_concrete_function()
    return found[-1]


def _wanted_path(function: ModelFunction, wanted: LayerName, method: str, key: str) -> str | None:
    """The path of the layer that is asked for; None where none is.

    Raises:
      ConfigurationError: The model's layers cannot be reached, or none is called so.
    """
    if function.layers_out_of_reach is not None:
        raise ConfigurationError(
            f"{method} explains a layer, but {function.title} {function.layers_out_of_reach}, or "
            "choose a method that needs none, such as integrated_gradients"
        )
    assert function.keras_model is not None  # noqa: S101 - other models have none in reach
    return None if wanted is None else find_layer(function.keras_model, wanted, key).path


class _Recorded:
    """What the layers of a model returned.

    Args:
      function: The model.
      outputs: By path, in the order of the calls.
      inputs: What it was called with.
      changes_score: Whether the score has a gradient by a tensor.
      key: What messages call the layer.
    """

    def __init__(
        self,
        function: ModelFunction,
        outputs: Mapping[str, Any],
        inputs: tf.Tensor,
        changes_score: Callable[[tf.Tensor], bool],
        key: str,
    ) -> None:
        self._key = key
        self._title = function.title
        self._outputs = outputs
        self._inputs = inputs
        self._changes_score = changes_score
        self._with_places = dict(self._find(list_layers(function.keras_model)))

    def last_with_places(self, explained: Sequence[Any], method: str) -> ActivationLayer:
        """The last layer that has places, unless what it returns is explained itself.

        Of several that hand on one tensor, such as a model and its last layer, it is the first.

        Args:
          explained: Tensors that are explained, or None.
          method: What needs the layer.
        """
        passed = {each.name for each in explained if each is not None}
        firsts: dict[str, ActivationLayer] = {}
        for path, layer in self._with_places.items():
            firsts.setdefault(self._outputs[path].name, layer)
        for name, layer in reversed(firsts.items()):
            if name not in passed and self._changes_score(self._outputs[layer.path]):
                return layer
        raise ConfigurationError(
            f"{method} explains a layer, but {self._title} has none before the explained output "
            "that returns (N, height, width, channels), larger than 1 x 1, and changes the score; "
            f"name one by {self._key}, or choose a method that needs none, such as "
            "integrated_gradients"
        )

    def checked(self, path: str, method: str) -> ActivationLayer:
        """The layer of a path, where it can be explained."""
        if path not in self._outputs:
            raise self._refusal(path, f"computes nothing when {self._title} is called")
        if self._is_within(self._outputs[path]):
            raise self._refusal(
                path,
                f"of {self._title} runs inside a tf.function, condition or loop of its own, out of "
                "reach",
            )
        if path not in self._with_places:
            shape = getattr(self._outputs[path], "shape", "several tensors")
            raise self._refusal(
                path,
                f"of {self._title} returns {shape} for {self._inputs.shape[0]} examples, but "
                f"{method} explains one that returns (N, height, width, channels), larger than "
                "1 x 1",
            )
        if not self._changes_score(self._outputs[path]):
            raise self._refusal(
                path, f"of {self._title} does not change the score in a differentiable way"
            )
        return self._with_places[path]

    def _refusal(self, path: str, why: str) -> ConfigurationError:
        usable = ", ".join(reversed(self._with_places))
        remedy = f"choose one of: {usable}" if usable else "choose another method"
        return ConfigurationError(f"{self._key} {path!r} {why}; {remedy}")

    def _find(self, layers: Sequence[NamedLayer]) -> Iterator[tuple[str, ActivationLayer]]:
        """Layers with places, by path, in the order of the calls.

        Activations do not say where their channels are: it is where the last layer has them that
        says so.
        """
        import tensorflow as tf

        by_path = {each.path: each.layer for each in layers}
        layout = None
        for path, output in self._outputs.items():
            layout = getattr(by_path[path], "data_format", None) or layout
            if not tf.is_symbolic_tensor(output) or self._is_within(output):
                continue  # None, several tensors, or out of reach
            sizes = output.shape
            if sizes.rank != _RANK or None in sizes[1:] or not output.dtype.is_floating:
                continue
            is_first = layout == "channels_first"
            height, width, channels = (*sizes[2:], sizes[1]) if is_first else sizes[1:]
            if sizes[0] in (self._inputs.shape[0], None) and height * width > 1:
                yield path, ActivationLayer(path, (height, width, channels), is_first)

    def _is_within(self, output: Any) -> bool:
        """Whether a tensor is of another graph than the inputs, such as a loop's."""
        import tensorflow as tf

        return bool(tf.is_symbolic_tensor(output) and output.graph is not self._inputs.graph)
