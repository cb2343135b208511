"""Where an image's pixels end up in the model's input: every turn, cut, padding and resize.

One place for whatever has to go along with an image: its pixels, boxes in it, masks of it.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.formats.source import InputSpec

UPRIGHT = 1
"""The orientation (EXIF) of an image that is stored as it is to be seen."""


class Turn(NamedTuple):
    """What makes a stored image upright: a transposition first, then flips.

    Attributes:
      transposed: Whether rows become columns.
      upside_down: Whether rows then are in reverse order.
      mirrored: Whether columns then are.
    """

    transposed: bool
    upside_down: bool
    mirrored: bool


TURNS = {
    1: Turn(False, False, False),
    2: Turn(False, False, True),
    3: Turn(False, True, True),
    4: Turn(False, True, False),
    5: Turn(True, False, False),
    6: Turn(True, False, True),
    7: Turn(True, True, True),
    8: Turn(True, True, False),
}
"""By EXIF's orientation."""


class Cells(NamedTuple):
    """An image that lines divide into cells, some of which belong to a region.

    Attributes:
      rows: (R + 1,) the lines across, ascending, in 0..1 of the image's height.
      columns: (C + 1,) those down, in 0..1 of its width.
      inside: (R, C) bool, which of the cells belong to it.
    """

    rows: npt.NDArray[np.float64]
    columns: npt.NDArray[np.float64]
    inside: npt.NDArray[np.bool_]


class View(NamedTuple):
    """What the model's input shows of an image; images of different sizes may have the same one.

    Attributes:
      turn: What makes the stored image upright.
      down: Begin and length of what is shown of its height then, in 0..1 of it.
      across: The same of its width.
      shape: Height and width of the model's input.
    """

    turn: Turn
    down: tuple[float, float]
    across: tuple[float, float]
    shape: tuple[int, int]

    def shares(self, cells: Cells) -> npt.NDArray[np.float32]:
        """Which share of each of the model's pixels lies in a region, by exact area.

        Args:
          cells: The region, of the stored image.

        Returns:
          (H, W) in 0..1; 0 in the padding.
        """
        rows, columns, inside = cells
        if self.turn.transposed:
            rows, columns, inside = columns, rows, inside.T
        if self.turn.upside_down:
            rows, inside = 1 - rows[::-1], inside[::-1]
        if self.turn.mirrored:
            columns, inside = 1 - columns[::-1], inside[:, ::-1]
        by_row = _overlapped(rows, self.down, self.shape[0], inside)
        shares: npt.NDArray[np.float64] = _overlapped(
            columns, self.across, self.shape[1], by_row.T
        ).T
        return shares.astype(np.float32)


