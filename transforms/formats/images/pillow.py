"""What Pillow decodes: WebP and TIFF, and all images where its very bytes are asked for.

torchvision's transforms, Keras's `load_img` and most loaders of datasets decode and resize with
Pillow. Its JPEG pixels are those of libjpeg's accurate transform, and it rounds to whole numbers
between the two passes of a resize, so no other library gives quite the same.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from transforms.formats.images.files.headers import ImageHeader
from transforms.formats.images.files.tiff import without_orientation
from transforms.formats.images.geometry import Placement, Turn
from transforms.formats.source import InputSpec, Resize

_RESAMPLINGS: dict[Resize, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
    "lanczos3": Image.Resampling.LANCZOS,
}
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by the number of channels
_PLAIN = ("L", "LA", "RGB", "RGBA")
_PLAIN_OF = {"1": "L", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "RGBX": "RGB"}
_TRANSPOSITIONS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.FLIP_LEFT_RIGHT,
)


def decode_pixels(data: bytes, header: ImageHeader) -> npt.NDArray[Any]:
    """Decodes an image as it is stored.

    Args:
      data: The file.
      header: What it declares.

    Returns:
      (H, W, 1 to 4): uint8, or uint16 where the header says so.

    Raises:
      ValueError: Pillow cannot decode it.
    """
    image = _decoded(data, header)
    if header.sixteen_bit:
        return np.asarray(image, np.uint16)[..., np.newaxis]
    if image.mode not in _PLAIN:
        palette = "RGBA" if "transparency" in image.info else "RGB"
        image = image.convert(palette if image.mode == "P" else _PLAIN_OF[image.mode])
    pixels = np.asarray(image)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels  # noqa: PLR2004 - grey


def decode_and_fit(
    data: bytes,
    header: ImageHeader,
    placement: Placement,
    spec: InputSpec,
    stored: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Decodes an image and fits it to the model, as whoever trained with Pillow did.

    Args:
      data: The file.
      header: What it declares.
      placement: Where its pixels go.
      spec: How it is resized: `area` is Pillow's BOX, `lanczos3` its LANCZOS. To its channels the
        image is converted first.
      stored: (h, w, 1 or 3), the pixels that Pillow would decode, where they are there already.

    Returns:
      (H, W, C).

    Raises:
      ValueError: Pillow cannot decode it, or would cut its values.
    """
    if header.sixteen_bit:
        raise ValueError("it has 16 bits a channel, which Pillow cuts; leave out the decoder")
    channels, resize = spec.decoded_shape[-1], spec.resize
    if stored is None:
        image = _decoded(data, header)
    else:
        image = Image.fromarray(stored.squeeze(axis=-1) if stored.shape[-1] == 1 else stored)
    image = _turned(image.convert(_MODES[channels]), placement.turn)
    top, left, height, width = placement.window
    window = left, top, left + width, top + height
    if resize == "none":
        image = image.crop(window)
    else:
        size = placement.resized[::-1]
        if (
            spec.fit == "crop"
        ):  # as `ImageOps.fit` and Keras do, which see a little beyond the window
            image = image.resize(size, _RESAMPLINGS[resize], box=window)
        else:
            image = image.crop(window).resize(size, _RESAMPLINGS[resize])
    (top, left), (height, width) = placement.kept, placement.shape
    image = image.crop((left, top, left + width, top + height))  # black beyond it
    return np.asarray(image).reshape(height, width, channels)


def _decoded(data: bytes, header: ImageHeader) -> Image.Image:
    """An image with its pixels as they are stored, of a mode that is known here.

    Raises:
      ValueError: Pillow cannot decode it.
    """
    if header.kind == "TIFF":
        data = without_orientation(data)  # which Pillow would heed
    try:
        image = Image.open(io.BytesIO(data), formats=[header.kind.upper()])
        image.load()
    except UnidentifiedImageError as error:  # Its message has an address of memory in it.
        raise ValueError(f"Pillow makes out no {header.kind} in it") from error
    except Exception as error:  # Pillow's parsers raise whatever they stumble over in bad data.
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
    if image.size != (header.width, header.height):
        raise ValueError(f"it is {image.size[1]} x {image.size[0]} pixels, which it does not say")
    if header.sixteen_bit or image.mode in (*_PLAIN, *_PLAIN_OF, "P"):
        return image
    raise ValueError(f"its pixels are of Pillow's mode {image.mode!r}; save it as PNG")


def _turned(image: Image.Image, turn: Turn) -> Image.Image:
    for wanted, transposition in zip(turn, _TRANSPOSITIONS, strict=True):
        if wanted:
            image = image.transpose(transposition)
    return image
