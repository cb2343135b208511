"""RISE: the mean score of randomly masked inputs, wherever the mask lets the input through.

    A_p = 1 / (E[M] n) sum_i g(x M_i) M_i(p)

Petsiuk, Das, Saenko 2018, arXiv 1806.07421, section 3.1, equation 6; the masks are those of section
3.2. One call per mask and one without, to choose the target; no gradients. All examples of a run
have the same masks, drawn by `seed`. Maps have the sign of the score: with probabilities, as in the
paper, they are not negative.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from transforms.errors import ConfigurationError
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
    require_count,
    require_number,
)
from transforms.saliency.perturbing.masks import flattened, smooth_random_mask
from transforms.saliency.perturbing.random_numbers import KEY_WORDS, random_key
from transforms.saliency.reducers import Reducer

if TYPE_CHECKING:
    import tensorflow as tf

_NAME = "rise"
_GRID_RANK = 2


@dataclasses.dataclass(frozen=True)
class RiseMethod(SteppedMethod):
    """Mean scores by mask.

    Attributes:
      samples: Masks.
      grid_size: Cells of a mask down and across, or one number for both.
      preservation_probability: Of a cell to let the input through, above 0 and at most 1.
      mask_value: What is put where it does not, in unscaled input units: one number, or one per
        channel.
      seed: What masks depend on.
      positions: Of the inputs, as `of_inputs` finds them.
    """

    samples: int = 4000
    grid_size: int | tuple[int, int] = 7
    preservation_probability: float = 0.5
    mask_value: float | tuple[float, ...] = 0.0
    seed: int = 0
    positions: tuple[int, ...] = dataclasses.field(default=(), metadata={"derived": True})

    needs: ClassVar[Needs] = "score"
    reducer: ClassVar[Reducer | None] = None
    key_shape: ClassVar[tuple[int | None, ...]] = (KEY_WORDS,)

    def __post_init__(self) -> None:
        require_count(_NAME, "samples", self.samples, 1)
        require_count(_NAME, "seed", self.seed, 0)
        require_number(_NAME, "preservation_probability", self.preservation_probability, 0, 1)
        if not self.preservation_probability:
            raise refusal(_NAME, "preservation_probability", 0, "give a number above 0, at most 1")
        object.__setattr__(self, "grid_size", as_pair(_NAME, "grid_size", self.grid_size))
        object.__setattr__(self, "mask_value", as_numbers(_NAME, "mask_value", self.mask_value))

    def of_inputs(self, inputs: InputSpec) -> Method:
        """The method for inputs of a shape.

        Raises:
          ConfigurationError: They have no two sides, fewer positions than the grid has cells, or
            other channels than `mask_value`.
        """
        if len(inputs.positions) != _GRID_RANK:
            raise ConfigurationError(
                "explain.method is 'rise', which masks a grid of positions, but "
                f"source.input.shape is {list(inputs.shape)}; choose occlusion"
            )
        rows, columns = self._grid
        if rows > inputs.positions[0] or columns > inputs.positions[1]:
            remedy = f"the input's positions are {list(inputs.positions)}: give at most as many"
            raise refusal(_NAME, "grid_size", self.grid_size, remedy)
        check_channels(_NAME, "mask_value", self.mask_value, inputs.decoded_shape)
        return dataclasses.replace(self, positions=inputs.positions)

    @property
    def calls(self) -> int:
        """The masks, after the input itself, which chooses the targets."""
        return 1 + self.samples

    def keys(self, step: int, ids: Sequence[str]) -> npt.NDArray[np.uint64]:
        """One for all examples."""
        del ids
        return random_key(self.seed, step)

    def begin(self, first: Attribution) -> State:
        """Nothing: the unperturbed input is not masked."""
        import tensorflow as tf

        examples, targets = tf.shape(first.scores)[0], first.scores.shape[1]
        return (tf.zeros((examples, targets, *self.positions)),)

    def perturb(self, inputs: tf.Tensor, step: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """The inputs under a step's mask."""
        import tensorflow as tf

        del step
        flat, mask, value = flattened(inputs, self._mask(keys), self.mask_value)
        return tf.reshape(flat * mask + value * (1 - mask), (-1, *inputs.shape[1:]))

    def accumulate(
        self, state: State, step: tf.Tensor, keys: tf.Tensor, result: Attribution
    ) -> State:
        """Adds the mask, weighted by the score under it."""
        import tensorflow as tf

        del step
        return (state[0] + result.scores[..., tf.newaxis, tf.newaxis] * self._mask(keys),)

    def finish(
        self, state: State, inputs: tf.Tensor | None, scores: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The sum, by masks and by what of them lets through; see `Method`."""
        del inputs, scores
        return state[0] / (self.samples * self.preservation_probability), {}

    def maps(self, values: tf.Tensor, form: MapForm) -> tf.Tensor:
        """Maps of positions; see `Method`."""
        return maps_of_positions(values, form)

    @property
    def _grid(self) -> tuple[int, int]:
        assert isinstance(self.grid_size, tuple)  # noqa: S101 - made so at birth
        return self.grid_size

    def _mask(self, key: tf.Tensor) -> tf.Tensor:
        height, width = self.positions
        return smooth_random_mask(key, self._grid, self.preservation_probability, (height, width))


METHOD = RiseMethod
