"""How maps are stored: a map's maximum once, and a small code for every pixel.

| codec     | code                              | value                        |
| --------- | --------------------------------- | ---------------------------- |
| `uint8`   | round(255 * sqrt(A / max A))      | (code / 255)^2 * scale       |
| `int8`    | round(127 * sqrt(A / max A))      | (code / 127)^2 * scale       |
| `float16` | A / max A                         | code * scale                 |
| `float32` | A / max A                         | code * scale                 |

Maps with a sign are stored by their magnitudes |A|, and each code has the sign of its value; `int8`
is what `uint8` is for them. The scale is the map's largest magnitude. Gradients are heavy-tailed,
so equal steps of the square root spend `uint8`'s 256 levels where the pixels are: its error is at
most 0.5/255 in sqrt(A / max A), that of `int8` 0.5/127. An all-zero map has scale 0 and codes 0.

Subnormal float32 values (below 1.2e-38) are zero, in maps and in codes: TensorFlow's CPU kernels
and accelerators flush them, and a map has to be stored as the same bytes everywhere.
`saliency.quantize` is the same arithmetic inside a compiled graph.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

CodecName = Literal["uint8", "float16", "float32"]
"""What a user chooses."""

StoredCodec = Literal["uint8", "int8", "float16", "float32"]
"""The dtype of the codes names the codec."""

CODECS: tuple[CodecName, ...] = get_args(CodecName)

_STORED: tuple[StoredCodec, ...] = get_args(StoredCodec)

LEVELS = 256
"""Of `uint8` codes."""

SIGNED_LEVELS = 128
"""Magnitudes of `int8` codes, zero among them."""

SMALLEST_NORMAL = np.finfo(np.float32).smallest_normal
"""Values below it count as zero."""

_VALUES = np.square(np.arange(LEVELS) / (LEVELS - 1)).astype(np.float32)
"""`uint8` codes' values, as fractions of the map's maximum."""

_SIGNED_VALUES = np.square(np.arange(SIGNED_LEVELS) / (SIGNED_LEVELS - 1)).astype(np.float32)
"""The same of `int8` codes' magnitudes."""


def stored_codec(codec: CodecName, *, signed: bool) -> StoredCodec:
    """What maps are stored as for the codec that a user chose.

    >>> stored_codec("uint8", signed=True), stored_codec("float16", signed=True)
    ('int8', 'float16')
    """
    return "int8" if signed and codec == "uint8" else codec


def encode(
    maps: npt.NDArray[np.float32], codec: StoredCodec, *, signed: bool = False
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """Encodes maps.

    Args:
      maps: (N, ...) float32, finite, and non-negative unless `signed`.
      codec: Dtype of the codes; `int8` is for maps with a sign, `uint8` for those without.
      signed: Whether maps have a sign.

    Returns:
      Codes (N, ...) of the codec's dtype, and scales (N,) float32: each map's largest magnitude.

    Raises:
      ValueError: Where a map has a non-finite value, or a negative one that it must not have, or
        there is no such codec.
    """
    check_codec(codec, signed=signed)
    if maps.dtype != np.float32 or maps.ndim == 0:
        raise ValueError(f"maps must be (N, ...) float32, not {maps.shape} {maps.dtype}")
    flat: npt.NDArray[np.float32] = maps.reshape(len(maps), math.prod(maps.shape[1:]))
    unfit = np.flatnonzero(~(np.isfinite(flat) & (signed | (flat >= 0))).all(axis=1))
    if unfit.size:
        raise ValueError(
            f"map {unfit[0]} has negative or non-finite values (from {flat[unfit[0]].min()} to "
            f"{flat[unfit[0]].max()}); maps are absolute gradients, explain again or leave it out"
        )
    magnitudes = np.abs(flat) if signed else flat
    magnitudes = np.where(magnitudes < SMALLEST_NORMAL, np.float32(0), magnitudes)
    scales = magnitudes.max(axis=1, initial=0)
    fractions = magnitudes / np.where(scales > 0, scales, np.float32(1))[:, np.newaxis]
    if codec in ("uint8", "int8"):
        levels = LEVELS if codec == "uint8" else SIGNED_LEVELS
        codes = np.rint(np.sqrt(fractions) * np.float32(levels - 1)).astype(np.dtype(codec))
    elif codec == "float16":
        codes = fractions.astype(np.float16)
    else:
        codes = np.where(fractions < SMALLEST_NORMAL, np.float32(0), fractions)
    if signed:
        codes = np.where((flat < 0) & (codes > 0), -codes, codes)  # no negative zeros
    return codes.reshape(maps.shape), scales


def check_codec(codec: StoredCodec, *, signed: bool) -> None:
    """Refuses a codec that there is none of, or not for such maps.

    Raises:
      ValueError: It is refused.
    """
    if codec not in _STORED:
        raise ValueError(f"codec must be one of {', '.join(_STORED)}, not {codec!r}")
    if codec == ("uint8" if signed else "int8"):
        what = "with" if signed else "without"
        raise ValueError(f"codec {codec!r} cannot hold maps {what} a sign")


def decode(codes: npt.NDArray[Any], scales: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Decodes codes of any codec; their dtype says which.

    Args:
      codes: (N, ...) uint8, int8, float16 or float32.
      scales: (N,) float32.

    Returns:
      Maps (N, ...) float32, with the sign of their codes.

    Raises:
      ValueError: Where no codec has such codes, or scales do not match them.
    """
    if codes.dtype.name not in _STORED:
        raise ValueError(f"codes must be one of {', '.join(_STORED)}, not {codes.dtype}")
    if scales.shape != codes.shape[:1]:
        raise ValueError(f"{codes.shape[:1]} maps need as many scales, not {scales.shape}")
    if codes.dtype == np.uint8:
        fractions = _VALUES[codes]
    elif codes.dtype == np.int8:
        fractions = _SIGNED_VALUES[np.abs(codes)] * np.sign(codes).astype(np.float32)
    else:
        fractions = codes.astype(np.float32)
    values: npt.NDArray[np.float32] = fractions * scales.astype(np.float32).reshape(
        -1, *[1] * (codes.ndim - 1)
    )
    return values