class Rectangle(NamedTuple):
    """Whole pixels: of an image's rows from `top` on `height`, of its columns likewise."""

    top: int
    left: int
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class Placement:
    """How one stored image becomes the model's input, in whole pixels.

    Turned upright, cut to `window`, resized to `resized`, and of that the model's height and width
    are kept from `kept` on.

    Attributes:
      size: Height and width as stored.
      orientation: EXIF's, 1 to 8; 1 where it is stored upright, or taken as it is stored.
      window: Of the upright image.
      resized: Height and width to which the window is resized.
      kept: Row and column of the resized window with which the model's input begins; where they
        are below 0, it begins with so much black.
      shape: Height and width of the model's input.

    >>> spec = InputSpec("image", (224, 224, 3), fit="shorter_side", crop=0.875)
    >>> placed = Placement.of(spec, height=375, width=500)
    >>> placed.resized, placed.kept
    ((256, 341), (16, 58))
    """

    size: tuple[int, int]
    orientation: int
    window: Rectangle
    resized: tuple[int, int]
    kept: tuple[int, int]
    shape: tuple[int, int]

    @classmethod
    def of(cls, spec: InputSpec, height: int, width: int, orientation: int = UPRIGHT) -> Placement:
        """Where an image of so many pixels goes.

        Args:
          spec: What the model takes, and how images are fitted to it.
          height: As stored.
          width: As stored.
          orientation: As its file has it; without effect unless the spec says to heed it.
        """
        orientation = orientation if spec.orientation == "exif" else UPRIGHT
        upright = (width, height) if TURNS[orientation].transposed else (height, width)
        shape = (spec.positions[0], spec.positions[1])
        window, resized, kept = _FITS[spec.fit](upright, shape, spec.crop)
        if spec.resize == "none":
            resized = window.height, window.width
        return cls((height, width), orientation, window, resized, kept, shape)

    @property
    def turn(self) -> Turn:
        """What makes the stored image upright."""
        return TURNS[self.orientation]

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the upright image."""
        height, width = self.size
        return (width, height) if self.turn.transposed else (height, width)

    @property
    def shrinkage(self) -> float:
        """How many of the image's pixels become one, along the side that shrinks more."""
        (height, width), window = self.resized, self.window
        return max(window.height / height, window.width / width)

    @functools.cached_property
    def pixels_held(self) -> int:
        """How many pixels the largest of the images on the way has."""
        return max(height * width for height, width in (self.size, self.resized))

    def boxes(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Boxes in the model's input.

        Args:
          boxes: (K, 4) `[ymin, xmin, ymax, xmax]` in 0..1 of the stored image.

        Returns:
          (K, 4) in 0..1 of the model's input, clipped to it; a box outside it has no area.
        """
        if self._keeps_all:
            return boxes
        ymin, xmin, ymax, xmax = np.moveaxis(boxes.astype(np.float64), -1, 0)
        if self.turn.transposed:
            ymin, xmin, ymax, xmax = xmin, ymin, xmax, ymax
        if self.turn.upside_down:
            ymin, ymax = 1 - ymax, 1 - ymin
        if self.turn.mirrored:
            xmin, xmax = 1 - xmax, 1 - xmin
        (top, height), (left, width) = self._shown
        edges = ((ymin - top) / height, (xmin - left) / width)
        far = ((ymax - top) / height, (xmax - left) / width)
        placed: npt.NDArray[np.float64] = np.clip(np.stack([*edges, *far], axis=-1), 0, 1)
        return placed.astype(np.float32)

    def mask(self, mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What of a mask of the stored image lies under each of the model's pixels.

        Args:
          mask: (h, w) of any type and size, over the whole stored image.

        Returns:
          (H, W) of the same type: the mask at each pixel's centre; 0 in the padding.
        """
        if self.turn.transposed:
            mask = mask.T
        mask = mask[:: -1 if self.turn.upside_down else 1, :: -1 if self.turn.mirrored else 1]
        placed = mask
        for axis, (begin, length) in enumerate(self._shown):
            centres = begin + (np.arange(self.shape[axis]) + 0.5) / self.shape[axis] * length
            inside = (centres >= 0) & (centres < 1)
            rows = np.clip((centres * mask.shape[axis]).astype(int), 0, mask.shape[axis] - 1)
            beyond = np.logical_not(np.expand_dims(inside, 1 - axis))
            placed = np.where(beyond, 0, np.take(placed, rows, axis=axis)).astype(mask.dtype)
        return placed

    @property
    def view(self) -> View:
        """What the input shows of the image."""
        return View(self.turn, *self._shown, self.shape)

    @functools.cached_property
    def _shown(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Begin and length of what the input shows, of rows and columns, in 0..1 upright."""
        axes = []
        for axis in (0, 1):
            begin, length = self.window[axis], self.window[axis + 2]
            step = length / self.resized[axis]
            side = self.upright[axis]
            axes.append(((begin + self.kept[axis] * step) / side, self.shape[axis] * step / side))
        return axes[0], axes[1]

    @functools.cached_property
    def changes_nothing(self) -> bool:
        """Whether the stored image is the model's input, pixel by pixel."""
        return self._keeps_all and self.size == self.shape

    @property
    def _keeps_all(self) -> bool:
        """Whether coordinates in 0..1 stay what they are."""
        return self.orientation == UPRIGHT and self._shown == ((0.0, 1.0), (0.0, 1.0))


def _overlapped(
    lines: npt.NDArray[np.float64],
    shown: tuple[float, float],
    pixels: int,
    values: npt.NDArray[Any],
) -> npt.NDArray[np.float64]:
    """Means over pixels of values that are constant between lines, (cells, K) -> (pixels, K).

    A pixel overlaps few of the cells, which alone are looked at: a mask may have millions.
    """
    begin, length = shown
    edges = begin + np.arange(pixels + 1) / pixels * length
    first = np.maximum(np.searchsorted(lines, edges[:-1], "right") - 1, 0)
    last = np.searchsorted(lines, edges[1:], "left")
    means = np.zeros((pixels, values.shape[1]))
    for pixel, (start, stop) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        bounds = np.clip(lines[start : stop + 1], edges[pixel], edges[pixel + 1])
        parts = np.diff(bounds) / (length / pixels)
        means[pixel] = parts @ values[start : start + len(parts)]
    return means


_Size = tuple[int, int]
_Fitted = tuple[Rectangle, _Size, _Size]
_BEGINNING = (0, 0)


def _stretch(size: _Size, shape: _Size, crop: float | None) -> _Fitted:
    return _central(size, crop), shape, _BEGINNING


def _crop(size: _Size, shape: _Size, crop: float | None) -> _Fitted:
    """The largest window of the shape's proportions, as Keras's `crop_to_aspect_ratio` has it."""
    height, width = size
    window = (
        max(1, min(height, width * shape[0] // shape[1])),
        max(1, min(width, height * shape[1] // shape[0])),
    )
    top, left = (height - window[0]) // 2, (width - window[1]) // 2
    inner = _central(window, crop)
    return (
        Rectangle(top + inner.top, left + inner.left, inner.height, inner.width),
        shape,
        _BEGINNING,
    )


def _pad(size: _Size, shape: _Size, crop: float | None) -> _Fitted:
    """All of it, with black on two sides: `tf.image.resize_with_pad`, as Keras's loader has it."""
    window = _central(size, crop)
    ratio = max(window.width / shape[1], window.height / shape[0])
    height, width = window.height / ratio, window.width / ratio
    resized = max(1, int(height)), max(1, int(width))
    return window, resized, (-int((shape[0] - height) / 2), -int((shape[1] - width) / 2))


def _shorter_side(size: _Size, shape: _Size, crop: float | None) -> _Fitted:
    """Resized by the side that is shorter, then cut: torchvision's Resize and CenterCrop."""
    height, width = size
    share = crop or 1.0
    least = round(shape[0] / share), round(shape[1] / share)
    if height * least[1] <= width * least[0]:  # the height is what decides
        resized = least[0], max(least[1], int(least[0] * width / height))
    else:
        resized = max(least[0], int(least[1] * height / width)), least[1]
    kept = round((resized[0] - shape[0]) / 2), round((resized[1] - shape[1]) / 2)
    return Rectangle(0, 0, height, width), resized, kept


_FITS = {"stretch": _stretch, "crop": _crop, "pad": _pad, "shorter_side": _shorter_side}


def _central(size: _Size, crop: float | None) -> Rectangle:
    """The central share of each side: rounded (half to even), at least 1 pixel."""
    height, width = size
    if crop is None:
        return Rectangle(0, 0, height, width)
    kept = max(1, round(height * crop)), max(1, round(width * crop))
    return Rectangle((height - kept[0]) // 2, (width - kept[1]) // 2, *kept)
