"""Targets: which outputs of each example are explained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from transforms.errors import ConfigurationError

if TYPE_CHECKING:
    import tensorflow as tf

NamedTarget = Literal["label", "predicted"]
TargetKind = Literal[NamedTarget, "class", "top"]

CHOOSE = -1
"""A label in place of a class that the outputs are to choose."""

_CHOICES = "label, predicted, {class: 3} or {top: 2}"


@dataclasses.dataclass(frozen=True)
class Targets:
    """What is explained of N examples: K scores of each.

    Attributes:
      arguments: K times what the operator is given as its targets, of all N examples.
      classes: (N, K) int32, the classes these stand for; None where only the operator knows them.
    """

    arguments: tuple[Any, ...]
    classes: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class TargetSpec:
    """A rule that gives each example the classes to explain.

    >>> TargetSpec.parse({"top": 2})
    TargetSpec(kind='top', value=2)

    Attributes:
      kind: `label`, the example's own; `predicted`, the largest output; `class`, always the same;
        `top`, the largest few, largest first. `predicted` and `top` are for models that return
        scores of classes, (N, C).
      value: The class of `class`, the number of `top`; None otherwise.
    """

    kind: TargetKind
    value: int | None = None

    def __post_init__(self) -> None:
        smallest = {"class": 0, "top": 1}.get(self.kind)
        valid = (
            self.kind in ("label", "predicted") and self.value is None
            if smallest is None
            else type(self.value) is int and self.value >= smallest
        )
        if not valid:
            shown = self.kind if self.value is None else {self.kind: self.value}
            raise ConfigurationError(f"explain.target {shown!r} is not a target; give {_CHOICES}")

    @classmethod
    def parse(cls, target: str | Mapping[str, int]) -> TargetSpec:
        """Reads `label`, `predicted`, `{"class": 3}` or `{"top": 2}`.

        Raises:
          ConfigurationError: It is none of these.
        """
        if isinstance(target, str):
            return cls(cast(TargetKind, target))
        if not isinstance(target, Mapping) or len(target) != 1:
            raise ConfigurationError(f"explain.target {target!r} is not a target; give {_CHOICES}")
        ((kind, value),) = target.items()
        return cls(cast(TargetKind, kind), value)

    @property
    def count(self) -> int:
        """Targets, and so rows, per example."""
        return cast(int, self.value) if self.kind == "top" else 1

    @property
    def needs_labels(self) -> bool:
        """Whether the source must have a label feature."""
        return self.kind == "label"

    def check(self, classes: int | None) -> None:
        """Compares with a model's classes.

        Args:
          classes: How many scores (N, C) the model returns; None where it returns something else.

        Raises:
          ConfigurationError: The class is out of range, there are fewer classes than `top`, or
            there are none to choose from.
        """
        if classes is None:
            if self.kind in ("predicted", "top"):
                shown = self.kind if self.value is None else {self.kind: self.value}
                raise ConfigurationError(
                    f"explain.target is {shown!r}, but the model does not return scores of classes "
                    "(N, C) to choose from; give label or {class: N}, which the operator is given "
                    "as integers"
                )
            return
        if self.kind == "class" and cast(int, self.value) >= classes:
            raise ConfigurationError(
                f"explain.target.class is {self.value}, but the model has {classes} outputs; give "
                f"0 to {classes - 1}"
            )
        if self.kind == "top" and cast(int, self.value) > classes:
            raise ConfigurationError(
                f"explain.target.top is {self.value}, but the model has {classes} outputs; give at "
                f"most {classes}"
            )

    def choose(self, outputs: tf.Tensor, labels: tf.Tensor, count: int | None) -> Targets:
        """Which scores of each example are explained.

        Args:
          outputs: (N, C) of the model, or (N, ...) where it does not return scores of classes.
          labels: (N,) integers; only `label` looks at them.
          count: C, or None.
        """
        import tensorflow as tf

        classes = self.classes(outputs, labels)
        columns = tf.unstack(classes, axis=1)
        return Targets(tuple(target_argument(each, count) for each in columns), classes)

    def choose_or_keep(self, outputs: tf.Tensor, labels: tf.Tensor, count: int | None) -> Targets:
        """As `choose`, but where the outputs choose, labels name the classes chosen before.

        Args:
          outputs: As `choose` takes them.
          labels: (N,) or (N, self.count) integers; `CHOOSE` lets the outputs choose, anything else
            is the class to explain.
          count: As `choose` takes it.
        """
        import tensorflow as tf

        classes = tf.reshape(tf.cast(labels, tf.int32), (-1, self.count))
        if self.kind in ("predicted", "top"):
            classes = tf.where(classes == CHOOSE, self.classes(outputs, labels), classes)
        elif self.kind == "class":
            classes = self.classes(outputs, labels)
        columns = tf.unstack(classes, axis=1)
        return Targets(tuple(target_argument(each, count) for each in columns), classes)

    def first_labels(self, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """What `choose_or_keep` is given before targets are known, of the examples' labels (N,)."""
        if self.kind in ("predicted", "top"):
            return np.full((len(labels), *self.label_shape), CHOOSE, np.int32)
        return labels

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of what `choose_or_keep` is given of one example."""
        return () if self.count == 1 else (self.count,)

    def classes(self, outputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Class indices to explain.

        Args:
          outputs: (N, C) of the model; (N, ...) will do for `label` and `class`.
          labels: (N,) integers; only `label` looks at them.

        Returns:
          (N, count) int32. Among equal outputs the lower class is first, as in `tf.math.top_k`.
        """
        import tensorflow as tf

        if self.kind == "label":
            return tf.cast(labels, tf.int32)[:, tf.newaxis]
        if self.kind == "class":
            return tf.fill((tf.shape(outputs)[0], 1), tf.constant(self.value, tf.int32))
        return tf.math.top_k(outputs, k=self.count, sorted=True).indices


def target_argument(classes: tf.Tensor, count: int | None) -> tf.Tensor:
    """What an operator is given as its targets.

    Args:
      classes: (N,) integers.
      count: C where the model returns (N, C) scores of classes; None where it returns something
        else.

    Returns:
      (N, C) one-hot float32, or the classes as they are.
    """
    import tensorflow as tf

    return classes if count is None else tf.one_hot(classes, count)
