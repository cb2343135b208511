"""Maps of time series, as lines over their saliency, and of tables, as bars with names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from pipeline.commands.drawing.maps import Pixels, brightness_of
from pipeline.plain_text import plain

MOST_SERIES = 12
"""More are drawn as a plane of colours, a column each."""

_MOST_BARS = 24
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 6, 30  # pixels around what is plotted
_PANEL_HEIGHT = 110
_ROW_HEIGHT = 18
_NAME_SHARE, _VALUE_WIDTH = 0.3, 80
_LINE_HEIGHT = 11
_TICKS = 5
_WHITE, _BLACK, _GREY = (255, 255, 255), (0, 0, 0), (110, 110, 110)
_WARM, _COLD = (255, 112, 40), (48, 116, 200)  # What raises the score, and what lowers it.


def draw_series(
    values: npt.NDArray[np.float32], inputs: npt.NDArray[np.float32] | None, width: int = 900
) -> Pixels:
    """Draws each series as a line over a ground that is the warmer the larger its saliency.

    Args:
      values: (T, W) saliency, W at most `MOST_SERIES`; what lowers the score has a blue ground.
      inputs: (T, W) as they are stored; None draws the ground alone.
      width: Of the picture, in pixels.

    Returns:
      (height, width, 3) uint8: a panel per series with its range, and the axis of time below.
    """
    steps, series = values.shape
    plotted = width - _LEFT - _RIGHT
    image = Image.new("RGB", (width, series * (_PANEL_HEIGHT + _TOP) + _BOTTOM), _WHITE)
    pen = ImageDraw.Draw(image)
    brightness = brightness_of(np.abs(values.astype(np.float64)))
    at = np.minimum(np.arange(plotted) * steps // plotted, steps - 1)
    for number in range(series):
        top = number * (_PANEL_HEIGHT + _TOP) + _TOP
        line = _mixed(brightness[at, number], values[at, number] < 0)
        ground = line[np.newaxis].repeat(_PANEL_HEIGHT, 0)
        image.paste(Image.fromarray(ground), (_LEFT, top))
        pen.rectangle((_LEFT, top, _LEFT + plotted - 1, top + _PANEL_HEIGHT - 1), outline=_GREY)
        pen.text((4, top + _PANEL_HEIGHT // 2 - _LINE_HEIGHT // 2), f"series {number}", fill=_GREY)
        if inputs is not None:
            _draw_line(pen, inputs[:, number], top, plotted)
    bottom = series * (_PANEL_HEIGHT + _TOP)
    for tick in range(_TICKS):
        step = round(tick * (steps - 1) / (_TICKS - 1))
        x = _LEFT + round((step + 0.5) * plotted / steps)
        pen.line((x, bottom, x, bottom + 3), fill=_BLACK)
        pen.text((x, bottom + 4), str(step), fill=_BLACK, anchor="ma")
    pen.text((_LEFT, bottom + 4 + _LINE_HEIGHT), "time step", fill=_GREY)
    return np.asarray(image)


def _draw_line(pen: ImageDraw.ImageDraw, line: npt.NDArray[Any], top: int, plotted: int) -> None:
    """One series in its panel, and its smallest and largest value beside it."""
    low, high = float(line.min()), float(line.max())
    height = (line - low) / (high - low) if high > low else np.full(len(line), 0.5)
    places = _LEFT + (np.arange(len(line)) + 0.5) * plotted / len(line)
    levels = top + _PANEL_HEIGHT - 4 - height * (_PANEL_HEIGHT - 8)
    points = list(zip(places.tolist(), levels.tolist(), strict=True))
    if len(points) > 1:
        pen.line(points, fill=_BLACK, width=1)
    else:
        pen.ellipse(
            (points[0][0] - 2, points[0][1] - 2, points[0][0] + 2, points[0][1] + 2), _BLACK
        )
    pen.text((_LEFT - 4, top), f"{high:.3g}", fill=_BLACK, anchor="ra")
    pen.text((_LEFT - 4, top + _PANEL_HEIGHT - 2), f"{low:.3g}", fill=_BLACK, anchor="rd")


def draw_table(
    values: npt.NDArray[np.float32],
    inputs: npt.NDArray[np.float32] | None,
    width: int = 640,
    names: Sequence[str] = (),
) -> Pixels:
    """Draws a bar per feature, the largest saliency first, with its number and its value.

    What lowers the score, in maps with a sign, is blue.

    Args:
      values: (W,) saliency.
      inputs: (W,) as they are stored; None leaves the values out.
      width: Of the picture, in pixels.
      names: Of the W features; without them they have numbers.

    Returns:
      (height, width, 3) uint8; of many features the first 24, and a line that says so.
    """
    magnitudes = np.abs(values)
    order = np.argsort(-magnitudes, kind="stable")[:_MOST_BARS]
    rows = len(order) + 2
    image = Image.new("RGB", (width, rows * _ROW_HEIGHT), _WHITE)
    pen = ImageDraw.Draw(image)
    left = round(width * _NAME_SHARE)
    longest = width - left - _VALUE_WIDTH
    largest = float(magnitudes.max()) or 1.0
    pen.text((left - 6, 3), "feature", fill=_GREY, anchor="ra")
    pen.text((left, 3), f"saliency, 0 to {float(magnitudes.max()):.3g}", fill=_GREY)
    if inputs is not None:
        pen.text((width - 6, 3), "value", fill=_GREY, anchor="ra")
    for row, feature in enumerate(order.tolist(), start=1):
        top = row * _ROW_HEIGHT
        name = _fitting(names[feature], left - 12) if names else f"feature {feature}"
        pen.text((left - 6, top + 3), name, fill=_BLACK, anchor="ra")
        length = round(float(magnitudes[feature]) / largest * longest)
        fill = _COLD if values[feature] < 0 else _WARM
        pen.rectangle((left, top + 2, left + length, top + _ROW_HEIGHT - 4), fill=fill)
        if inputs is not None:
            value = f"{float(inputs[feature]):.4g}"
            pen.text((width - 6, top + 3), value, fill=_BLACK, anchor="ra")
    pen.line((left, _ROW_HEIGHT, left, (rows - 1) * _ROW_HEIGHT), fill=_GREY)
    if len(values) > len(order):
        more = f"and {len(values) - len(order)} more, with less saliency"
        pen.text((left, (rows - 1) * _ROW_HEIGHT + 3), more, fill=_GREY)
    return np.asarray(image)


def _fitting(name: str, width: int) -> str:
    """A name as it can be drawn, cut where it is wider than so many pixels."""
    font = ImageFont.load_default()
    shown = plain(name).encode("latin-1", "replace").decode("latin-1")
    if font.getlength(shown) <= width:
        return shown
    while shown and font.getlength(f"{shown}...") > width:
        shown = shown[:-1]
    return f"{shown}..."


def _mixed(brightness: npt.NDArray[np.float64], negative: npt.NDArray[np.bool_]) -> Pixels:
    """White where there is no saliency, warm or cold where there is most, (..., 3) uint8."""
    share = brightness[..., np.newaxis].repeat(3, axis=-1)
    colour = np.where(negative[..., np.newaxis], _COLD, _WARM)
    mixed: Pixels = np.rint((1 - share) * _WHITE + share * colour).astype(np.uint8)
    return mixed
