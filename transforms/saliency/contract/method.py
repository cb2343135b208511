"""The contract of methods: which calls of a compiled function they make, and what comes of it.

    begin(first call) -> state -> accumulate(state, call at perturbed input) ... -> finish -> maps

The compiled function is called once at the unperturbed input, which chooses the targets, and then
once per further step at what the method makes of the inputs, with these targets. One state is held,
whatever the number of steps; steps are added in the order of their numbers, so sums have the same
bits wherever they are computed.

A method is a frozen dataclass whose fields are its parameters, checked at birth.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from transforms.errors import ConfigurationError, alternatives
from transforms.formats.source import InputSpec
from transforms.saliency.attribution import Attribution, Needs
from transforms.saliency.reducers import Reducer, reduce_channels

if TYPE_CHECKING:
    import tensorflow as tf

Sign: TypeAlias = Literal["absolute", "positive", "signed"]
"""What is kept of a value: its magnitude, its positive part, or all of it."""

State: TypeAlias = tuple["tf.Tensor", ...]
"""What a method has added up so far; each (N, ...) float32."""


@dataclasses.dataclass(frozen=True)
class MapForm:
    """What is made of a method's values.

    Attributes:
      sign: What is kept of each value.
      reducer: How an image's channels become one; None where the method's values have no channels.
      positions: Shape of a map with one value per position, such as (H, W).
      has_channels: Whether inputs have an axis of channels beside these.
    """

    sign: Sign
    reducer: Reducer | None
    positions: tuple[int, ...]
    has_channels: bool = True

    @property
    def signed(self) -> bool:
        """Whether maps may be negative."""
        return self.sign == "signed"


class Method(abc.ABC):
    """Makes maps of what an engine computes. Stateless; its fields are its parameters.

    This class is the contract of methods of one call; `SteppedMethod` adds what others need.

    Attributes:
      needs: What a call of the compiled function gives back: `score`; `gradient`, by the inputs
        too; `layer`, the gradient by a layer's activations, and these.
      signs: What `explain.sign` may be, the default first.
      reducer: The default of `explain.reducer`; None where values have no channels.
      columns: float32 columns of the maps table that the method adds.
      uses_inputs: Whether `finish` looks at the inputs; gradients are then by unscaled inputs, else
        by what the model is given.
      finishes_gradients: Whether `finish` gives the gradients of the only call as they are, so that
        their magnitudes may be reduced over channels where they are computed.
    """

    needs: ClassVar[Needs] = "gradient"
    signs: ClassVar[tuple[Sign, ...]] = ("signed", "absolute", "positive")
    reducer: ClassVar[Reducer | None] = "sum"
    columns: ClassVar[tuple[str, ...]] = ()
    uses_inputs: ClassVar[bool] = False
    finishes_gradients: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What `explain.method` calls it: the name of its module."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def parameters(self) -> dict[str, Any]:
        """Its parameters by name."""
        return {name: getattr(self, name) for name in parameter_names(type(self))}

    @property
    def document(self) -> str | dict[str, dict[str, Any]]:
        """As `explain.method` gives it, with all parameters, as JSON's types.

        The name alone where it has none.
        """
        given = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.parameters.items()
        }
        return {self.name: given} if given else self.name

    @property
    def calls(self) -> int:
        """Calls of the compiled function per example."""
        return 1

    def of_inputs(self, inputs: InputSpec) -> Method:
        """The method for inputs of a kind, with the defaults that depend on them filled in.

        Raises:
          ConfigurationError: A parameter does not fit the inputs.
        """
        del inputs
        return self

    def precision_problem(self, precision: str) -> str | None:
        """Why its maps cannot be computed in a precision; None where they can be."""
        if precision != "mixed" or self.needs != "score":
            return None
        return (
            f"explain.precision is 'mixed', but explain.method {self.name} takes no gradient, and "
            "mixed is for the backward pass; choose float32"
        )

    def begin(self, first: Attribution) -> State:
        """The state after the call at the unperturbed input."""
        return (first.gradients,)

    @abc.abstractmethod
    def finish(
        self, state: State, inputs: tf.Tensor | None, scores: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Values of N examples for K targets each, of which maps are made.

        Args:
          state: After all steps.
          inputs: (N, *shape) float32, unscaled; None unless `uses_inputs`.
          scores: (N, K) float32, at the unperturbed input.

        Returns:
          (N, K, ...) float32, signed; and the method's `columns`, (N, K) float32 each.
        """

    def maps(self, values: tf.Tensor, form: MapForm) -> tf.Tensor:
        """Maps of M values of `finish`; the sign is taken first, then channels are reduced.

        Args:
          values: (M, H, W, C), (M, T, W) or (M, W) float32.
          form: What is made of them.

        Returns:
          (M, H, W, 1) for images, (M, H, W, C) with the reducer `none`; else the values' shape.
        """
        assert form.reducer is not None  # noqa: S101 - `resolve_form` gives one
        return reduce_channels(apply_sign(values, form.sign), form.reducer)


