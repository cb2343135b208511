"""What encoded images say of themselves, and whether that is acceptable, before one is decoded."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.errors import DataFault
from transforms.formats.images import fitting
from transforms.formats.images.files.exif import orientation
from transforms.formats.images.files.headers import (
    ImageHeader,
    ImageKind,
    first_frame,
    jpeg_is_complete,
    jpeg_scans,
    read_header,
)
from transforms.formats.images.geometry import UPRIGHT, Placement
from transforms.formats.source import InputSpec

MAX_SCANS = 32
"""A JPEG with more is refused: each takes a pass over all pixels. libjpeg's own script has 10."""

_PLAIN_COMPONENTS = (1, 3)
_MOST_PLACEMENTS = 256  # kept: many data sets have images of a few sizes
_PILLOW_KINDS: tuple[ImageKind, ...] = ("WebP", "TIFF")  # TensorFlow knows the first since 2.19


@dataclasses.dataclass(frozen=True)
class ClaimedImages:
    """Encoded images and what is known of each.

    Attributes:
      encoded: The images, a GIF's first frame alone.
      faults: What is wrong with each; None where nothing is.
      warnings: What libjpeg says of a JPEG that it decodes all the same; None where it says
        nothing.
      sixteen_bit: Whether each has 16 bits a channel.
      fits: Whether each has the model's height and width, so that nothing is to be done but decode.
      pixels: How many each takes while it is decoded.
      sizes: (N, 2) height and width as stored; 0 where they are not known.
      components: Of each JPEG, as `ImageHeader` has them; 0 of all else.
      is_plain: Whether each is a JPEG of which every decoder makes the same pixels: grey or colour,
        and complete.
      by_pillow: Whether each is of a kind that Pillow decodes.
      claims: What each claims, and where its pixels go, of those that are accepted.
    """

    encoded: list[bytes]
    faults: list[DataFault | None]
    warnings: list[str | None]
    sixteen_bit: npt.NDArray[np.bool_]
    fits: npt.NDArray[np.bool_]
    pixels: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int32]
    components: npt.NDArray[np.int32]
    is_plain: npt.NDArray[np.bool_]
    by_pillow: npt.NDArray[np.bool_]
    claims: dict[int, tuple[ImageHeader, Placement]]

    @property
    def accepted(self) -> npt.NDArray[np.bool_]:
        """Whether nothing is wrong with each, as far as is known."""
        return np.array([fault is None for fault in self.faults], bool)

    def steps_of(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
        """(K, STEPS) of the placements of K images that are accepted.

        Args:
          rows: (K,) which of them.
        """
        placements = (self.claims[row][1] for row in rows.tolist())
        return np.array([fitting.steps_of(each) for each in placements], np.int32)

    @classmethod
    def of(cls, inputs: Sequence[bytes]) -> ClaimedImages:
        """Of which nothing is known yet."""
        count = len(inputs)
        return cls(
            encoded=list(inputs),
            faults=[None] * count,
            warnings=[None] * count,
            sixteen_bit=np.zeros(count, bool),
            fits=np.zeros(count, bool),
            pixels=np.zeros(count, np.int64),
            sizes=np.zeros((count, 2), np.int32),
            components=np.zeros(count, np.int32),
            is_plain=np.zeros(count, bool),
            by_pillow=np.zeros(count, bool),
            claims={},
        )


class ImageClaims:
    """Reads headers, and refuses what claims too much.

    Args:
      spec: What the model takes.
    """

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        place = functools.partial(Placement.of, spec)
        self._place = functools.lru_cache(_MOST_PLACEMENTS)(place)

    def of_batch(self, inputs: Sequence[bytes]) -> ClaimedImages:
        """What encoded images claim, and what is wrong with those that claim too much."""
        batch = ClaimedImages.of(inputs)
        for row, data in enumerate(inputs):
            try:
                header, placement = self.of_image(data)
                if header.kind == "GIF":
                    batch.encoded[row] = first_frame(data)
            except DataFault as fault:
                batch.faults[row] = fault
                continue
            except ValueError as error:
                batch.faults[row] = self.undecodable(data, str(error))
                continue
            batch.claims[row] = header, placement
            batch.sixteen_bit[row] = header.sixteen_bit
            batch.pixels[row] = max(placement.pixels_held, header.tile_pixels)
            batch.sizes[row] = header.height, header.width
            batch.components[row] = header.components
            batch.is_plain[row] = header.components in _PLAIN_COMPONENTS and (
                not header.progressive or jpeg_is_complete(data)
            )
            batch.fits[row] = not header.sixteen_bit and placement.changes_nothing
            batch.by_pillow[row] = header.kind in _PILLOW_KINDS
        return batch

    def of_image(self, data: bytes) -> tuple[ImageHeader, Placement]:
        """What an image claims to be and where its pixels go, both found to be acceptable.

        Raises:
          DataFault: It claims too much, or would have to be resized where that is switched off.
          ValueError: It is no image that is known here, or one without pixels.
        """
        header = read_header(data)
        turned = self._spec.orientation == "exif"
        up = orientation(data, header.kind) if turned else UPRIGHT
        if not header.height * header.width:
            raise ValueError(f"it declares {header.height} x {header.width} pixels")
        self._check_pixels(header, header.height * header.width)
        self._check_pixels(header, header.tile_pixels, " in tiles of more")
        placement = self._place(header.height, header.width, up)
        self._check_pixels(header, placement.pixels_held, " that source.input.fit makes more of")
        wrong = self.wrong_shape(placement)
        if wrong is not None:
            raise wrong
        if header.kind == "JPEG":
            _check_scans(data)
        return header, placement

    def wrong_shape(self, placement: Placement) -> DataFault | None:
        """The fault of an image that would need the resizing that is switched off."""
        height, width = placement.window[2:]
        if self._spec.resize != "none" or (height, width) == placement.shape:
            return None
        wanted = " x ".join(str(size) for size in placement.shape)
        cropped = " after the crop" if self._spec.crop is not None else ""
        return DataFault(
            "decode",
            "WrongShape",
            f"the image is {height} x {width} pixels{cropped}, the model takes {wanted}, and "
            "source.input.resize is 'none'",
        )

    def undecodable(self, data: bytes, why: str) -> DataFault:
        """The fault of an image that cannot be decoded."""
        hint = ""
        if len(data) in (self._spec.elements, self._spec.elements * self._spec.raw_dtype.itemsize):
            hint = "; raw pixels are read with source.input.kind: tensor"
        return DataFault("decode", "UndecodableImage", f"the image cannot be decoded: {why}{hint}")

    def _check_pixels(self, header: ImageHeader, held: int, how: str = "") -> None:
        if held > self._spec.max_pixels:
            raise DataFault(
                "decode",
                "TooManyPixels",
                f"the image declares {header.height} x {header.width} pixels{how}, more than "
                f"limits.max_pixels ({self._spec.max_pixels})",
            )


def _check_scans(jpeg: bytes) -> None:
    """Refuses what a decoder would spend minutes on, and what is cut short."""
    try:
        scans, ended = jpeg_scans(jpeg)
    except IndexError:
        scans, ended = 0, False
    if scans > MAX_SCANS:
        raise DataFault(
            "decode",
            "TooManyScans",
            f"the JPEG has {scans} scans, more than {MAX_SCANS}; encoders make about 10",
        )
    if not ended:
        raise DataFault("decode", "TruncatedImage", "the JPEG has no end mark: it is cut short")
