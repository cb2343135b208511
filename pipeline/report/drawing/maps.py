"""Maps on the page, whatever the inputs are: pictures, lines of time series, bars of a table."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from pipeline import pictures
from pipeline.plain_text import plain
from pipeline.report import wording
from pipeline.report.drawing import tensors
from pipeline.report.drawing.regions import Region, cells_of, outline, strongest, words_of

MOST_SERIES = 12
"""More are drawn as a plane of colours, a column each."""

_SHOWN_SERIES = 4  # of an example, the strongest
_BARS, _FEW_BARS = 16, 6
_LARGE, _MEDIUM = 440, 300  # pixels of a chart
_TABLE, _SERIES = 1, 2  # axes of a map

Floats = npt.NDArray[np.floating]


class Maps(Protocol):
    """How the maps of an atlas are drawn, and said in words."""

    @property
    def has_colours(self) -> bool:
        """Whether colours say how much there is, so that a legend is needed."""

    def words(self, values: Floats) -> str:
        """Where a map has most."""

    def small(self, values: Floats, *, lazy: bool = False) -> Markup:
        """A mean map in the table of classes."""

    def medium(self, values: Floats, title: str) -> Markup:
        """A mean map beside another one."""

    def large(self, values: Floats, title: str, region: Region | None) -> tuple[Markup, str]:
        """A mean map on a card, and what is outlined in words; empty where nothing is."""

    def example(self, values: Floats, title: str) -> Markup | None:
        """An example's map; None where it is a picture, which the template draws."""


def maps_of(manifest: Mapping[str, Any], features: Sequence[str]) -> Maps:
    """How an atlas's maps are drawn.

    Args:
      manifest: The atlas's.
      features: Names of a table's columns; empty where they have none.
    """
    shape = manifest["map_format"]["map_shape"]
    is_image = manifest["config"]["source"]["input"]["kind"] == "image"
    if is_image or len(shape) > _SERIES or (len(shape) == _SERIES and shape[1] > MOST_SERIES):
        return PictureMaps()
    if len(shape) == _TABLE:
        return TableMaps(shape[0], tuple(features))
    return SeriesMaps(shape[0], shape[1])


@dataclasses.dataclass(frozen=True)
class PictureMaps:
    """Maps as pictures in colours."""

    has_colours: bool = True

    def words(self, values: Floats) -> str:
        """Where a map has most."""
        return map_in_words(pictures.in_times_uniform(values))

    def small(self, values: Floats, *, lazy: bool = False) -> Markup:
        """A mean map in the table of classes."""
        plane = pictures.in_times_uniform(values)
        return _image(pictures.map_png(plane), 56, f"Mean map: {map_in_words(plane)}", lazy=lazy)

    def medium(self, values: Floats, title: str) -> Markup:
        """A mean map beside another one."""
        plane = pictures.in_times_uniform(values)
        return _image(pictures.map_png(plane), 112, f"{title}: {map_in_words(plane)}")

    def large(self, values: Floats, title: str, region: Region | None) -> tuple[Markup, str]:
        """A mean map on a card, with a place outlined, and that place in words."""
        plane = pictures.in_times_uniform(values)
        cells = strongest(plane) if region is None else cells_of(region, plane.shape)
        picture = _image(
            pictures.map_png(plane, pictures.FINE), 224, f"{title}: {map_in_words(plane)}"
        )
        framed = Markup('<div class="framed">{}{}</div>').format(
            picture, outline(cells, plane.shape)
        )
        return framed, words_of(plane, cells)

    def example(self, values: Floats, title: str) -> Markup | None:
        """None: the template draws it, over its input."""
        del values, title
        return None


