"""Exact sums, and the means and deviations that follow from them.

Floating-point sums change in their last bits with the order of their terms, and so with the number
of workers. Here every term becomes an integer before it is added: values in 0..1 in units of
2**-32, sketch cells in units of 2**-24, scores, which have no bounds, in units of float32's
smallest value, 2**-149. Integer sums are associative and commutative; one correctly rounded
division at the end makes floats of them, the same ones on every machine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

FIXED_BITS = 32
"""Values in 0..1 are integers in units of 2**-32: at most 2**-33 from the float32 given."""

SCORE_BITS = 149
"""Scores are integers in units of 2**-149, of which every float32 is a multiple."""

SQUARE_TERMS = 3
"""A fixed-point square is kept as this many terms, since 2**64 does not fit in 64 bits."""

CUBE_TERMS = 4
"""Likewise a fixed-point cube, of up to 2**96."""

LIMB_BITS = 32
"""The lower of the two integers that a wide sum is kept in has so many bits."""

_HALF_BITS = FIXED_BITS // 2
_LIMB_MASK = (1 << LIMB_BITS) - 1
_MANTISSA_BITS = 23


class WideSums:
    """A vector of exact non-negative sums, each below 2**95.

    Two int64 limbs a sum, carried over at every addition: `low` always holds the last 32 bits, so
    equal sums are equal bytes. The largest terms are squares of sketch cells and terms of cubes,
    2**48 per map: room for 2**47 maps.

    Attributes:
      low: (K,) int64, each in 0..2**32 - 1.
      high: (K,) int64.
    """

    def __init__(self, low: IntArray, high: IntArray) -> None:
        self.low = low
        self.high = high

    @classmethod
    def zero(cls, size: int) -> WideSums:
        """Sums of nothing."""
        return cls(np.zeros(size, np.int64), np.zeros(size, np.int64))

    def __getitem__(self, sums: slice) -> WideSums:
        """Some of the sums; a view."""
        return WideSums(self.low[sums], self.high[sums])

    def add(self, terms: IntArray) -> None:
        """Adds (K,) int64 terms, each in 0..2**62."""
        self.low += terms
        self.high += self.low >> LIMB_BITS
        self.low &= _LIMB_MASK

    def merge(self, other: WideSums) -> None:
        """Adds the sums of another."""
        self.high += other.high
        self.add(other.low)

    def integers(self) -> list[int]:
        """The K sums."""
        limbs = zip(self.high.tolist(), self.low.tolist(), strict=True)
        return [(high << LIMB_BITS) + low for high, low in limbs]


def fixed_point(values: npt.NDArray[np.floating[Any]]) -> IntArray:
    """Values in 0..1 as int64 in units of 2**-32, rounded half to even; NaN as 0."""
    scaled = np.nan_to_num(values.astype(np.float64)) * float(1 << FIXED_BITS)
    return np.rint(scaled).astype(np.int64)


def square_terms(fixed: IntArray) -> IntArray:
    """Splits squares of fixed-point integers v = 2**16 h + l into h h, h l and l l.

    Args:
      fixed: (N, K) int64 in 0..2**32.

    Returns:
      (N, 3 K) int64, each at most 2**32: sums of 2**30 of them fit.
    """
    high, low = fixed >> _HALF_BITS, fixed & ((1 << _HALF_BITS) - 1)
    return np.concatenate([high * high, high * low, low * low], axis=1)


def squares(terms: list[int]) -> list[int]:
    """Sums of K squares from the 3 K sums of their terms."""
    count = len(terms) // SQUARE_TERMS
    parts = zip(terms[:count], terms[count : 2 * count], terms[2 * count :], strict=True)
    return [
        (high_high << (2 * _HALF_BITS)) + (high_low << (_HALF_BITS + 1)) + low_low
        for high_high, high_low, low_low in parts
    ]


def cube_terms(fixed: IntArray) -> IntArray:
    """Splits cubes of fixed-point integers v = 2**16 h + l into h h h, h h l, h l l and l l l.

    Args:
      fixed: (N, K) int64 in 0..2**32.

    Returns:
      (N, 4 K) int64, each at most 2**48: sums of 2**14 of them fit.
    """
    high, low = fixed >> _HALF_BITS, fixed & ((1 << _HALF_BITS) - 1)
    high_high, low_low = high * high, low * low
    terms = (high_high * high, high_high * low, high * low_low, low_low * low)
    return np.concatenate(terms, axis=1)


def cubes(terms: list[int]) -> list[int]:
    """Sums of K cubes from the 4 K sums of their terms."""
    count = len(terms) // CUBE_TERMS
    parts = zip(
        *(terms[part * count : (part + 1) * count] for part in range(CUBE_TERMS)), strict=True
    )
    return [
        (hhh << (3 * _HALF_BITS)) + (3 * hhl << (2 * _HALF_BITS)) + (3 * hll << _HALF_BITS) + lll
        for hhh, hhl, hll, lll in parts
    ]


def dyadic(scores: npt.NDArray[np.float32]) -> list[int]:
    """Finite float32 scores as exact integers in units of 2**-149.

    >>> dyadic(np.float32([0.5, -1e-45]))[0] == 2**148, dyadic(np.float32([-1e-45]))
    (True, [-1])

    Raises:
      ValueError: Where a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite; such examples are failures, not rows to summarize")
    bits = scores.view(np.int32)
    exponents = (bits >> _MANTISSA_BITS) & 0xFF
    mantissas = (bits & ((1 << _MANTISSA_BITS) - 1)) | ((exponents > 0) << _MANTISSA_BITS)
    signed = np.where(bits < 0, -mantissas, mantissas).tolist()
    shifts = np.maximum(exponents - 1, 0).tolist()
    return [mantissa << shift for mantissa, shift in zip(signed, shifts, strict=True)]


def mean(count: int, total: int, bits: int) -> float | None:
    """Mean of `count` integers in units of 2**-bits, correctly rounded; None where there are none.

    >>> mean(4, 3, 1)
    0.375
    """
    return total / (count << bits) if count else None


def standard_deviation(count: int, total: int, square_sum: int, bits: int) -> float | None:
    """Population standard deviation of integers in units of 2**-bits; None where there are none.

    The variance, (count * square_sum - total^2) / count^2, is correctly rounded, and so is its
    root.

    >>> standard_deviation(2, 2, 4, 0)  # of 0 and 2
    1.0
    """
    if not count:
        return None
    return math.sqrt((count * square_sum - total * total) / ((count * count) << (2 * bits)))


def skewness(count: int, total: int, square_sum: int, cube_sum: int) -> float | None:
    """Third standardised moment of a population of integers, in whatever units they are.

    With the sums S1, S2, S3 of n values, their squares and cubes:
    (n^2 S3 - 3 n S1 S2 + 2 S1^3) / (n S2 - S1^2)^1.5. Numerator and denominator are exact integers
    up to the root.

    Returns:
      None where there are no values, or all of them are equal.

    >>> round(skewness(4, 4, 16, 64), 6)  # of 0, 0, 0 and 4: two over the root of three
    1.154701
    """
    variance = count * square_sum - total * total
    if not variance:
        return None
    third = count * count * cube_sum - 3 * count * total * square_sum + 2 * total**3
    return third / variance / math.sqrt(variance)
