"""Masks of images: which of an image's pixels are meant, as a PNG file of any storage."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from transforms.formats.images.files.headers import read_header

_WITH_ALPHA = ("LA", "RGBA", "PA")
_SIXTEEN_BIT = ("I", "I;16", "I;16B")  # in which Pillow keeps all of the bits
_TO_COLORS = ("1", "L", "P", "RGB", "PA")  # what Pillow makes RGBA of, transparency included


def decode_mask(png: bytes, max_pixels: int | None = None) -> npt.NDArray[np.bool_]:
    """Decodes a mask: what is neither black nor transparent belongs to it.

    So masks of 0 and 1, of 0 and 255, of grey in 16 bits, of numbers of objects, of a palette whose
    first colour is black, and what is drawn on a transparent ground all mean what they seem to.

    Args:
      png: The file.
      max_pixels: As many as it may declare; None where the file is ours.

    Returns:
      (H, W).

    Raises:
      ValueError: It is no PNG, cannot be decoded, has 16 bits in each of several channels, or
        declares too many pixels.
    """
    header = read_header(png)
    if header.kind != "PNG":
        raise ValueError(f"it is {header.kind}, not PNG")
    if max_pixels is not None and header.pixels > max_pixels:
        raise ValueError(
            f"it declares {header.height} x {header.width} pixels, more than limits.max_pixels "
            f"({max_pixels})"
        )
    image: Image.Image
    try:
        image = Image.open(io.BytesIO(png), formats=["PNG"])
        image.load()
    except Exception as error:  # Pillow's parsers raise whatever they stumble over in bad data.
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
    if header.sixteen_bit and image.mode not in _SIXTEEN_BIT:
        raise ValueError(
            "it has 16 bits a channel and colours or transparency, of which Pillow would drop the "
            "lower 8, and small numbers with them; save it as grey, or with 8 bits"
        )
    if image.mode == "P" or ("transparency" in image.info and image.mode in _TO_COLORS):
        image = image.convert("RGBA")
    pixels = np.asarray(image)
    if pixels.ndim == 2:  # noqa: PLR2004 - grey, of any depth
        clear = image.info.get("transparency", 0)  # In 16 bits, which Pillow makes no alpha of.
        return np.asarray((pixels > 0) & (pixels != clear))
    if image.mode not in _WITH_ALPHA:
        return np.asarray(pixels.any(axis=-1))
    return np.asarray(pixels[..., :-1].any(axis=-1) & (pixels[..., -1] > 0))


def encode_mask(inside: npt.NDArray[np.bool_]) -> bytes:
    """A mask as a small PNG, of a bit per pixel.

    Args:
      inside: (H, W).
    """
    stream = io.BytesIO()
    Image.fromarray(inside).save(stream, "PNG", optimize=True)
    return stream.getvalue()