@dataclasses.dataclass(frozen=True)
class SeriesMaps:
    """Maps of time series as lines.

    Attributes:
      steps: Time steps of the input.
      series: How many series it has.
    """

    steps: int
    series: int
    has_colours: bool = False

    def words(self, values: Floats) -> str:
        """Where a map has most."""
        lines = self._lines(values)
        point, series = np.unravel_index(int(lines.argmax()), lines.shape)
        step = int((point + 0.5) * self.steps / len(lines))
        times = wording.two_digits(float(lines.max()))
        return f"most saliency near time step {step:,} of series {series}, {times} times uniform"

    def small(self, values: Floats, *, lazy: bool = False) -> Markup:
        """A mean map in the table of classes: the strongest series at each step."""
        del lazy
        return _titled(tensors.small_line(self._lines(values).max(axis=1)), self.words(values))

    def medium(self, values: Floats, title: str) -> Markup:
        """A mean map beside another one."""
        return self._drawn(values, title, _MEDIUM, self.series)

    def large(self, values: Floats, title: str, region: Region | None) -> tuple[Markup, str]:
        """A mean map on a card; it has no places to outline."""
        del region
        return self._drawn(values, title, _LARGE, self.series), ""

    def example(self, values: Floats, title: str) -> Markup:
        """An example's map: its strongest series."""
        return self._drawn(values, title, _MEDIUM, _SHOWN_SERIES)

    def _drawn(self, values: Floats, title: str, width: int, most: int) -> Markup:
        lines = self._lines(values)
        strongest_first = np.argsort(-lines.sum(axis=0), kind="stable")[:most]
        shown = sorted(strongest_first.tolist())
        names = [f"series {number}" for number in shown]
        words = f"{title}: {self.words(values)}"
        return tensors.lines(
            lines[:, shown], names, steps=self.steps, width=width, height=32, words=words
        )

    def _lines(self, values: Floats) -> Floats:
        """(T, S) in times uniform."""
        return tensors.of_grid(pictures.in_times_uniform(values), self.series)


@dataclasses.dataclass(frozen=True)
class TableMaps:
    """Maps of a table's rows as bars.

    Attributes:
      features: How many there are.
      names: Of the features; empty where they have none.
    """

    features: int
    names: tuple[str, ...] = ()
    has_colours: bool = False

    def words(self, values: Floats) -> str:
        """Where a map has most."""
        heights = pictures.in_times_uniform(values).reshape(-1)
        most = int(heights.argmax())
        times = wording.two_digits(float(heights[most]))
        return f"most saliency in {self._names(len(heights))[most]}, {times} times uniform"

    def small(self, values: Floats, *, lazy: bool = False) -> Markup:
        """A mean map in the table of classes: all features in their order."""
        del lazy
        heights = pictures.in_times_uniform(values).reshape(-1)
        return _titled(tensors.small_line(heights), self.words(values))

    def medium(self, values: Floats, title: str) -> Markup:
        """A mean map beside another one."""
        return self._drawn(values, title, _MEDIUM, _FEW_BARS)

    def large(self, values: Floats, title: str, region: Region | None) -> tuple[Markup, str]:
        """A mean map on a card; it has no places to outline."""
        del region
        return self._drawn(values, title, _LARGE, _BARS), ""

    def example(self, values: Floats, title: str) -> Markup:
        """An example's map: its strongest features."""
        return self._drawn(values, title, _MEDIUM, _FEW_BARS)

    def _drawn(self, values: Floats, title: str, width: int, most: int) -> Markup:
        heights = pictures.in_times_uniform(values).reshape(-1)
        words = f"{title}: {self.words(values)}"
        return tensors.bars(heights, self._names(len(heights)), most, width, words)

    def _names(self, count: int) -> list[str]:
        """Of so many values, which of a wide table's sketch are several features each."""
        if self.names and count == len(self.names):
            return [plain(name) for name in self.names]
        if count == self.features:
            return [f"feature {number}" for number in range(count)]
        edges = [round(number * self.features / count) for number in range(count + 1)]
        return [
            f"features {low} to {max(low, high - 1)}" for low, high in itertools.pairwise(edges)
        ]


def map_in_words(plane: npt.NDArray[np.float64]) -> str:
    """Where a mean map has most, as its alternative text says.

    Args:
      plane: (H, W) in times uniform.
    """
    row, column = np.unravel_index(int(plane.argmax()), plane.shape)
    rows, columns = plane.shape
    place = wording.region_in_words(
        (row / rows, (row + 1) / rows), (column / columns, (column + 1) / columns)
    )
    return f"most saliency {place}, {wording.two_digits(float(plane.max()))} times uniform"


def _image(png: bytes, side: int, words: str, *, lazy: bool = False) -> Markup:
    hint = Markup(' loading="lazy" decoding="async"') if lazy else Markup("")
    return Markup('<img src="{}" width="{}" height="{}"{} alt="{}">').format(
        pictures.data_uri(png), side, side, hint, words
    )


def _titled(chart: Markup, words: str) -> Markup:
    return Markup('{}<span class="unseen">{}</span>').format(chart, words)
