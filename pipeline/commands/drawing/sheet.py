"""A contact sheet: several inputs, each with its map and a line of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pipeline.commands.drawing.maps import Pixels

_COLUMNS = 4
_GAP = 10
_CAPTION = 16
_WIDTH = 420  # of a tile; larger ones are made smaller
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def contact_sheet(tiles: Sequence[tuple[Pixels, str]]) -> Pixels:
    """Puts pictures into rows of four, each with its caption below.

    Args:
      tiles: (picture, caption), at least one; pictures may have different sizes.

    Returns:
      (height, width, 3) uint8.
    """
    images = [_fitted(picture) for picture, _ in tiles]
    width = max(image.width for image in images) + _GAP
    height = max(image.height for image in images) + _CAPTION + _GAP
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _WHITE)
    pen = ImageDraw.Draw(sheet)
    for number, (image, (_, caption)) in enumerate(zip(images, tiles, strict=True)):
        left = _GAP + number % columns * width
        top = _GAP + number // columns * height
        sheet.paste(image, (left, top))
        pen.text((left, top + image.height + 2), caption, fill=_BLACK)
    return np.asarray(sheet)


def _fitted(picture: Pixels) -> Image.Image:
    image = Image.fromarray(picture)
    if image.width <= _WIDTH:
        return image
    height = max(1, round(image.height * _WIDTH / image.width))
    return image.resize((_WIDTH, height), Image.Resampling.LANCZOS)
