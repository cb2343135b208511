"""Occlusion: how much of a class's score goes when a patch of the input is covered.

    A_p = mean over the patches that cover p of g(x) - g(x with the patch covered)

Zeiler, Fergus 2013, arXiv 1311.2901, section 4.2. One call per patch and one without; no gradients.
Patches begin every `patch_stride` positions and lie wholly inside; what the last of them leave over
at the end of a side is never covered, and 0. Maps have a sign, in units of the score.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from transforms.formats.source import InputSpec
from transforms.saliency.attribution import Attribution, Needs
from transforms.saliency.contract.method import (
    MapForm,
    Method,
    State,
    SteppedMethod,
    maps_of_positions,
)
from transforms.saliency.contract.parameters import (
    as_numbers,
    as_pair,
    check_channels,
    refusal,
)
from transforms.saliency.perturbing.masks import flattened
from transforms.saliency.reducers import Reducer

if TYPE_CHECKING:
    import tensorflow as tf

_NAME = "occlusion"
_PATCHES_A_SIDE = 8
_GREY = 127.5


@dataclasses.dataclass(frozen=True)
class OcclusionMethod(SteppedMethod):
    """Differences of scores.

    Attributes:
      patch_size: [rows, columns] of a patch, or one number for both; None is an eighth of each
        side.
      patch_stride: The same from patch to patch; None is half a patch.
      occlusion_value: What covers, in unscaled input units: one number, or one per channel; None is
        127.5 for images, else 0.
      positions: Of the inputs, as `of_inputs` finds them.
    """

    patch_size: int | tuple[int, int] | None = None
    patch_stride: int | tuple[int, int] | None = None
    occlusion_value: float | tuple[float, ...] | None = None
    positions: tuple[int, ...] = dataclasses.field(default=(), metadata={"derived": True})

    needs: ClassVar[Needs] = "score"
    reducer: ClassVar[Reducer | None] = None

    def __post_init__(self) -> None:
        for name in ("patch_size", "patch_stride"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_pair(_NAME, name, getattr(self, name)))
        if self.occlusion_value is not None:
            value = as_numbers(_NAME, "occlusion_value", self.occlusion_value)
            object.__setattr__(self, "occlusion_value", value)

    def of_inputs(self, inputs: InputSpec) -> Method:
        """The method for inputs of a shape.

        Raises:
          ConfigurationError: A patch is larger than they are, or its value has not their channels.
        """
        sides = _sides(inputs.positions)
        size = self.patch_size or tuple(max(1, side // _PATCHES_A_SIDE) for side in sides)
        size = as_pair(_NAME, "patch_size", size)
        stride = self.patch_stride or (max(1, size[0] // 2), max(1, size[1] // 2))
        if len(inputs.positions) == 1:  # a row of numbers: columns alone
            size, stride = (1, size[1]), (1, as_pair(_NAME, "patch_stride", stride)[1])
        if size[0] > sides[0] or size[1] > sides[1]:
            remedy = f"the input's positions are {list(inputs.positions)}: give at most as much"
            raise refusal(_NAME, "patch_size", size, remedy)
        value = self.occlusion_value
        if value is None:
            value = _GREY if inputs.kind == "image" else 0.0
        check_channels(_NAME, "occlusion_value", value, inputs.decoded_shape)
        return dataclasses.replace(
            self,
            patch_size=size,
            patch_stride=as_pair(_NAME, "patch_stride", stride),
            occlusion_value=value,
            positions=inputs.positions,
        )

    @property
    def calls(self) -> int:
        """The patches, after the input itself."""
        return 1 + math.prod(self._counts)

    def begin(self, first: Attribution) -> State:
        """The score without a patch, and nothing lost yet."""
        import tensorflow as tf

        examples, targets = tf.shape(first.scores)[0], first.scores.shape[1]
        return first.scores, tf.zeros((examples, targets, *self.positions))

    def perturb(self, inputs: tf.Tensor, step: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """The inputs with a step's patch covered."""
        import tensorflow as tf

        del keys
        assert self.occlusion_value is not None  # noqa: S101 - `of_inputs` has given it
        flat, covered, value = flattened(inputs, self._mask(step), self.occlusion_value)
        return tf.reshape(tf.where(covered, value, flat), (-1, *inputs.shape[1:]))

    def accumulate(
        self, state: State, step: tf.Tensor, keys: tf.Tensor, result: Attribution
    ) -> State:
        """Adds what the score lost, where the patch was."""
        import tensorflow as tf

        del keys
        scores, lost = state
        mask = tf.cast(self._mask(step), tf.float32)
        difference = scores - result.scores
        return scores, lost + tf.reshape(
            difference, (-1, lost.shape[1], *[1] * mask.shape.rank)
        ) * mask

    def finish(
        self, state: State, inputs: tf.Tensor | None, scores: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """What was lost by patch that covers a position; see `Method`."""
        del inputs, scores
        return state[1] / np.maximum(self._coverage(), 1), {}

    def maps(self, values: tf.Tensor, form: MapForm) -> tf.Tensor:
        """Maps of positions; see `Method`."""
        return maps_of_positions(values, form)

    @property
    def _counts(self) -> tuple[int, int]:
        """Patches down and across."""
        size, stride = self._patch
        rows, columns = (
            1 + (side - length) // step
            for side, length, step in zip(_sides(self.positions), size, stride, strict=True)
        )
        return rows, columns

    @property
    def _patch(self) -> tuple[tuple[int, int], tuple[int, int]]:
        assert isinstance(self.patch_size, tuple)  # noqa: S101 - `of_inputs` made it one
        assert isinstance(self.patch_stride, tuple)  # noqa: S101 - the same
        return self.patch_size, self.patch_stride

    def _mask(self, step: tf.Tensor) -> tf.Tensor:
        """The positions that a step covers, bool."""
        import tensorflow as tf

        size, stride = self._patch
        number, across = step - 1, self._counts[1]
        places = (number // across, number % across)
        inside: list[Any] = []
        for side, place, length, distance in zip(
            _sides(self.positions), places, size, stride, strict=True
        ):
            offset = tf.range(side) - place * distance
            inside.append((offset >= 0) & (offset < length))
        return tf.reshape(inside[0][:, tf.newaxis] & inside[1], self.positions)

    def _coverage(self) -> npt.NDArray[np.float32]:
        """How many patches cover each position."""
        size, stride = self._patch
        covers = []
        for side, count, length, distance in zip(
            _sides(self.positions), self._counts, size, stride, strict=True
        ):
            starts = distance * np.arange(count)[:, np.newaxis]
            offset = np.arange(side) - starts
            covers.append(((offset >= 0) & (offset < length)).sum(axis=0))
        coverage: npt.NDArray[np.float32] = np.outer(*covers).reshape(self.positions)
        return coverage.astype(np.float32)


def _sides(positions: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns; a row of numbers is one row."""
    return (1, positions[0]) if len(positions) == 1 else (positions[0], positions[1])


METHOD = OcclusionMethod
