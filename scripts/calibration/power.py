"""A picture: how often a mark is found against the share of the class's images that have it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from calibration.outcomes import CONFIDENCE, Outcome, is_found
from pipeline.audit.estimation.intervals import share_interval

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 30, 50
_SHARE = re.compile(r"mark, (\d+) %")

CURVES: tuple[tuple[str, str, Callable[[Outcome], bool]], ...] = (
    ("candidate", "#2a78b8", is_found),
    ("used", "#c2452d", lambda outcome: is_found(outcome, used=True)),
)


def draw(outcomes: Sequence[Outcome]) -> str:
    """An SVG of the models that learned a mark that is always in one place.

    Shares that no model learned a mark from have no point.
    """
    by_share: dict[int, list[Outcome]] = {}
    for each in outcomes:
        named = _SHARE.fullmatch(each.kind)
        if named and each.counts:
            by_share.setdefault(int(named[1]), []).append(each)
    parts = [*_axes()]
    for number, (name, colour, holds) in enumerate(CURVES):
        points = []
        for share, models in sorted(by_share.items()):
            count = sum(map(holds, models))
            ends = share_interval(np.array([count]), np.array([len(models)]), CONFIDENCE)
            x = _x(share) + 3 * (2 * number - 1)
            points.append((x, _y(count / len(models))))
            parts.append(
                f'<line x1="{x}" x2="{x}" y1="{_y(ends.low[0])}" y2="{_y(ends.high[0])}" '
                f'stroke="{colour}"/><circle cx="{x}" cy="{points[-1][1]}" r="4" fill="{colour}"/>'
            )
        line = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
        parts.append(
            f'<text x="{LEFT + 10 + 90 * number}" y="{TOP - 10}" fill="{colour}">{name}</text>'
        )
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    style = 'font-family="sans-serif" font-size="13"'
    body = "\n".join(parts)
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{ground}\n{body}\n</svg>\n'


def _x(percent: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * percent / 105, 1)


def _y(share: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - float(share)), 1)


def _axes() -> list[str]:
    found = []
    for percent in (0, 50, 100):
        y = _y(percent / 100)
        found.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        found.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{percent} %</text>')
    for percent in (10, 30, 50, 70, 100):
        found.append(
            f'<text x="{_x(percent)}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{percent} %'
            "</text>"
        )
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    found.append(
        f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">of the class\'s images have the '
        "mark; models that learned it</text>"
    )
    return found
