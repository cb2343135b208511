"""What is done to an image to learn whether a model uses a place: masking it, and pasting it.

Images are (H, W, C) float32 as they are decoded, 0..255; a mask is (H, W) bool. Every intervention
has a control that changes as many pixels of the same image elsewhere, so that what any change of
that size does is told from what the place does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_BLUR_SHARE = 1 / 16  # Of the shorter side: the blur's standard deviation, which leaves no detail.


def mean_colour(image: Image, donor: Image) -> Image:
    """The image's mean colour, everywhere.

    Args:
      image: (H, W, C).
      donor: Not used; each fill takes the same arguments.

    Returns:
      (H, W, C).
    """
    del donor
    return np.broadcast_to(image.mean(axis=(0, 1)), image.shape)


def blurred(image: Image, donor: Image) -> Image:
    """The image blurred: colours stay, detail goes.

    The blur is Gaussian, its standard deviation 1/16 of the shorter side.

    Args:
      image: (H, W, C).
      donor: Not used; each fill takes the same arguments.

    Returns:
      (H, W, C).
    """
    del donor
    sigma = _BLUR_SHARE * min(image.shape[:2])
    soft: Image = gaussian_filter(image, (sigma, sigma, 0), mode="nearest")
    return soft


def of_donor(image: Image, donor: Image) -> Image:
    """Another class's image.

    Args:
      image: Not used; each fill takes the same arguments.
      donor: (H, W, C).

    Returns:
      (H, W, C).
    """
    del image
    return donor


Fill = Callable[[Image, Image], Image]
"""What a mask is filled from, of an image and a donor."""

FILLS: dict[str, Fill] = {
    "mean": mean_colour,
    "blur": blurred,
    "donor": of_donor,
}
"""The fills by name: `paste` puts what they make under the mask. Each makes
another mistake (a grey patch is no image either), so an effect is of all three."""


@dataclasses.dataclass(frozen=True)
class Shift:
    """By how many rows and columns a mask is moved; past an edge it comes in at the other."""

    rows: int
    columns: int

    def of_mask(self, mask: Mask) -> Mask:
        """The mask, moved."""
        moved: Mask = np.roll(mask, (self.rows, self.columns), axis=(0, 1))
        return moved

    def back(self, image: Image) -> Image:
        """The image with what is under the moved mask brought under the mask."""
        moved: Image = np.roll(image, (-self.rows, -self.columns), axis=(0, 1))
        return moved


def shifts_elsewhere(mask: Mask, count: int, generator: np.random.Generator) -> list[Shift]:
    """Places of the mask's shape and size that have nothing in common with it.

    Places inside the image are taken before those that wrap around its edges, and where the mask is
    so large that every place overlaps it, those that overlap it least.

    Args:
      mask: (H, W), neither empty nor full.
      count: How many, with replacement where there are fewer.
      generator: Draws them.

    Raises:
      ValueError: The mask is empty or full, so there is no elsewhere.

    >>> mask = np.zeros((4, 4), bool)
    >>> mask[0, 0] = True
    >>> all(not (s.of_mask(mask) & mask).any() for s in
    ...     shifts_elsewhere(mask, 5, np.random.default_rng(0)))
    True
    """
    if not mask.any() or mask.all():
        raise ValueError(f"a mask of {mask.sum()} of {mask.size} pixels has no elsewhere")
    spectrum = np.fft.rfft2(mask)
    overlap = np.rint(np.fft.irfft2(spectrum * spectrum.conj(), s=mask.shape)).astype(np.int64)
    free = overlap == overlap.min()
    inside = _stays_inside(mask)
    candidates = np.argwhere(free & inside) if (free & inside).any() else np.argwhere(free)
    chosen = generator.integers(len(candidates), size=count)
    return [Shift(int(rows), int(columns)) for rows, columns in candidates[chosen]]


def paste(image: Image, mask: Mask, source: Image) -> Image:
    """The image with what the source has under the mask.

    Args:
      image: (H, W, C).
      mask: (H, W).
      source: (H, W, C), another image or a fill.

    Returns:
      (H, W, C), a copy.
    """
    return np.where(mask[..., np.newaxis], source, image).astype(np.float32)


def mask_of_cells(cells: npt.NDArray[np.bool_], height: int, width: int) -> Mask:
    """A region on the grid of sketches as a mask of an image.

    It has the pixels whose centre is in one of the cells, and those in which a cell's centre is: of
    an image that is smaller than the grid, too, it is never empty.

    Args:
      cells: (rows, columns) bool.
      height: Of the image, in pixels.
      width: Of the image, in pixels.

    Returns:
      (height, width).

    >>> mask_of_cells(np.array([[True, False]]), 1, 4).tolist()
    [[True, True, False, False]]
    """
    rows, columns = _centres(height, cells.shape[0]), _centres(width, cells.shape[1])
    mask: Mask = cells[np.ix_(rows, columns)]
    of_rows, of_columns = (
        _centres(count, side) for count, side in zip(cells.shape, (height, width), strict=True)
    )
    chosen = np.nonzero(cells)
    mask[of_rows[chosen[0]], of_columns[chosen[1]]] = True
    return mask


def _centres(count: int, side: int) -> npt.NDArray[np.intp]:
    """Of `count` equal parts of a side, in which of its `side` units the centre of each lies."""
    return ((np.arange(count) + 0.5) * side / count).astype(np.intp)


def _stays_inside(mask: Mask) -> npt.NDArray[np.bool_]:
    """(H, W): for which shifts no pixel of the mask wraps around an edge."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    row_fits = _fits(np.arange(height), int(rows[0]), int(rows[-1]), height)
    column_fits = _fits(np.arange(width), int(columns[0]), int(columns[-1]), width)
    fits: npt.NDArray[np.bool_] = row_fits[:, np.newaxis] & column_fits
    return fits


def _fits(shift: npt.NDArray[np.int64], first: int, last: int, side: int) -> npt.NDArray[np.bool_]:
    """Whether pixels first..last, moved by a shift modulo the side, are still in one piece."""
    forward = last + shift < side
    backward = first + shift >= side
    fits: npt.NDArray[np.bool_] = forward | backward
    return fits
