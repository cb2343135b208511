"""Maps as small pictures: cividis on a fixed scale, so that any two can be compared by eye.

The scale is in times uniform, where 1 is what an even map has everywhere: a quarter, 1, 4, 16, in
equal steps of the logarithm. Pictures are PNGs with a palette. The palette is transparent where
little is, in such colours that over the darkest one a picture is cividis exactly: so one PNG serves
as a map on its own and as an overlay.
"""

from __future__ import annotations

import base64
import functools
import io
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

LOW, HIGH = 0.25, 16.0
TICKS = ((0.25, "¼"), (1.0, "1"), (4.0, "4"), (16.0, "16"))
DARKEST = "#00204d"
COARSE, FINE = 16, 64
"""How many levels: a picture of 16 takes half of the space of one of 64."""

_LOOKED_AT = 224  # pixels of a map that is not part of a page
_GAP = 4
_INPUT_SHARE = 0.6  # of an input's contrast below a map

_CIVIDIS = np.array(
    [
        [0, 32, 77], [0, 42, 106], [18, 53, 112], [45, 66, 109], [64, 79, 108], [81, 91, 110],
        [97, 104, 113], [112, 116, 118], [127, 130, 120], [144, 144, 118], [162, 158, 115],
        [180, 173, 109], [199, 188, 101], [218, 204, 90], [237, 221, 73], [254, 232, 56],
    ],
    np.float64,
)  # fmt: skip
"""Matplotlib's cividis (Nuñez, Anderton, Renslow 2018) at sixteen even steps."""

_DIVERGING = np.array(
    [[33, 84, 163], [120, 160, 210], [247, 247, 243], [226, 160, 96], [166, 84, 12]], np.float64
)
"""Blue through white to orange: told apart by people who see no red or no green."""

Floats = npt.NDArray[np.floating]


def position(multiple: float) -> float:
    """Where a multiple of uniform is on the scale, 0..1.

    >>> position(0.25), position(2.0), position(100.0)
    (0.0, 0.5, 1.0)
    """
    if not multiple > LOW:
        return 0.0
    return min(1.0, math.log(multiple / LOW) / math.log(HIGH / LOW))


def map_png(multiples: Floats, levels: int = COARSE) -> bytes:
    """A map as a PNG.

    Args:
      multiples: (H, W) in times uniform.
      levels: How many colours.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.log(multiples / LOW) / math.log(HIGH / LOW)
    places = np.nan_to_num(places, nan=0.0, neginf=0.0, posinf=1.0)
    codes = np.rint(np.clip(places, 0, 1) * (levels - 1)).astype(np.uint8)
    colours, alphas = _palette(levels)
    return _palette_png(codes, colours, levels, alphas)


def map_over_png(multiples: Floats, thumbnail: bytes | None) -> bytes:
    """A map of a size to look at; beside its input, and over it, where there is a picture of it.

    Args:
      multiples: (H, W) in times uniform; small maps are magnified by a whole number.
      thumbnail: A JPEG of the input, or None.
    """
    factor = max(1, _LOOKED_AT // max(multiples.shape))
    size = (multiples.shape[1] * factor, multiples.shape[0] * factor)
    with Image.open(io.BytesIO(map_png(multiples, FINE))) as small:
        over = small.convert("RGBA").resize(size, Image.Resampling.NEAREST)
    panels = [Image.alpha_composite(Image.new("RGBA", size, DARKEST), over)]
    if thumbnail is not None:
        with Image.open(io.BytesIO(thumbnail)) as stored:
            shown = stored.convert("RGBA").resize(size, Image.Resampling.NEAREST)
        grey = shown.convert("L").convert("RGBA")
        faint = Image.blend(Image.new("RGBA", size, "white"), grey, _INPUT_SHARE)
        panels = [shown, Image.alpha_composite(faint, over), *panels]
    whole = Image.new("RGB", (len(panels) * (size[0] + _GAP) - _GAP, size[1]), "white")
    for number, panel in enumerate(panels):
        whole.paste(panel.convert("RGB"), (number * (size[0] + _GAP), 0))
    sink = io.BytesIO()
    whole.save(sink, format="PNG")
    return sink.getvalue()


def difference_png(differences: Floats, levels: int = COARSE) -> bytes:
    """A difference of two maps, blue where there is less and orange where there is more.

    Args:
      differences: (H, W), log2 of the ratio; four times less to four times more.
      levels: How many colours, an even number and one.
    """
    odd = levels - 1
    places = (np.clip(np.nan_to_num(differences), -2, 2) + 2) / 4
    codes = np.rint(places * (odd - 1)).astype(np.uint8)
    steps = np.linspace(0, 1, odd)
    known = np.linspace(0, 1, len(_DIVERGING))
    colours = np.stack([np.interp(steps, known, channel) for channel in _DIVERGING.T], axis=-1)
    return _palette_png(codes, np.rint(colours).astype(np.uint8), odd, None)


def log_ratio(plane: Floats, other: Floats) -> npt.NDArray[np.float64]:
    """log2 of how many times as much one map has, both in times uniform.

    Both are raised to the scale's lower end, below which all is one colour: what is hardly there
    differs by large factors that mean nothing.
    """
    ratio: npt.NDArray[np.float64] = np.log2(np.maximum(plane, LOW) / np.maximum(other, LOW))
    return ratio


def data_uri(data: bytes) -> str:
    """A PNG or JPEG as an address that needs no request."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def as_plane(values: Floats) -> npt.NDArray[np.float64]:
    """Any map as one picture: channels by their maximum, a row of numbers as one of pixels."""
    plane = np.asarray(values, np.float64)
    if plane.ndim == 1:
        return plane[np.newaxis]
    return plane.max(axis=-1) if plane.ndim == 3 else plane  # noqa: PLR2004 - with channels


