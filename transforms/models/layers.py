"""Layers of Keras models: their names, and what they return while a model runs.

A layer's output is taken from the model's own run, by listening to the layer's calls. That works
alike for functional, sequential, nested and subclassed models. (`keras.Model(model.input,
layer.output)` works for the first two only, and takes a shared layer's first use, which may be in
another model.)
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from transforms.errors import ConfigurationError
from transforms.models.opening.keras2 import is_keras_2

if TYPE_CHECKING:
    import keras

_NAMES_SHOWN = 40

_Keep = Callable[[tuple[Any, ...], Any], Any]
"""What is kept of a call, of its positional arguments and what it returned."""

_listening = threading.RLock()
"""Held while layers are listened to: two threads may trace one model at a time."""


@dataclasses.dataclass(frozen=True)
class NamedLayer:
    """A layer and where it is: `name`, or `submodel/name` in a model inside the model."""

    path: str
    layer: keras.Layer

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


def list_layers(model: keras.Model, prefix: str = "") -> list[NamedLayer]:
    """All layers, in the model's order; those of a model inside it directly after it."""
    layers = []
    for layer in model.layers:
        layers.append(NamedLayer(prefix + layer.name, layer))
        if is_model(layer):
            layers.extend(list_layers(layer, f"{prefix}{layer.name}/"))
    return layers


def is_model(layer: Any) -> bool:
    """Whether a layer is a model, whose layers have paths of their own."""
    import keras

    return isinstance(layer, keras.Model) or (is_keras_2(layer) and hasattr(layer, "layers"))


def find_layer(
    model: keras.Model, output_layer: str | int, key: str = "output_layer"
) -> NamedLayer:
    """The layer a user means.

    Args:
      model: Where to look.
      output_layer: A layer's path or, where only one layer has it, its name; or an index into
        `model.layers`, from the end if negative.
      key: What messages call it.

    Raises:
      ConfigurationError: No layer is called so, or several are.
    """
    layers = list_layers(model)
    if isinstance(output_layer, int):
        count = len(model.layers)
        names = [layer.name for layer in model.layers]
        if isinstance(output_layer, bool) or not -count <= output_layer < count:
            raise ConfigurationError(
                f"{key} {output_layer} is out of range: model {model.name!r} has {count} "
                f"layers, {-count} to {count - 1}: {_enumerate(names)}"
            )
        chosen = model.layers[output_layer]
        return NamedLayer(chosen.name, chosen)
    exact = _distinct(named for named in layers if named.path == output_layer)
    matches = exact or _distinct(named for named in layers if named.name == output_layer)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigurationError(
            f"{key} {output_layer!r} names {len(matches)} layers of model {model.name!r}; "
            f"choose one by its path: {_enumerate([named.path for named in matches])}"
        )
    paths = list(dict.fromkeys(named.path for named in layers))
    raise ConfigurationError(
        f"{key}: model {model.name!r} has no layer {output_layer!r}; choose one of: "
        f"{_enumerate(_nearest_first(output_layer, paths))}"
    )


@contextlib.contextmanager
def recorded_calls(layers: Iterable[NamedLayer]) -> Iterator[dict[str, Any]]:
    """Listens to layers: what each returned, by path, in the order of their (last) calls.

    Of a layer that is called several times the last call counts: the one nearest the output.
    """
    with _listened_to(layers, lambda _, output: output) as outputs:
        yield outputs


@contextlib.contextmanager
def recorded_inputs(layers: Iterable[NamedLayer]) -> Iterator[dict[str, Any]]:
    """Listens to layers: what each was given first, by path, in the order of their calls."""
    with _listened_to(layers, lambda arguments, _: arguments[0] if arguments else None) as inputs:
        yield inputs


@contextlib.contextmanager
def _listened_to(layers: Iterable[NamedLayer], keep: _Keep) -> Iterator[dict[str, Any]]:
    kept: dict[str, Any] = {}
    with _listening, contextlib.ExitStack() as restoring:
        for named in layers:
            restoring.callback(_listen(named, kept, keep))
        yield kept


def _listen(named: NamedLayer, kept: dict[str, Any], keep: _Keep) -> functools.partial[None]:
    """Makes a layer record its calls; returns the function that undoes it."""
    attributes = vars(named.layer)  # set directly: Keras tracks what is assigned to a layer
    before = dict(attributes)
    call = named.layer.call

    @functools.wraps(call)
    def recording(*args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        kept.pop(named.path, None)
        kept[named.path] = keep(args, output)
        return output

    attributes["call"] = recording
    return functools.partial(_restore, attributes, before)


def _restore(attributes: dict[str, Any], before: dict[str, Any]) -> None:
    if "call" in before:
        attributes["call"] = before["call"]
    else:
        del attributes["call"]


def _distinct(layers: Iterable[NamedLayer]) -> list[NamedLayer]:
    return list({id(named.layer): named for named in layers}.values())


def _nearest_first(name: str, paths: list[str]) -> list[str]:
    def distance(path: str) -> float:
        last = path.rsplit("/", 1)[-1]
        return -max(difflib.SequenceMatcher(None, name, text).ratio() for text in (path, last))

    return sorted(paths, key=distance)


def _enumerate(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
