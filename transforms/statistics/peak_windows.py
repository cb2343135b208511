"""The surroundings of a map's peak, so that what repeats in a class is seen wherever it is.

A peak window is a square around the place where a map has most mass: sqrt(A), pooled by area to
11 x 11, centred, and divided by its norm. Two windows' product is the correlation of what the maps
look like there, so the mean correlation of all pairs of a class follows from exact sums.

Windows are made of a map's `uint8` codes, which are 255 sqrt(A / max A) already.
"""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.codec import LEVELS

PEAK_WINDOW = "peak_window"
"""The column of windows in the maps table: bytes, null where undefined."""

WINDOW_CELLS = 11
"""A window has so many rows and columns."""

WINDOW_UNIT_BITS = 14
"""A window's cells are int16 in units of 2**-14: they are in -1..1, the ends included."""

WINDOW_BYTES = 2 * WINDOW_CELLS**2
"""Of a stored window."""

_Integers: TypeAlias = npt.NDArray[np.uint32] | npt.NDArray[np.uint64]

_MOST = np.iinfo(np.uint32).max
_SIDES = 64  # the square's side is 11 of 64 parts of the shorter side
_BOX_PART = 9  # that of the box whose mass is largest is one of nine


def has_peak_windows(map_shape: tuple[int, ...]) -> bool:
    """Whether maps of a shape have windows: those with two sides of at least 11.

    >>> has_peak_windows((224, 224)), has_peak_windows((300, 8)), has_peak_windows((784,))
    (True, False, False)
    """
    return len(map_shape) == 2 and min(map_shape) >= WINDOW_CELLS  # noqa: PLR2004 - rows, columns


