"""Numbers that no value of a fed input's type stands for are faults, not other numbers."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.elements import NO_LABEL, Examples
from transforms.models.inputs import ModelInput
from transforms.saliency.batching.fed_inputs import FedInputs


def fed(dtype: str, *numbers: float) -> tuple[list[float], list[str | None]]:
    count = len(numbers)
    examples = Examples(
        np.arange(count),
        tuple(map(str, range(count))),
        np.zeros((count, 1), np.float32),
        np.full(count, NO_LABEL, np.int32),
        beside={"code": tuple(np.array([number]) for number in numbers)},
    )
    found = FedInputs([ModelInput("code", (1,), dtype)]).of(examples)
    faults = [None if fault is None else str(fault) for fault in found.faults]
    return found.arrays[0][:, 0].tolist(), faults


@pytest.mark.parametrize(
    ("dtype", "fits", "too_large"),
    [
        ("bool", 1.0, 2.0),
        ("uint8", 255.0, 256.0),
        ("int32", 2.0**31 - 1, 2.0**31),
        ("int64", 2.0**62, 2.0**63),
        ("float32", 3e38, 1e39),
        ("float16", 65504.0, 1e5),
        ("bfloat16", 2.0**127, 1e39),
    ],
)
def test_what_a_type_does_not_hold_is_a_fault(dtype: str, fits: float, too_large: float) -> None:
    values, faults = fed(dtype, fits, too_large)
    assert values[0] == pytest.approx(fits, rel=1e-6)
    assert faults == [
        None,
        f"input 'code' takes {dtype}, and its feature (model.inputs.features) is {too_large:g}",
    ]


def test_the_smallest_of_int64_fits() -> None:
    assert fed("int64", -(2.0**63)) == ([-(2**63)], [None])
