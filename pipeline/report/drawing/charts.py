"""Small charts as inline SVG, drawn by attributes alone: they need neither styles nor scripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from markupsafe import Markup

from pipeline.pictures import DARKEST, LOW, TICKS, legend_stops, position

_DOT_WIDTH, _DOT_HEIGHT = 132, 20
RADIUS = 4
"""Of a dot, in pixels."""
_BAR_WIDTH, _BAR_HEIGHT = 180, 16
_SPARK_WIDTH, _SPARK_HEIGHT, _SPARK_BARS = 84, 20, 28

Axis = Literal["log", "share", "none"]

_SVG = Markup(
    '<svg class="{}" width="{}" height="{}" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>'
)


@dataclasses.dataclass(frozen=True)
class Dot:
    """Where a value and the ends of its interval are on the axis that all of a column share.

    Attributes:
      value: Pixels from the left; None where there is no value.
      low: Of the interval's lower end; None where there is none.
      high: Of its upper end.
      axis: `log`, that of the maps, a quarter to 16 with a tick at 1; `share`, 0 to 1; `none` of
        what has no bounds.
    """

    value: float | None
    low: float | None
    high: float | None
    axis: Axis


NO_DOT = Dot(None, None, None, "none")
"""Of a statistic without an axis."""


def dot(value: float | None, low: float | None, high: float | None, *, logarithmic: bool) -> Dot:
    """Places a value.

    Args:
      value: In times uniform where the axis is logarithmic, else 0..1; None for none.
      low: Lower end of the interval; None for none.
      high: Upper end.
      logarithmic: Whether the axis is that of the maps.
    """

    def place(number: float | None) -> float | None:
        if number is None:
            return None
        share = position(number) if logarithmic else min(1.0, max(0.0, number))
        return round(RADIUS + share * (_DOT_WIDTH - 2 * RADIUS), 1)

    axis: Axis = "log" if logarithmic else "share"
    return Dot(place(value), place(low), place(high), axis)


def interval_dot(found: Dot) -> Markup:
    """A value as a dot with its interval as a line; without a value the axis alone, if any.

    The axis is in `axes`, which has to stand once on the page.
    """
    parts = [] if found.axis == "none" else [f'<use href="#axis-{found.axis}"/>']
    middle = _DOT_HEIGHT // 2
    if None not in (found.value, found.low, found.high):
        parts.append(f'<path d="M{found.low:g} {middle}H{found.high:g}"/>')
    if found.value is not None:
        parts.append(f'<circle cx="{found.value:g}" cy="{middle}" r="{RADIUS}"/>')
    return Markup(
        '<svg class="dot" width="{}" height="{}" stroke="currentColor" fill="currentColor" '
        'stroke-width="0" aria-hidden="true">{}</svg>'
    ).format(_DOT_WIDTH, _DOT_HEIGHT, _joined(parts))


def axes() -> Markup:
    """What all dots share, to stand once on the page."""
    middle, end = _DOT_HEIGHT // 2, _DOT_WIDTH - RADIUS
    line = f'<path d="M{RADIUS} {middle}H{end}" stroke-width="1" stroke-opacity=".16"/>'
    one = dot(1, None, None, logarithmic=True).value
    tick = f'<path d="M{one} 3V{_DOT_HEIGHT - 3}" stroke-width="1" stroke-opacity=".4"/>'
    groups = _joined([f'<g id="axis-share">{line}</g><g id="axis-log">{line}{tick}</g>'])
    return Markup(
        '<svg class="store" width="0" height="0" aria-hidden="true"><defs>{}</defs></svg>'
    ).format(groups)


def bar(share: float, low: float, high: float) -> Markup:
    """A share as a bar, with its interval as a line that ends in ticks.

    Args:
      share: 0..1, the whole width being 1.
      low: Lower end of its interval.
      high: Upper end.
    """
    width, start, stop = (
        round(1 + each * (_BAR_WIDTH - 2), 1) for each in (share, max(0.0, low), min(1.0, high))
    )
    middle, tick = _BAR_HEIGHT / 2, 4
    ends = (f"M{end} {middle - tick}v{2 * tick}" for end in (start, stop))
    line = f"M{start} {middle}H{stop}{''.join(ends)}"
    parts = [
        f'<rect width="{_BAR_WIDTH}" height="{_BAR_HEIGHT}" fill="currentColor" '
        'fill-opacity=".1"/>',
        f'<rect width="{width}" height="{_BAR_HEIGHT}" fill="currentColor" fill-opacity=".55"/>',
        f'<path class="interval" d="{line}" fill="none" stroke-width="1.5"/>',
    ]
    return _drawn("bar", _BAR_WIDTH, _BAR_HEIGHT, parts)


def sparkline(counts: Sequence[int], start: float = 0.0, stop: float = 1.0) -> Markup:
    """A histogram as a small picture, from the first to the last of its bins that holds anything.

    Args:
      counts: Of evenly spaced bins over 0..1.
      start: Where the picture begins, 0..1.
      stop: Where it ends.
    """
    total = len(counts)
    bars = [0] * _SPARK_BARS
    for number, each in enumerate(counts):
        share = ((number + 0.5) / total - start) / (stop - start)
        if each and 0 <= share < 1:
            bars[int(share * _SPARK_BARS)] += each
    top = max(bars, default=0)
    if not top:
        return Markup("")
    width = _SPARK_WIDTH / _SPARK_BARS
    path = "".join(
        f"M{number * width:g} {_SPARK_HEIGHT}v-{max(1, round(each / top * _SPARK_HEIGHT))}"
        f"h{width:g}V{_SPARK_HEIGHT}z"
        for number, each in enumerate(bars)
        if each
    )
    return _drawn(
        "spark",
        _SPARK_WIDTH,
        _SPARK_HEIGHT,
        [f'<path d="{path}" fill="currentColor" fill-opacity=".55"/>'],
    )


def legend() -> Markup:
    """The colours of the maps with what they mean."""
    width, height = 320, 36
    stops = "".join(
        f'<stop offset="{share:.3f}" stop-color="{colour}"/>' for share, colour in legend_stops()
    )
    parts = [
        f'<defs><linearGradient id="scale">{stops}</linearGradient></defs>',
        f'<rect width="{width}" height="14" fill="url(#scale)"/>',
    ]
    for value, name in TICKS:
        anchor = "start" if value == LOW else "end" if position(value) == 1 else "middle"
        parts.append(
            f'<text x="{position(value) * width:.0f}" y="31" text-anchor="{anchor}" '
            f'font-size="13" fill="currentColor">{name}\u00d7</text>'
        )
    label = "Colours of the maps: from dark blue, a quarter of an even map, to yellow, 16 times"
    return Markup(
        '<svg class="legend" width="{}" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(width, height, label, _joined(parts))


def _drawn(kind: str, width: int, height: int, parts: Sequence[str]) -> Markup:
    return _SVG.format(kind, width, height, width, height, _joined(parts))


def _joined(parts: Sequence[str]) -> Markup:
    return Markup("".join(parts))  # noqa: S704 - numbers and our own words


__all__ = [
    "DARKEST",
    "NO_DOT",
    "RADIUS",
    "Dot",
    "axes",
    "bar",
    "dot",
    "interval_dot",
    "legend",
    "sparkline",
]