def peak_windows(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """Windows of maps, in units of 2**-14.

    Args:
      codes: (N, H, W), both sides at least 11.

    Returns:
      (N, 11, 11); all 0 where a window is flat, as that of an all-zero map is: it is undefined.
    """
    side = _square_side(codes.shape[1:])
    squares = np.empty((len(codes), side, side))
    for square, code in zip(squares, codes, strict=True):
        top, left = _square_corner(code)
        square[:] = code[top : top + side, left : left + side]
    shares = _pooling(side)
    cells = shares @ squares @ shares.T
    cells -= cells.mean(axis=(1, 2), keepdims=True)
    norms = np.sqrt(np.einsum("nij,nij->n", cells, cells))
    norms[norms <= _FLAT] = np.inf
    units = cells / norms[:, np.newaxis, np.newaxis] * float(1 << WINDOW_UNIT_BITS)
    windows: npt.NDArray[np.int16] = np.rint(units).astype(np.int16)
    return windows


def windows_column(windows: npt.NDArray[np.int16]) -> pa.Array:
    """Windows as they are stored: bytes; null where a window is undefined.

    Args:
      windows: (N, 11, 11), as `peak_windows` gives them.
    """
    flat = np.ascontiguousarray(windows, "<i2")
    stored = [window.tobytes() if window.any() else None for window in flat]
    return pa.array(stored, pa.binary(WINDOW_BYTES))


def read_windows(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Stored windows, (N, 11, 11) in units of 2**-14; all 0 where they are null."""
    nothing = bytes(WINDOW_BYTES)
    data = b"".join(nothing if one is None else one for one in column.to_pylist())
    cells = np.frombuffer(data, "<i2").astype(np.int64)
    return cells.reshape(-1, WINDOW_CELLS, WINDOW_CELLS)


def peak_square(values: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Where a map's window is.

    Args:
      values: (H, W), a map as it is or as it was decoded; both sides at least 11.

    Returns:
      (H, W), True in the square.

    >>> spot = np.zeros((64, 64), np.float32)
    >>> spot[2, 60] = 1
    >>> rows, columns = np.nonzero(peak_square(spot))
    >>> (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 10, 52, 62)
    True
    """
    largest = float(values.max())
    unit = values / largest if largest > 0 else np.zeros_like(values)
    top, left = _square_corner(np.rint((LEVELS - 1) * np.sqrt(unit)).astype(np.uint8))
    side = _square_side(values.shape)
    inside = np.zeros(values.shape, bool)
    inside[top : top + side, left : left + side] = True
    return inside


def autocorrelations(windows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """What a window looks like, wherever in it that stands.

        f[y, x] = sum over v, u of w[v, u] w[(v + y) mod 11, (u + x) mod 11]

    A mark is hardly ever in the middle of its window: strides and poolings of a network move the
    peak by some pixels. The circular autocorrelation does not see by how many.

    Args:
      windows: (N, 11, 11) in units of 2**-14.

    Returns:
      (N, 11, 11) in units of 2**-14, rounded half up: exact integers on any machine.
    """
    # By the theorem of Wiener and Khinchin. The sums are whole numbers, below 2**37 whatever int16
    # holds, and a transform in float64 is less than 1e-4 off: rounded, they are exact.
    spectrum = np.fft.rfft2(windows)
    power = spectrum.real**2 + spectrum.imag**2
    products = np.rint(np.fft.irfft2(power, s=windows.shape[1:])).astype(np.int64)
    found: npt.NDArray[np.int64] = (products + (1 << WINDOW_UNIT_BITS - 1)) >> WINDOW_UNIT_BITS
    return found


def mean_correlation(n: int, total: npt.NDArray[np.int64], squares: int) -> float | None:
    """Repeat, S2: the mean correlation of two different windows of a group.

    (|sum w|^2 - sum |w|^2) / (n (n - 1)): the closed form of a U-statistic. Both sums are exact;
    after rounding, |w|^2 is not 1.

    Args:
      n: How many windows.
      total: Their sum, cell by cell, in units of 2**-14.
      squares: Sum of their squared norms, in units of 2**-28.

    Returns:
      In -1..1, but for rounding; None for fewer than two.
    """
    if n < 2:  # noqa: PLR2004 - a pair
        return None
    product: int = sum(cell * cell for cell in total.reshape(-1).tolist())
    pairs: int = n * (n - 1) << 2 * WINDOW_UNIT_BITS
    return (product - squares) / pairs


def overlap_shares(cells: int, pixels: int) -> npt.NDArray[np.float32]:
    """Which share of each pixel lies in each cell, when both divide the same side evenly.

    Returns:
      (cells, pixels) float32; columns sum to 1.
    """
    cell = np.arange(cells)[:, np.newaxis] * pixels
    pixel = np.arange(pixels)[np.newaxis] * cells
    overlap = np.minimum(cell + pixels, pixel + cells) - np.maximum(cell, pixel)
    shares: npt.NDArray[np.float64] = np.maximum(overlap, 0) / cells
    return shares.astype(np.float32)


_FLAT = 1e-6
"""A norm below it is what rounding leaves of equal codes; of unequal ones it is far above."""


def _square_side(map_shape: tuple[int, ...]) -> int:
    """11/64 of the shorter side, rounded half up, at least 11."""
    return max(WINDOW_CELLS, (2 * WINDOW_CELLS * min(map_shape) + _SIDES) // (2 * _SIDES))


def _square_corner(codes: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Top and left of the square: around the box of most mass, the first of equals, moved inside.

    Boxes lie wholly in the map: one that reached over its edge would hold no more than one moved
    inside. Sums of squared codes are exact integers. Rows are summed where they lie, one after the
    other: the boxes that begin in one and end in the next are left out afterwards.
    """
    height, width = codes.shape
    box = max(1, (2 * min(codes.shape) + _BOX_PART) // (2 * _BOX_PART))
    mass = codes.reshape(-1).astype(np.uint16)
    mass *= mass
    exact = np.uint32 if (box * (LEVELS - 1)) ** 2 <= _MOST else np.uint64
    sums = _sums(_sums(mass.astype(exact), box, width), box, 1)
    boxes = np.zeros((height - box + 1, width), exact)
    boxes.reshape(-1)[: len(sums)] = sums
    boxes[:, width - box + 1 :] = 0
    corner = divmod(int(boxes.argmax()), width)
    side = _square_side(codes.shape)
    top, left = (
        min(max(start + (box - side) // 2, 0), length - side)
        for start, length in zip(corner, codes.shape, strict=True)
    )
    return top, left


def _sums(values: _Integers, terms: int, step: int) -> _Integers:
    """Sums of so many values, a step from each to the next, from each value on: (N,) -> fewer.

    By doubling: 12 additions of whole vectors for boxes of 25 x 25, in two fifths of the time that
    they take by rows and by columns, as the rows of a transposed matrix do not lie together.
    """
    count = len(values) - step * (terms - 1)
    sums: _Integers | None = None
    width, first = 1, 0
    while True:
        if terms & width:
            part = values[first * step :][:count]
            sums = part if sums is None else sums + part
            first += width
        width *= 2
        if sums is not None and width > terms:
            return sums
        half = step * width // 2
        values = values[half:] + values[:-half]  # each the sum of twice as many


@functools.cache
def _pooling(side: int) -> npt.NDArray[np.float64]:
    return overlap_shares(WINDOW_CELLS, side).astype(np.float64)
