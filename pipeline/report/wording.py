"""Figures as people read them: two digits, whole percent, times uniform."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from transforms.statistics.columns import UNIFORM_SHARES

NO_VALUE = "\u2013"
_MANY = 10_000  # examples from which a tenth of a percent means something
_PERCENT = 100
_MOST_MORE = 5  # digits
_PERCENTAGES = ("accuracy", "failed_fraction", "undefined_fraction", "pointing_hit", "shortcut")
_KINDS = {"mean": "", "std": ", spread over maps"}

STATISTIC_NAMES = {
    "entropy": "evenness",
    "gini": "concentration",
    "spread": "spread",
    "centroid_y": "centre of mass, down",
    "centroid_x": "centre of mass, across",
    "peak_y": "peak, down",
    "peak_x": "peak, across",
    "border_energy": "border",
    "corner_energy": "strongest corner",
    "center_energy": "centre",
    "box_energy": "in the boxes",
    "pointing_hit": "peak in a box or the mask",
    "mask_energy": "in the mask",
    "luminance": "brightness of the input",
    "contrast": "contrast of the input",
    "saturation": "saturation of the input",
    "sharpness": "sharpness of the input",
    "input_height": "height of the input, in pixels",
    "input_width": "width of the input, in pixels",
    "positive_share": "raising the score",
    "score": "score",
    "accuracy": "accuracy",
    "drift": "drift",
    "failed_fraction": "failed records",
    "undefined_fraction": "maps without saliency",
    "shortcut": "lead lost without the shortcut",
}
"""What the columns of the tables are called on the page."""

STATISTIC_MEANINGS = {
    "entropy": "how evenly the saliency lies over the whole input: 1 is perfectly even",
    "gini": "how unequal the saliency of single places is: 0 is perfectly even",
    "spread": "how far the saliency lies from its own centre",
    "border_energy": "saliency in a frame of an eighth of each side, in times what an even map has",
    "corner_energy": "saliency in whichever corner has most, in times what an even map has there",
    "center_energy": "saliency in the central half of the sides, in times what an even map has",
    "box_energy": "the share of the saliency in the examples' boxes",
    "pointing_hit": "the share of maps whose peak is in a box, or in the mask",
    "mask_energy": "the share of the saliency in the examples' masks",
    "luminance": "how bright the images are that the model is shown: 0 is black, 1 is white",
    "contrast": "how far pixels are from their mean brightness: 1/2 is half black, half white",
    "saturation": "how colourful the images are: 0 is grey",
    "sharpness": "how much neighbouring pixels differ: a blur makes it smaller",
    "positive_share": "the share of the saliency that raises the score; the rest lowers it",
    "shortcut": "how much of its lead over other classes a typical image of the class loses with "
    "the shortcut taken away; above 100%, another class is then ahead",
}


def statistic_name(name: str) -> str:
    """A statistic as the page calls it; a region's by the name that the user gave it.

    >>> statistic_name("corner_energy_mean"), statistic_name("busbars_energy_q95")
    ('strongest corner', 'busbars, 95th percentile')
    """
    stem, _, kind = name.rpartition("_")
    if kind in _KINDS:
        return statistic_name(stem) + _KINDS[kind]
    if kind.startswith("q") and kind[1:].isdecimal():
        return f"{statistic_name(stem)}, {int(kind[1:])}th percentile"
    return STATISTIC_NAMES.get(name, name.removesuffix("_energy").replace("_", " "))


def statistic_meaning(name: str, regions: Mapping[str, float]) -> str:
    """What a statistic says, in words; empty where there is nothing to say.

    Args:
      name: The statistic, without `_mean`.
      regions: Shares of the area of those that the user named.

    >>> statistic_meaning("busbars_energy", {"busbars": 0.125})
    'the share of the saliency in the region busbars: an even map has 0.12 there'
    """
    region = name.removesuffix("_energy")
    if region in regions:
        even = two_digits(regions[region])
        return f"the share of the saliency in the region {region}: an even map has {even} there"
    return STATISTIC_MEANINGS.get(name, "")


def two_digits(value: float | None, more: int = 0) -> str:
    """A number with two significant digits, or some more; and with all that are before the point.

    >>> two_digits(0.31415), two_digits(9.449), two_digits(1234.5), two_digits(0.30)
    ('0.31', '9.4', '1,234', '0.30')
    """
    if value is None or not math.isfinite(value):
        return NO_VALUE
    if value == 0:
        return "0"
    rounded = float(f"{value:.{1 + more}e}")
    decimals = max(0, 1 + more - math.floor(math.log10(abs(rounded))))
    return f"{value:,.{decimals}f}"


def percent(share: float | None, examples: int = 0, more: int = 0) -> str:
    """A share of so many examples: without decimals below 10,000 of them, unless more are asked.

    >>> percent(0.98765, 500), percent(0.98765, 20_000), percent(-0.001)
    ('99%', '98.8%', '0%')
    """
    if share is None or not math.isfinite(share):
        return NO_VALUE
    decimals = more + (0 if examples < _MANY else 1)
    return f"{round(_PERCENT * share, decimals) + 0.0:.{decimals}f}%"  # + 0.0: no minus before 0


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun.

    >>> count(1, "class", "classes"), count(2100, "image")
    ('1 class', '2,100 images')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def times_uniform(name: str, value: float | None) -> float | None:
    """A mean energy as a multiple of an even map's; None for what is no energy of a known region.

    Args:
      name: The statistic, without `_mean`.
      value: Its share, 0..1.
    """
    share = UNIFORM_SHARES.get(name)
    return None if share is None or value is None else value / share


def figure(name: str, value: float | None, more: int = 0) -> str:
    """A statistic's value with its unit.

    Args:
      name: The statistic, with or without `_mean` or a quantile.
      value: Of it.
      more: How many more digits than usual.
    """
    stem = name
    for suffix in ("_mean", "_q05", "_q25", "_q50", "_q75", "_q95"):
        stem = stem.removesuffix(suffix)
    multiple = times_uniform(stem, value)
    if multiple is not None:
        return f"{two_digits(multiple, more)}\u00d7"
    if stem in _PERCENTAGES:
        return percent(value, more=more)
    return two_digits(value, more)


def digits_to_tell_apart(name: str, values: Iterable[float | None]) -> int:
    """How many more digits than usual it takes so that different figures read differently.

    Args:
      name: The statistic.
      values: Its value and its thresholds; 0 is one of them, as no threshold may read as nothing.

    >>> digits_to_tell_apart("gini_mean", [0.5512, 0.55]), digits_to_tell_apart("gini", [0.4, 0.55])
    (1, 0)
    >>> digits_to_tell_apart("failed_fraction", [0.0104, 0.01])
    2
    """
    known = {value for value in values if value is not None} | {0.0}
    for more in range(_MOST_MORE):
        if len({figure(name, value, more) for value in known}) == len(known):
            return more
    return _MOST_MORE


def region_in_words(rows: tuple[float, float], columns: tuple[float, float]) -> str:
    """Where a rectangle is, in a person's words.

    Args:
      rows: Its top and bottom, 0..1.
      columns: Its left and right, 0..1.

    >>> region_in_words((0.0, 0.2), (0.8, 1.0)), region_in_words((0.4, 0.6), (0.4, 0.7))
    ('top right corner', 'middle')
    >>> region_in_words((0.1, 0.3), (0.0, 0.9)), region_in_words((0.0, 0.3), (0.3, 0.6))
    ('top', 'top edge')
    """
    down = _third(sum(rows) / 2, "top", "bottom")
    across = _third(sum(columns) / 2, "left", "right")
    if down and across:
        return f"{down} {across} corner"
    if down:
        return f"{down} edge" if _touches(rows) else down
    if across:
        return f"{across} edge" if _touches(columns) else across
    return "middle"


def _third(place: float, low: str, high: str) -> str:
    return low if place < 1 / 3 else high if place > 2 / 3 else ""


def _touches(ends: tuple[float, float]) -> bool:
    return min(ends) <= 0 or max(ends) >= 1