def in_times_uniform(values: Floats) -> npt.NDArray[np.float64]:
    """A map of which 1 is the mean, of a map with a sign by magnitude; zeros where it has none.

    >>> in_times_uniform(np.array([[0.0, -3.0]]))
    array([[0., 2.]])
    """
    plane = as_plane(np.abs(values))
    mean = plane.mean() if plane.size else 0.0
    return plane / mean if np.isfinite(mean) and mean > 0 else np.zeros_like(plane)


def pooled(plane: npt.NDArray[np.float64], longest: int) -> npt.NDArray[np.float64]:
    """A map whose longer side is at most so long, each pixel the mean of whole ones."""
    factor = -(-max(plane.shape) // longest)
    if factor == 1:
        return plane
    rows, columns = (np.arange(0, size, factor) for size in plane.shape)
    sums = np.add.reduceat(np.add.reduceat(plane, rows, axis=0), columns, axis=1)
    counts = [
        np.diff([*starts, size]) for starts, size in zip((rows, columns), plane.shape, strict=True)
    ]
    pooled_plane: npt.NDArray[np.float64] = sums / np.outer(*counts)
    return pooled_plane


def small_jpeg(jpeg: bytes, longest: int, quality: int = 70) -> bytes:
    """A thumbnail made smaller still; itself where it is small enough."""
    with Image.open(io.BytesIO(jpeg)) as image:
        factor = -(-max(image.size) // longest)
        if factor == 1:
            return jpeg
        sink = io.BytesIO()
        image.reduce(factor).save(sink, format="JPEG", quality=quality, optimize=True)
        return sink.getvalue()


@functools.cache
def _palette(levels: int) -> tuple[npt.NDArray[np.uint8], bytes]:
    steps = np.linspace(0, 1, levels)
    known = np.linspace(0, 1, len(_CIVIDIS))
    wanted = np.stack([np.interp(steps, known, channel) for channel in _CIVIDIS.T], axis=-1)
    alphas = steps[:, np.newaxis]
    # over = darkest * (1 - alpha) + colour * alpha
    with np.errstate(divide="ignore", invalid="ignore"):
        colours = (wanted - _CIVIDIS[0] * (1 - alphas)) / alphas
    colours = np.nan_to_num(np.clip(colours, 0, 255))
    return np.rint(colours).astype(np.uint8), bytes(np.rint(255 * alphas[:, 0]).astype(np.uint8))


def _palette_png(
    codes: npt.NDArray[np.uint8], colours: npt.NDArray[np.uint8], levels: int, alphas: bytes | None
) -> bytes:
    image = Image.fromarray(codes, mode="P")
    image.putpalette(colours[:levels].tobytes(), "RGB")
    sink = io.BytesIO()
    bits = {"bits": 4} if levels <= COARSE else {}
    transparency = {} if alphas is None else {"transparency": alphas}
    image.save(sink, format="PNG", optimize=True, **bits, **transparency)
    return sink.getvalue()


def legend_stops() -> Sequence[tuple[float, str]]:
    """The scale's colours: share of its length, colour."""
    return [
        (step / (len(_CIVIDIS) - 1), "#{:02x}{:02x}{:02x}".format(*map(int, colour)))
        for step, colour in enumerate(_CIVIDIS)
    ]
