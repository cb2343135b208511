"""Checks of methods' parameters: a sentence names the parameter, its value and what it may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

from transforms.errors import ConfigurationError


def require_count(method: str, name: str, value: Any, least: int) -> None:
    """Refuses what is not an integer of at least `least`.

    Raises:
      ConfigurationError: It is something else.
    """
    if type(value) is not int or value < least:
        raise refusal(method, name, value, f"give an integer of at least {least}")


def require_number(
    method: str, name: str, value: Any, least: float = -math.inf, most: float = math.inf
) -> None:
    """Refuses what is not a finite number within bounds.

    Raises:
      ConfigurationError: It is something else.
    """
    if not is_number(value) or not least <= value <= most:
        bounds = "" if least == -math.inf else f" of at least {least:g}"
        bounds = bounds if most == math.inf else f" from {least:g} to {most:g}"
        raise refusal(method, name, value, f"give a number{bounds}")


def as_numbers(method: str, name: str, value: Any) -> float | tuple[float, ...]:
    """One number, or one per channel.

    Raises:
      ConfigurationError: It is something else.
    """
    if is_number(value):
        return float(value)
    if isinstance(value, Sequence) and value and all(map(is_number, value)):
        return tuple(map(float, value))
    raise refusal(method, name, value, "give a number, or a list with one per channel")


def check_channels(
    method: str, name: str, value: float | tuple[float, ...], shape: Sequence[int]
) -> None:
    """Refuses a list of numbers that has not one per channel of the inputs.

    Raises:
      ConfigurationError: It has more or fewer.
    """
    if isinstance(value, tuple) and len(value) != shape[-1]:
        raise refusal(
            method,
            name,
            list(value),
            f"inputs of shape {list(shape)} have {shape[-1]} channels: give {shape[-1]} numbers, "
            "or one for all",
        )


def as_pair(method: str, name: str, value: Any) -> tuple[int, int]:
    """(rows, columns) of one integer for both, or of two, each at least 1.

    Raises:
      ConfigurationError: It is something else.
    """
    pair = (value, value) if type(value) is int else value
    if (
        isinstance(pair, Sequence)
        and len(pair) == 2  # noqa: PLR2004 - rows and columns
        and all(type(each) is int and each >= 1 for each in pair)
    ):
        return pair[0], pair[1]
    raise refusal(method, name, value, "give an integer of at least 1, or [rows, columns]")


def refusal(method: str, name: str, value: Any, remedy: str) -> ConfigurationError:
    """What to say of a parameter's value."""
    shown = list(value) if isinstance(value, tuple) else value
    return ConfigurationError(f"explain.method.{method}.{name} is {shown!r}; {remedy}")


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether something is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)
