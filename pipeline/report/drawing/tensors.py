"""Saliency of time series as lines, and of tables as bars with names: inline SVG.

Heights and lengths are on the scale of the maps' colours, a quarter to 16 times an even map in
equal steps of the logarithm, with a hairline at 1: any two can be compared by eye.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from pipeline.pictures import position
from pipeline.report import wording

SMALL_WIDTH, SMALL_HEIGHT = 84, 40
"""Pixels of a chart in the table of classes."""

_POINTS = 140  # of a line at most
_LABEL = 64  # pixels for the name of a series
_AXIS = 18
_ROW = 20
_NAME_SHARE, _VALUE = 0.42, 44

Floats = npt.NDArray[np.floating]


def small_line(values: Floats) -> Markup:
    """(N,) values from left to right as one area, without words."""
    path = _area(values, 0, 0, SMALL_WIDTH, SMALL_HEIGHT)
    return _chart("line", SMALL_WIDTH, SMALL_HEIGHT, [_one(0, 0, SMALL_WIDTH, SMALL_HEIGHT), path])


def lines(
    series: Floats, names: Sequence[str], *, steps: int, width: int, height: int, words: str
) -> Markup:
    """Time series below each other.

    Args:
      series: (T, S) in times uniform.
      names: Of the S series.
      steps: How many time steps the T points stand for.
      width: Of the picture, in pixels.
      height: Of one series.
      words: What it shows, for who does not see it.
    """
    gap = 4
    parts = []
    plotted = width - _LABEL
    for number, name in enumerate(names):
        top = number * (height + gap)
        middle = top + height // 2 + 4
        parts += [
            Markup('<text x="0" y="{}">{}</text>').format(middle, name),
            _frame(_LABEL, top, plotted, height),
            _one(_LABEL, top, plotted, height),
            _area(series[:, number], _LABEL, top, plotted, height),
        ]
    bottom = len(names) * (height + gap) + _AXIS - 6
    axis = Markup(
        '<text x="{}" y="{}">0</text><text x="{}" y="{}" text-anchor="middle">time step</text>'
        '<text x="{}" y="{}" text-anchor="end">{}</text>'
    ).format(_LABEL, bottom, _LABEL + plotted // 2, bottom, width, bottom, f"{steps - 1:,}")
    return _chart("lines", width, bottom + 4, [*parts, axis], words)


def bars(values: Floats, names: Sequence[str], most: int, width: int, words: str) -> Markup:
    """Features with the largest values first.

    Args:
      values: (N,) in times uniform.
      names: Of the N features.
      most: How many are drawn; how many are left is said below them.
      width: Of the picture, in pixels.
      words: What it shows, for who does not see it.
    """
    order = np.argsort(-values, kind="stable")[:most].tolist()
    left = round(width * _NAME_SHARE)
    longest = width - left - _VALUE
    letters = left // 7
    tick = left + position(1.0) * longest
    parts = []
    for row, feature in enumerate(order):
        top = row * _ROW
        name = names[feature]
        short = name if len(name) <= letters else f"{name[: letters - 1]}…"
        length = max(1.0, position(float(values[feature])) * longest)
        parts.append(
            Markup(
                "<g><title>{}: {}{times}</title>"
                '<text x="0" y="{}">{}</text>'
                '<rect x="{}" y="{}" width="{:.1f}" height="{}" fill="currentColor" '
                'fill-opacity=".55"/><text x="{}" y="{}" text-anchor="end">{}{times}</text></g>'
            ).format(
                name,
                wording.two_digits(float(values[feature])),
                top + 14,
                short,
                left,
                top + 3,
                length,
                _ROW - 6,
                width,
                top + 14,
                wording.two_digits(float(values[feature])),
                times="\u00d7",
            )
        )
    height = len(order) * _ROW
    parts.append(
        Markup('<path d="M{:.1f} 0V{}" stroke="currentColor" stroke-opacity=".4"/>').format(
            tick, height
        )
    )
    if len(values) > len(order):
        more = f"and {len(values) - len(order):,} more, with less"
        parts.append(Markup('<text x="0" y="{}">{}</text>').format(height + 14, more))
        height += _ROW
    return _chart("bars", width, height, parts, words)


def of_grid(grid: Floats, series: int) -> Floats:
    """The series in a map that may be on the grid of a sketch, where each takes some columns.

    Args:
      grid: (T, columns).
      series: How many there are.

    Returns:
      (T, series): of a grid the column in the middle of each series' ones, which from twice as many
      columns as series on holds nothing of its neighbours.
    """
    columns = grid.shape[1]
    middles = ((np.arange(series) + 0.5) * columns / series).astype(np.int64)
    taken: Floats = grid[:, np.minimum(middles, columns - 1)]
    return taken


def _area(values: Floats, left: float, top: float, width: float, height: float) -> Markup:
    """A step per value, of many the largest of some."""
    factor = -(-len(values) // _POINTS)
    starts = np.arange(0, len(values), factor)
    heights = [position(float(each)) for each in np.maximum.reduceat(values, starts)]
    step = width / len(heights)
    bottom = top + height
    path = "".join(
        f"L{left + number * step:.1f} {bottom - share * height:.1f}h{step:.1f}"
        for number, share in enumerate(heights)
    )
    return Markup(
        '<path d="M{:.1f} {:.1f}{}V{:.1f}z" fill="currentColor" fill-opacity=".55"/>'
    ).format(left, bottom, path, bottom)


def _one(left: float, top: float, width: float, height: float) -> Markup:
    """The hairline at 1 times uniform."""
    level = top + height - position(1.0) * height
    return Markup('<path d="M{} {:.1f}h{}" stroke="currentColor" stroke-opacity=".4"/>').format(
        left, level, width
    )


def _frame(left: float, top: float, width: float, height: float) -> Markup:
    return Markup(
        '<rect x="{}" y="{}" width="{}" height="{}" fill="currentColor" fill-opacity=".06"/>'
    ).format(left, top, width, height)


def _chart(kind: str, width: int, height: int, parts: Sequence[Markup], words: str = "") -> Markup:
    role = Markup('role="img" aria-label="{}"').format(words) if words else 'aria-hidden="true"'
    return Markup(
        '<svg class="chart {}" width="{}" height="{}" viewBox="0 0 {} {}" font-size="12" {}>'
        "{}</svg>"
    ).format(kind, width, height, width, height, role, Markup("").join(parts))
