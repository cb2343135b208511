"""Inputs of a model that examples' own features feed, beside the one that is explained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.elements import Examples
from transforms.errors import DataFault
from transforms.formats.features import beside_role, key_of
from transforms.models.inputs import ModelInput
from transforms.saliency.attribution import Beside


@dataclasses.dataclass(frozen=True)
class FedValues:
    """What feeds other inputs, of N examples.

    Attributes:
      arrays: Of each input (N, *shape) of its type; those of faulty examples are 0.
      faults: N of them, None where all is well.
    """

    arrays: Beside
    faults: list[DataFault | None]


class FedInputs:
    """Makes arrays of what feeds other inputs.

    Args:
      inputs: Those that are fed (`LoadedModel.fed_inputs`).
    """

    def __init__(self, inputs: Sequence[ModelInput]) -> None:
        self._inputs = inputs

    def of(self, examples: Examples) -> FedValues:
        """Examples' values, in the order of the inputs."""
        faults: list[DataFault | None] = [None] * len(examples)
        found = []
        for each in self._inputs:
            values = np.zeros((len(examples), *each.known_shape), _dtype_of(each))
            for row, numbers in enumerate(examples.beside[each.name]):
                wrong = _wrong(each, numbers)
                if wrong is None:
                    values[row] = numbers.reshape(each.known_shape)
                else:
                    faults[row] = faults[row] or DataFault("explain", "WrongValue", wrong)
            found.append(values)
        return FedValues(found, faults)


def _dtype_of(each: ModelInput) -> np.dtype[Any]:
    import tensorflow as tf

    dtype: np.dtype[Any] = np.dtype(tf.as_dtype(each.dtype).as_numpy_dtype)
    return dtype


def _wrong(each: ModelInput, numbers: npt.NDArray[np.float64]) -> str | None:
    """Why an input does not take some numbers, in a sentence; None where it does."""
    key = key_of(beside_role(each.name))
    if len(numbers) != each.size:
        return (
            f"input {each.name!r} takes {each.size} numbers, and its feature ({key}) has "
            f"{len(numbers)}"
        )
    out = _out_of_range(each, numbers)
    if out.any():
        return (
            f"input {each.name!r} takes {each.dtype}, and its feature ({key}) is "
            f"{numbers[out][0]:g}"
        )
    return None


def _out_of_range(each: ModelInput, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which of the numbers are no values of an input's type."""
    dtype = _dtype_of(each)
    lost: npt.NDArray[np.bool_]
    if each.is_floating:
        with np.errstate(over="ignore"):
            held = numbers.astype(dtype).astype(np.float64)
        lost = ~np.isfinite(held)
    else:
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        # As a float64, int64's largest number is 2**63, which it does not hold.
        lost = (numbers != np.rint(numbers)) | (numbers < low) | (numbers >= high + 1.0)
    return lost
