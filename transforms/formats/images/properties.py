"""What an image looks like, in four numbers: how bright, how contrasted, how colourful, how sharp.

A map shows where a model looks. What has no place, such as a tint or a blur that all images of a
class share, it cannot show (Adebayo et al. 2022, arXiv 2212.04629). These numbers can.

They are of the image as the model is shown it, before it is scaled, in whole levels of 0..255, and
of a sample of it: the pixels of a grid of at most 24 rows and columns, evenly spaced. With R, G and
B in 0..255 and Y = (77 R + 150 G + 29 B) / 256, luma by ITU-R BT.601 in 256ths, and R = G = B where
an image is grey:

    luminance  = mean Y / 255                          0..1    how bright
    contrast   = standard deviation of Y / 255         0..1/2  RMS contrast (Peli 1990)
    saturation = sum (max - min) / sum max             0..1    of R, G and B of each pixel
    sharpness  = sqrt(mean (dx^2 + dy^2) / 2) / 255    0..1    energy of gradient (Subbarao 1993)

where dx and dy are what the pixels to the right of a pixel of the grid and below it have more of Y.
`saturation` is that of the HSV space (Smith 1978), each pixel weighted by its value: that of dark
pixels is mostly noise. It is undefined for a black image, and where a model takes grey images.
All sums are of whole numbers, so that the same image gives the same numbers on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]

GRID = 24
"""The sample has at most so many rows and columns: a larger one costs in proportion."""

_WHITE = 255
_LUMA = (77, 150, 29)
_UNIT = 256 * _WHITE  # of luma
_COLOR_CHANNELS = 3

# From a pixel, the one to its right and the one below it to luma here, dx and dy, in 256ths of a
# level: below 2**17, so that float32's products and sums are exact.
_LUMA_AND_SLOPES = np.kron([[1, 0, 0], [-1, 1, 0], [-1, 0, 1]], _LUMA).astype(np.float32)


def input_properties(pixels: Pixels) -> Mapping[str, npt.NDArray[np.float32]]:
    """The properties of images, by name.

    Args:
      pixels: (N, H, W, C) in 0..255; C is 1, 3 or 4, of which alpha is left out.

    Returns:
      Of each (N,) float32, NaN where it is undefined.

    >>> flat = np.full((1, 8, 8, 3), (255, 0, 0), np.uint8)
    >>> {name: round(float(value[0]), 3) for name, value in input_properties(flat).items()}
    {'luminance': 0.301, 'contrast': 0.0, 'saturation': 1.0, 'sharpness': 0.0}
    """
    levels = _sample(pixels)
    count = levels.shape[1]
    saturation = np.full(len(levels), np.nan)
    if levels.shape[-1] < _COLOR_CHANNELS:
        levels = np.repeat(levels, _COLOR_CHANNELS, axis=-1)
    else:
        levels = levels[..., :_COLOR_CHANNELS]
        saturation = _saturation(levels[:, :, 0])
    flat = levels.reshape(len(levels), count, len(_LUMA_AND_SLOPES) * _COLOR_CHANNELS)
    luma = np.matmul(_LUMA_AND_SLOPES, flat.astype(np.float32).transpose(0, 2, 1))
    luma = luma.astype(np.float64)
    total = luma[:, 0].sum(axis=1)
    squares = np.einsum("nkm,nkm->kn", luma, luma)  # below 2**44: exact in any order
    spread = np.sqrt(count * squares[0] - total * total)  # of differences below 2**53
    found = {
        "luminance": total / (count * _UNIT),
        "contrast": spread / (count * _UNIT),
        "saturation": saturation,
        "sharpness": np.sqrt((squares[1] + squares[2]) / (2 * count)) / _UNIT,
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


def _sample(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """(N, M, 3, C): pixels of the grid, each with the one to its right and the one below it.

    Neighbours are copied as one item: pixel by pixel takes four times as long.
    """
    if 1 in pixels.shape[1:3]:  # An only pixel is its own neighbour.
        edges = [(0, 0), *((0, int(side == 1)) for side in pixels.shape[1:3]), (0, 0)]
        whole = np.pad(pixels, edges, "edge")
    else:
        whole = np.ascontiguousarray(pixels)
    count, height, width, channels = whole.shape
    step = math.ceil(max(height, width) / GRID)
    rows, columns = (len(range(_first(side, step), side - 1, step)) for side in (height, width))
    image, row, pixel = whole.strides[:3]
    first = _first(height, step) * row + _first(width, step) * pixel
    kind = np.dtype([("pair", f"V{2 * pixel}"), ("below", f"V{pixel}")])
    sample = np.empty((count, rows, columns), kind)
    for name, offset in (("pair", first), ("below", first + row)):
        strides = image, step * row, step * pixel
        sample[name] = np.ndarray(sample.shape, kind[name], whole, offset, strides)
    levels = sample.view(whole.dtype).reshape(count, rows * columns, 3, channels)
    if levels.dtype != np.uint8:
        levels = np.rint(np.clip(levels, 0, _WHITE)).astype(np.uint8)
    found: npt.NDArray[np.uint8] = levels
    return found


def _first(side: int, step: int) -> int:
    """The first row or column of the grid: half a step from the edge, where there is room."""
    return min(step // 2, side - 2)


def _saturation(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(N, M, 3) -> (N,)."""
    red, green, blue = levels[..., 0], levels[..., 1], levels[..., 2]
    value = np.maximum(np.maximum(red, green), blue).sum(axis=1, dtype=np.int64)
    least = np.minimum(np.minimum(red, green), blue).sum(axis=1, dtype=np.int64)
    undefined = np.full(len(value), np.nan)
    found: npt.NDArray[np.float64] = np.divide(value - least, value, out=undefined, where=value > 0)
    return found
