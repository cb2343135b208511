"""What a model takes: its inputs, and which of several is explained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import cast

from transforms.errors import ConfigurationError

Shape = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class ModelInput:
    """What a function takes.

    Attributes:
      name: The input's name in the model.
      shape: Without the batch axis; None for a length that is free, None as a whole where the
        model does not say.
      dtype: TensorFlow's name of it.
      batch: The only batch size it takes; None if it takes any.
    """

    name: str = "inputs"
    shape: Shape | None = None
    dtype: str = "float32"
    batch: int | None = None

    @property
    def is_floating(self) -> bool:
        """Whether its values have gradients."""
        return "float" in self.dtype

    @property
    def size(self) -> int | None:
        """How many numbers one example has; None where the shape leaves it open."""
        if self.shape is None or None in self.shape:
            return None
        return math.prod(cast("tuple[int, ...]", self.shape))

    @property
    def known_shape(self) -> tuple[int, ...]:
        """The shape of an input that leaves no length open."""
        return cast("tuple[int, ...]", self.shape)

    def fits(self, shape: Shape) -> bool:
        """Whether inputs of this shape (without the batch axis) can be fed."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            own is None or own == given for own, given in zip(self.shape, shape, strict=True)
        )


def several(what: str, title: str, names: list[str] | int) -> str:
    """The message where one input or output is meant and the model has another number of them."""
    remedy = {
        "inputs": "name it by model.inputs, which holds the others at constants; in memory, give a "
        "function of one input",
        "outputs": "choose one by output_layer",
    }[what]
    listed = (
        f"{names} {what}" if isinstance(names, int) else f"{len(names)} {what} ({', '.join(names)})"
    )
    return f"{title} has {listed}, but one is explained; {remedy}"


def choose_input(
    inputs: Sequence[ModelInput], explained: str | None, title: str
) -> tuple[ModelInput, tuple[ModelInput, ...]]:
    """The input that is explained, and the others.

    Args:
      inputs: All that the model takes.
      explained: Its name; None where there is only one.
      title: How messages call the model.

    Raises:
      ConfigurationError: There are several, none of them is called so, or another one's shape is
        not known.
    """
    names = [each.name for each in inputs]
    if explained is None:
        if len(inputs) != 1:
            raise ConfigurationError(several("inputs", title, names))
        return inputs[0], ()
    if explained not in names:
        raise ConfigurationError(
            f"model.inputs.explained is {explained!r}, but {title} takes {', '.join(names)}; name "
            "one of these"
        )
    others = tuple(each for each in inputs if each.name != explained)
    for each in others:
        if each.size is None:
            raise ConfigurationError(
                f"input {each.name!r} of {title} has shape {each.shape}; only the input that is "
                "explained may leave a length open: export it with fixed lengths"
            )
    return inputs[names.index(explained)], others
