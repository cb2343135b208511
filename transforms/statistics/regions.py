"""Regions of images that the user names, such as a solar cell's busbars or a form's stamp field.

A region is of the image as it is stored: it goes where the image's pixels go, through every turn,
crop and fit. Of each map it gives an energy, the share of the map's mass inside. A pixel that its
boundary cuts counts with the share of its area inside.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np

from transforms.formats.images.geometry import Cells, Placement
from transforms.formats.images.masks import decode_mask
from transforms.formats.source import InputSpec

Corners = tuple[float, float, float, float]
"""`[y0, x0, y1, x1]` of a rectangle, in 0..1 of the image."""


@dataclasses.dataclass(frozen=True)
class Region:
    """A region: the union of rectangles, or a mask.

    Attributes:
      name: Its column is `NAME_energy`.
      rectangles: Those it is made of, where it has no mask.
      mask: A PNG file over the whole image, of any size of its own, such as `encode_mask` makes;
        None where there is none.

    >>> Region("header", ((0, 0, 0.1, 1),)).cells.inside.tolist()
    [[True], [False]]
    """

    name: str
    rectangles: tuple[Corners, ...] = ()
    mask: bytes | None = None

    @functools.cached_property
    def cells(self) -> Cells:
        """It, as cells of the image.

        Raises:
          ValueError: The mask is no PNG that can be decoded.
        """
        if self.mask is not None:
            inside = decode_mask(self.mask)
            height, width = inside.shape
            return Cells(np.arange(height + 1) / height, np.arange(width + 1) / width, inside)
        corners = np.array(self.rectangles, np.float64)
        rows = np.unique([0.0, 1.0, *corners[:, 0], *corners[:, 2]])
        columns = np.unique([0.0, 1.0, *corners[:, 1], *corners[:, 3]])
        inside = np.zeros((len(rows) - 1, len(columns) - 1), bool)
        for top, left, bottom, right in corners:
            down = (rows[:-1] >= top) & (rows[1:] <= bottom)
            across = (columns[:-1] >= left) & (columns[1:] <= right)
            inside |= down[:, np.newaxis] & across
        return Cells(rows, columns, inside)

    @property
    def settings(self) -> Any:
        """What an atlas's bytes depend on, as JSON's types: of a mask what it shows."""
        if self.mask is None:
            return [list(corners) for corners in self.rectangles]
        inside = self.cells.inside
        digest = hashlib.sha256(repr(inside.shape).encode() + np.packbits(inside).tobytes())
        return {"mask": digest.hexdigest()}

    def area_in(self, spec: InputSpec) -> float:
        """Its share of the area of the model's input: the energy that an even map has there.

        Args:
          spec: What the model takes. The image is one of its proportions; where others are cut or
            padded, it is another share of theirs.
        """
        view = Placement.of(spec, *spec.positions).view
        return float(view.shares(self.cells).mean(dtype=np.float64))

    def __reduce__(self) -> tuple[Any, ...]:
        return Region, (self.name, self.rectangles, self.mask)  # less the cells, which are large
