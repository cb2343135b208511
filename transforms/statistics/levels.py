"""How many of a map's codes there are of each level."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from transforms.codec import LEVELS

_LONG = 6_000  # codes of a map from which a call of Pillow for each is the faster way


def level_counts(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Counts the levels of maps.

    Args:
      codes: (N, n) uint8, n at least 1.

    Returns:
      (N, 256) int64.

    >>> level_counts(np.array([[0, 7, 7]], np.uint8))[0, [0, 7, 255]].tolist()
    [1, 2, 0]
    """
    if codes.shape[1] < _LONG:
        slots = codes + (np.arange(len(codes)) * LEVELS)[:, np.newaxis]
        counts = np.bincount(slots.reshape(-1), minlength=len(codes) * LEVELS)
        return counts.reshape(-1, LEVELS)
    # Pillow has them as bytes. np.bincount makes integers of 64 bits of them first, takes three
    # times as long, and holds Python's lock meanwhile.
    rows = np.ascontiguousarray(codes)
    images = (Image.frombuffer("L", (len(row), 1), row, "raw", "L", 0, 1) for row in rows)
    return np.array([image.histogram() for image in images], np.int64).reshape(-1, LEVELS)