class SteppedMethod(Method):
    """A method of several calls. Its functions are traced once, for all steps.

    Attributes:
      key_shape: Of `keys`; None stands for the number of examples.
    """

    key_shape: ClassVar[tuple[int | None, ...]] = (0,)

    def keys(self, step: int, ids: Sequence[str]) -> npt.NDArray[np.uint64]:
        """What a step's random numbers depend on: equal keys draw equal numbers.

        Args:
          step: From 1.
          ids: The examples'.
        """
        del step, ids
        return np.empty(0, np.uint64)

    @abc.abstractmethod
    def perturb(self, inputs: tf.Tensor, step: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """What the compiled function is given in a step.

        Args:
          inputs: (N, *shape) float32, unscaled.
          step: () int32, from 1; step 0 is the call at the unperturbed input.
          keys: The step's `keys`.

        Returns:
          (N, *shape) float32, unscaled.
        """

    @abc.abstractmethod
    def accumulate(
        self, state: State, step: tf.Tensor, keys: tf.Tensor, result: Attribution
    ) -> State:
        """The state with a step's result added.

        Args:
          state: After all steps before it.
          step: As `perturb` was given it.
          keys: As `perturb` was given them.
          result: What the compiled function made of the perturbed inputs.
        """


def parameter_names(kind: type[Method]) -> tuple[str, ...]:
    """A method's parameters: its fields, but those that `of_inputs` derives."""
    assert dataclasses.is_dataclass(kind)  # noqa: S101 - what every method is
    fields = dataclasses.fields(kind)
    return tuple(each.name for each in fields if not each.metadata.get("derived"))


def apply_sign(values: tf.Tensor, sign: Sign) -> tf.Tensor:
    """What is kept of values: magnitudes, positive parts, or all."""
    import tensorflow as tf

    if sign == "absolute":
        return tf.abs(values)
    return tf.nn.relu(values) if sign == "positive" else values


def maps_of_positions(values: tf.Tensor, form: MapForm) -> tf.Tensor:
    """Maps of values that have no channels.

    Args:
      values: (M, *positions) float32.
      form: What is made of them.

    Returns:
      (M, H, W, 1) for images; else the values' shape.
    """
    import tensorflow as tf

    values = apply_sign(values, form.sign)
    return values[..., tf.newaxis] if form.has_channels else values


def resolve_form(
    method: Method, inputs: InputSpec, reducer: Reducer | None, sign: Sign | None
) -> MapForm:
    """What is made of a method's values, where None stands for the method's default.

    Raises:
      ConfigurationError: The method's values have no channels to reduce, or no such sign.
    """
    if reducer is not None and method.reducer is None:
        raise ConfigurationError(
            f"explain.reducer is {reducer!r}, but maps of {method.name} have no channels to "
            "reduce; leave it out"
        )
    chosen = method.signs[0] if sign is None else sign
    if chosen not in method.signs:
        raise ConfigurationError(
            f"explain.sign is {sign!r}, but maps of {method.name} have no other sign than "
            f"{alternatives(method.signs)}; leave it out"
        )
    return MapForm(
        chosen,
        method.reducer if reducer is None else reducer,
        inputs.positions,
        inputs.has_channels,
    )
