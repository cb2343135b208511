"""Methods whose steps are the gradients at noisy copies of the input."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from transforms.errors import ConfigurationError
from transforms.formats.source import InputSpec
from transforms.saliency.attribution import Attribution
from transforms.saliency.contract.method import Method, State, SteppedMethod
from transforms.saliency.contract.parameters import require_count, require_number
from transforms.saliency.perturbing.random_numbers import (
    KEY_WORDS,
    normal_numbers,
    random_keys,
)
from transforms.saliency.reducers import Reducer

if TYPE_CHECKING:
    import tensorflow as tf

_SHARE_OF_RANGE = 0.15  # Smilkov et al. 2017, section 3.1: 10 to 20 % are best.
_BYTE_RANGE = 255.0


@dataclasses.dataclass(frozen=True)
class NoiseMethod(SteppedMethod):
    """Steps at x + n, n normal with standard deviation `noise`.

    Unless a method says otherwise, its values are the mean of what it accumulates of each copy.

    Attributes:
      samples: Noisy copies of each input.
      noise: The standard deviation, in unscaled input units; None is 0.15 of the inputs' range,
        38.25 for images.
      seed: What the random numbers depend on, beside example and step.
    """

    samples: int = 50
    noise: float | None = None
    seed: int = 0

    reducer: ClassVar[Reducer | None] = "mean"
    key_shape: ClassVar[tuple[int | None, ...]] = (None, KEY_WORDS)
    fewest_samples: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require_count(self.name, "samples", self.samples, self.fewest_samples)
        require_count(self.name, "seed", self.seed, 0)
        if self.noise is not None:
            require_number(self.name, "noise", self.noise, 0)
            object.__setattr__(self, "noise", float(self.noise))

    @property
    def calls(self) -> int:
        """The copies, after the input itself, which chooses the targets."""
        return 1 + self.samples

    def of_inputs(self, inputs: InputSpec) -> Method:
        """The method with the noise that the inputs' range implies.

        Raises:
          ConfigurationError: None is given, and the inputs do not say what range they have.
        """
        if self.noise is not None:
            return self
        if inputs.kind != "image" and inputs.scale not in ("unit", "symmetric"):
            raise ConfigurationError(
                f"explain.method.{self.name}.noise is missing, and source.input does not say what "
                "range its tensors have; give a standard deviation in their units"
            )
        return dataclasses.replace(self, noise=_SHARE_OF_RANGE * _BYTE_RANGE)

    def keys(self, step: int, ids: Sequence[str]) -> npt.NDArray[np.uint64]:
        """Each example's own."""
        return random_keys(self.seed, step, ids)

    def perturb(self, inputs: tf.Tensor, step: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """Inputs with noise."""
        import tensorflow as tf

        del step
        assert self.noise is not None  # noqa: S101 - `of_inputs` has given it
        noise, shape = self.noise, inputs.shape[1:]

        def perturbed(example: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            values, key = example
            numbers = normal_numbers(key, shape.num_elements())
            return values + noise * tf.reshape(numbers, shape)

        # One by one, as the last bits of vector operations may depend on a number's place.
        return tf.map_fn(
            perturbed, (inputs, keys), fn_output_signature=tf.TensorSpec(shape, tf.float32)
        )

    def begin(self, first: Attribution) -> State:
        """Nothing: the unperturbed input is no copy."""
        import tensorflow as tf

        return (tf.zeros_like(first.gradients),)

    def finish(
        self, state: State, inputs: tf.Tensor | None, scores: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The mean; see `Method`."""
        del inputs, scores
        return state[0] / self.samples, {}
