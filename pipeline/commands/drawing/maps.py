"""Maps as pictures: beside an image, and over it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_INFERNO = np.array(
    [
        [0, 0, 4], [27, 12, 65], [74, 12, 107], [120, 28, 109], [165, 44, 96],
        [207, 68, 70], [237, 105, 37], [251, 155, 6], [247, 209, 61], [252, 255, 164],
    ],
    np.float64,
)  # fmt: skip
"""Matplotlib's perceptually uniform colour map at ten even steps, dark where little is."""

_BLUES = np.array(
    [[0, 0, 4], [16, 44, 110], [48, 116, 200], [130, 190, 250], [225, 242, 255]], np.float64
)
"""What lowers the score, in maps with a sign: as dark where little is."""

_BRIGHTEST_PERCENTILE = 99.0  # A few extreme pixels would leave the rest of a map dark.
_PANEL_PIXELS = 256  # Smaller maps are magnified by a whole number up to about this.
_GAP_PIXELS = 8
_STRIP_ASPECT = 8  # A tabular map is drawn this many times wider than high.
_FAINTEST, _STRONGEST = 0.15, 0.85  # How much of the overlay is the map's colour.
_PICTURE_RANK = 3

Pixels = npt.NDArray[np.uint8]


def draw(values: npt.NDArray[np.float32], picture: npt.NDArray[np.float32] | None) -> Pixels:
    """Draws a map, between its input and the two over each other where there is a picture.

    Args:
      values: (H, W), (H, W, C), (T, W) or (W,). Negative values are drawn in blue. Channels show
        their largest magnitude.
      picture: (H, W, C) in 0..255, or None.

    Returns:
      (height, width, 3) uint8.
    """
    plane = _as_plane(values)
    brightness = brightness_of(np.abs(plane))
    negative = (plane < 0)[..., np.newaxis]
    colours = np.where(negative, colour_of(brightness, _BLUES), colour_of(brightness))
    panels: list[npt.NDArray[Any]] = [colours]
    if picture is not None:
        base = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture[..., :3]
        share = (_FAINTEST + (_STRONGEST - _FAINTEST) * brightness)[..., np.newaxis]
        panels = [base, colours, (1 - share) * base + share * colours]
    factor = max(1, _PANEL_PIXELS // max(brightness.shape))
    pixels = [
        np.clip(np.rint(panel), 0, 255).astype(np.uint8).repeat(factor, 0).repeat(factor, 1)
        for panel in panels
    ]
    gap = np.full((pixels[0].shape[0], _GAP_PIXELS, 3), 255, np.uint8)
    spaced = [part for panel in pixels for part in (gap, panel)][1:]
    return np.concatenate(spaced, axis=1)


def _as_plane(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    plane = values.astype(np.float64)
    if plane.ndim == 1:
        return np.repeat(plane[np.newaxis], max(1, len(plane) // _STRIP_ASPECT), axis=0)
    if plane.ndim < _PICTURE_RANK:
        return plane
    largest = np.abs(plane).argmax(axis=-1)[..., np.newaxis]
    return np.take_along_axis(plane, largest, axis=-1)[..., 0]


def brightness_of(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """In 0..1, where 1 is the brightest percentile or more."""
    brightest = np.percentile(plane, _BRIGHTEST_PERCENTILE) or plane.max()
    return np.clip(plane / brightest, 0, 1) if brightest > 0 else np.zeros_like(plane)


def colour_of(
    brightness: npt.NDArray[np.float64], palette: npt.NDArray[np.float64] = _INFERNO
) -> npt.NDArray[np.float64]:
    """Colours, (..., 3) in 0..255, of brightness in 0..1."""
    steps = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(brightness, steps, channel) for channel in palette.T], axis=-1)


def stretch(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A tensor of any range in 0..255."""
    low, high = float(values.min()), float(values.max())
    stretched: npt.NDArray[np.float32] = (values - low) * (255 / (high - low if high > low else 1))
    return stretched
