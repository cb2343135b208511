"""How maps are stored: a map's maximum once, and a small code for every pixel.

| codec     | code                              | value                        |
| --------- | --------------------------------- | ---------------------------- |
| `uint8`   | round(255 * sqrt(A / max A))      | (code / 255)^2 * scale       |
| `float16` | A / max A                         | code * scale                 |
| `float32` | A / max A                         | code * scale                 |

The scale is the map's maximum. Gradients are heavy-tailed, so equal steps of the square root spend
`uint8`'s 256 levels where the pixels are: its error is at most 0.5/255 in sqrt(A / max A). An
all-zero map has scale 0 and codes 0.

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
"""The dtype of the codes names the codec."""

CODECS: tuple[CodecName, ...] = get_args(CodecName)

LEVELS = 256
"""Of `uint8` codes."""

SMALLEST_NORMAL = np.finfo(np.float32).smallest_normal
"""Values below it count as zero."""

_VALUES = np.square(np.arange(LEVELS) / (LEVELS - 1)).astype(np.float32)
"""`uint8` codes' values, as fractions of the map's maximum."""


def encode(
    maps: npt.NDArray[np.float32], codec: CodecName
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """Encodes maps.

    Args:
      maps: (N, ...) float32, finite and non-negative.
      codec: Dtype of the codes.

    Returns:
      Codes (N, ...) of the codec's dtype, and scales (N,) float32: each map's maximum.

    Raises:
      ValueError: Where a map has a negative or non-finite value, or there is no such codec.
    """
    if codec not in CODECS:
        raise ValueError(f"codec must be one of {', '.join(CODECS)}, not {codec!r}")
    if maps.dtype != np.float32 or maps.ndim == 0:
        raise ValueError(f"maps must be (N, ...) float32, not {maps.shape} {maps.dtype}")
    flat: npt.NDArray[np.float32] = maps.reshape(len(maps), math.prod(maps.shape[1:]))
    unfit = np.flatnonzero(~(np.isfinite(flat) & (flat >= 0)).all(axis=1))
    if unfit.size:
        raise ValueError(
            f"map {unfit[0]} has negative or non-finite values (from {flat[unfit[0]].min()} to "
            f"{flat[unfit[0]].max()}); maps are absolute gradients, explain again or leave it out"
        )
    flat = np.where(flat < SMALLEST_NORMAL, np.float32(0), flat)
    scales = flat.max(axis=1, initial=0)
    fractions = flat / np.where(scales > 0, scales, np.float32(1))[:, np.newaxis]
    if codec == "uint8":
        codes = np.rint(np.sqrt(fractions) * np.float32(LEVELS - 1)).astype(np.uint8)
    elif codec == "float16":
        codes = fractions.astype(np.float16)
    else:
        codes = np.where(fractions < SMALLEST_NORMAL, np.float32(0), fractions)
    return codes.reshape(maps.shape), scales


def decode(codes: npt.NDArray[Any], scales: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Decodes codes of any codec; their dtype says which.

    Args:
      codes: (N, ...) uint8, float16 or float32.
      scales: (N,) float32.

    Returns:
      Maps (N, ...) float32.

    Raises:
      ValueError: Where no codec has such codes, or scales do not match them.
    """
    if codes.dtype.name not in CODECS:
        raise ValueError(f"codes must be one of {', '.join(CODECS)}, not {codes.dtype}")
    if scales.shape != codes.shape[:1]:
        raise ValueError(f"{codes.shape[:1]} maps need as many scales, not {scales.shape}")
    fractions = _VALUES[codes] if codes.dtype == np.uint8 else codes.astype(np.float32)
    return fractions * scales.astype(np.float32).reshape(-1, *[1] * (codes.ndim - 1))
