"""Features of numbers: columns of a table, and what feeds other inputs of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from transforms.formats.roles.faults import RecordFaults

if TYPE_CHECKING:
    from transforms.formats.columns import Column

_REMEDY = "write categories as the numbers that the model was trained with"
_MOST_EXACT = (1 << 53) - 1  # from 2**53 on, two whole numbers may be one float64


def one_number_each(column: Column, role: str, faults: RecordFaults) -> npt.NDArray[np.float32]:
    """The number that each record has of a feature.

    Null and NaN are no number, nor is what float32 cannot hold; booleans are 0 and 1.

    Args:
      column: The feature of N records.
      role: What it is for.
      faults: Of the records; those that have no number are added.

    Returns:
      (N,) numbers, 0 where there is none.
    """
    numbers = np.zeros(len(column.lengths), np.float32)
    faults.require_values(role)
    if column.is_bytes:
        faults.fail_kind(role, f"a number: {_REMEDY}")
        return numbers
    faults.require_one_value(role)
    rows = np.flatnonzero(column.lengths == 1)
    values = column.values[column.splits[rows]]
    with np.errstate(over="ignore"):
        numbers[rows] = values
    for place in np.flatnonzero(~np.isfinite(numbers[rows])).tolist():
        row, value = int(rows[place]), float(values[place])
        if np.isnan(value):
            faults.fail(
                row, "MissingFeature", f"{faults.described(role)} is NaN, which is no value"
            )
        else:
            faults.fail(
                row,
                "NotFinite",
                f"{faults.described(role)} is {value:g}, which float32 cannot hold",
            )
    return numbers


def numbers_each(
    column: Column, role: str, faults: RecordFaults
) -> tuple[npt.NDArray[np.float64], ...]:
    """The numbers that each record has of a feature, one or more; null and NaN are none.

    Nor are whole numbers from 2**53 on, such as hashes: rounded, each would be another category.

    Args:
      column: The feature of N records.
      role: What it is for.
      faults: Of the records; those that have no number are added.

    Returns:
      N arrays (k,), those of faulty records empty or not finite.
    """
    none = np.zeros(0)
    faults.require_values(role)
    if column.is_bytes:
        faults.fail_kind(role, f"numbers: {_REMEDY}")
        return (none,) * len(column.lengths)
    numbers = tuple(column.of(row).astype(np.float64) for row in range(len(column.lengths)))
    are_whole = column.values.dtype.kind in "iu"
    for row, values in enumerate(numbers):
        if not np.isfinite(values).all():
            faults.fail(row, "NotFinite", f"{faults.described(role)} holds NaN or infinity")
        elif are_whole and (np.abs(values) > _MOST_EXACT).any():
            faults.fail(
                row,
                "NotExact",
                f"{faults.described(role)} holds whole numbers from 2**53 on, which float64 rounds",
            )
    return numbers
