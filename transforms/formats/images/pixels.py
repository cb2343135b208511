"""Pixels of encoded images as they are stored.

JPEGs are decoded by libjpeg-turbo, which is inside TensorFlow and Pillow, too, with a transform of
its own choice in each. Where a JPEG's data are damaged, or not quite what the standard says, it
warns and goes on, and both keep that to themselves; here the warning is the caller's to have.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import simplejpeg

if TYPE_CHECKING:
    import tensorflow as tf

JpegTransform: TypeAlias = Literal["fast", "accurate"]
"""libjpeg's inverse cosine transform of whole numbers: TensorFlow takes the fast one, Pillow the
accurate one. All else of decoding is the same in both."""

_COLOR_SPACES = {1: "GRAY", 3: "RGB", 4: "CMYK"}
_UNKNOWN_SAMPLING = "Could not determine subsampling"


def decode_jpeg(
    data: bytes,
    shape: tuple[int, ...],
    transform: JpegTransform = "fast",
    into: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Decodes a JPEG to the pixels that TensorFlow or Pillow gives, holding no lock meanwhile.

    Args:
      data: The file, of Huffman's codes of 8 bits.
      shape: (H, W, components), as its header declares: 1 is grey, 3 colour, 4 CMYK.
      transform: Whose pixels.
      into: Where they go, of that shape; what it holds after an error is nothing.

    Raises:
      ValueError: libjpeg warns of the data, or refuses them (`jpeg_warning`).
    """
    pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
        data,
        _COLOR_SPACES[shape[-1]],
        fastdct=transform == "fast",
        fastupsample=False,
        buffer=into,
        strict=True,
    )
    if pixels.shape != shape:
        raise ValueError(f"it is {pixels.shape[0]} x {pixels.shape[1]} pixels, other than it says")
    return pixels


def jpeg_warning(error: ValueError) -> str | None:
    """What libjpeg says of a JPEG's data, where `decode_jpeg` raised an error.

    Returns:
      None where nothing is wrong with them, but chroma is sampled in a way that the interface to
      libjpeg which is used here does not know.
    """
    message = str(error)
    return None if _UNKNOWN_SAMPLING in message else message


def decode_pixels(
    pixels: npt.NDArray[np.uint8], encoded: Sequence[bytes], rows: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Decodes images of 8 bits that need no fitting, by one operation each.

    It gives what the compiled function gives at less than half of the cost, as pixels are copied
    once, as bytes.

    Args:
      pixels: (N, H, W, C), where they go.
      encoded: N encoded images.
      rows: Which of them, each of H x W.

    Returns:
      Which of the rows could be decoded and have C channels; of the others the compiled function
      fits them, or says what is wrong.
    """
    import tensorflow as tf

    try:
        with tf.device("/CPU:0"):
            images = _decoder(len(rows))(tf.constant([encoded[row] for row in rows], tf.string))
    except decoder_errors():
        if len(rows) == 1:
            return np.array([False])
        return np.concatenate([decode_pixels(pixels, encoded, rows[rows == row]) for row in rows])
    fitting = np.zeros(len(rows), bool)
    for number, (row, image) in enumerate(zip(rows, images, strict=True)):
        if image.shape == pixels.shape[1:]:
            pixels[row] = image.numpy()
            fitting[number] = True
    return fitting


@functools.cache
def _decoder(count: int) -> Callable[[tf.Tensor], Sequence[tf.Tensor]]:
    """Decodes (count,) encoded images of 8 bits one after the other, in one thread.

    One call for 8 images takes 0.76 times the CPU time of a call for each, and holds Python's lock
    for a quarter of it: calling costs as much as a tenth of decoding 224 x 224.
    """
    import tensorflow as tf

    def decode(encoded: tf.Tensor) -> list[tf.Tensor]:
        images: list[tf.Tensor] = []
        for each in tf.unstack(encoded, count):
            with tf.control_dependencies(images[-1:]):
                images.append(tf.raw_ops.DecodeImage(contents=each, expand_animations=False))
        return images

    signature = [tf.TensorSpec([count], tf.string)]
    with tf.device("/CPU:0"):
        function = tf.function(decode, input_signature=signature, autograph=False)
        decoder: Callable[[tf.Tensor], Sequence[tf.Tensor]] = function.get_concrete_function()
    return decoder


def decoder_errors() -> tuple[type[Exception], ...]:
    """What TensorFlow raises for data it cannot decode."""
    import tensorflow as tf

    return (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)
