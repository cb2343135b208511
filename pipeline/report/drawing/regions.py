"""Places in a map: which cells, their outline, where they are in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from pipeline.report import wording

Floats = npt.NDArray[np.floating]
Cells = Sequence[tuple[int, int]]
"""By row and column."""

Region = tuple[float, float, float, float]
"""`(y0, x0, y1, x1)`: top, left, bottom and right, 0..1."""


def cells_of(region: Region, shape: Sequence[int]) -> list[tuple[int, int]]:
    """The cells whose middles are in a place; at least the one in the middle of it."""
    inside = [
        [cell for cell in range(size) if low <= (cell + 0.5) / size < high]
        or [min(size - 1, int((low + high) / 2 * size))]
        for size, low, high in zip(shape, region[:2], region[2:], strict=True)
    ]
    return [(row, column) for row in inside[0] for column in inside[1]]


def strongest(plane: Floats) -> list[tuple[int, int]]:
    """Cells connected to the maximum that have at least half of it, by row and column."""
    rows, columns = plane.shape
    floor = float(plane.max()) / 2
    start = np.unravel_index(int(plane.argmax()), plane.shape)
    found = {(int(start[0]), int(start[1]))}
    waiting = list(found)
    while waiting:
        row, column = waiting.pop()
        for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= near[0] < rows and 0 <= near[1] < columns
            if inside and near not in found and plane[near] >= floor:
                found.add(near)
                waiting.append(near)
    return sorted(found)


def outline(cells: Cells, shape: tuple[int, int]) -> Markup:
    """The outline of a region of cells, to lie over a map.

    Args:
      cells: (row, column) of each.
      shape: Rows and columns of the grid.
    """
    inside = {*cells}
    edges = []
    for row, column in sorted(inside):
        for down, across, path in (
            (-1, 0, f"M{column} {row}h1"),
            (1, 0, f"M{column} {row + 1}h1"),
            (0, -1, f"M{column} {row}v1"),
            (0, 1, f"M{column + 1} {row}v1"),
        ):
            if (row + down, column + across) not in inside:
                edges.append(path)
    return Markup(
        '<svg class="outline" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">'
        '<g fill="none">'
        '<path d="{}" stroke="#000" stroke-width="5" vector-effect="non-scaling-stroke"/>'
        '<path d="{}" stroke="#fff" stroke-width="2" vector-effect="non-scaling-stroke"/></g>'
        "</svg>"
    ).format(shape[1], shape[0], "".join(edges), "".join(edges))


def words_of(plane: Floats, cells: Cells) -> str:
    """Where cells are, how much of the area they take and how much of the saliency they have."""
    rows, columns = plane.shape
    down = [row for row, _ in cells]
    across = [column for _, column in cells]
    place = wording.region_in_words(
        (min(down) / rows, (max(down) + 1) / rows),
        (min(across) / columns, (max(across) + 1) / columns),
    )
    area = len(cells) / plane.size
    mass = float(sum(plane[cell] for cell in cells) / plane.sum())
    return f"{place}: {wording.percent(area)} of the area, {wording.percent(mass)} of the saliency"
