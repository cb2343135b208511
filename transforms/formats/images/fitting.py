"""From a decoded image to the model's height, width and channels, in TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transforms.formats.images.geometry import TURNS, Placement
from transforms.formats.source import InputSpec, Resize

if TYPE_CHECKING:
    import tensorflow as tf

WHITE = 255.0

_GREY_CHANNELS = 2  # grey alone, or grey with alpha
_COLOR_CHANNELS = 3
_WITHIN: tuple[Resize, ...] = ("bilinear", "area", "nearest", "gaussian", "none")
"""What makes no value that is beyond those it is made of; all others overshoot at edges."""


def steps_of(placement: Placement) -> tuple[int, ...]:
    """A placement's whole numbers, which `fit` takes."""
    return placement.orientation, *placement.window, *placement.resized, *placement.kept


STEPS = 9
"""How many numbers those are."""


def fit(pixels: tf.Tensor, steps: tf.Tensor, spec: InputSpec) -> tf.Tensor:
    """Turns, cuts, pads and resizes.

    Args:
      pixels: (..., H, W, C) of any type, as stored.
      steps: (STEPS,) int32, of a placement of that height and width.
      spec: What it was made of: what it never asks for is not in the graph.

    Returns:
      (..., *spec.positions, C) float32, in the range that `pixels` have.
    """
    import tensorflow as tf

    if spec.orientation == "exif":
        pixels = _turn(pixels, steps[0])
    top, left, height, width = steps[1], steps[2], steps[3], steps[4]
    if spec.fit == "crop" or (spec.fit != "shorter_side" and spec.crop is not None):
        pixels = pixels[..., top : top + height, left : left + width, :]
    rows, columns = spec.positions
    if spec.fit in ("stretch", "crop"):
        if spec.resize != "none":
            pixels = _resize(pixels, (rows, columns), spec)
        return tf.cast(pixels, tf.float32)
    height, width, top, left = steps[5], steps[6], steps[7], steps[8]
    pixels = _resize(pixels, (height, width), spec)
    if spec.fit == "pad":
        edges = [[-top, rows + top - height], [-left, columns + left - width], [0, 0]]
        pixels = tf.pad(pixels, [[0, 0]] * (len(pixels.shape) - 3) + edges)
    else:
        pixels = pixels[..., top : top + rows, left : left + columns, :]
    return tf.cast(pixels, tf.float32)


def _resize(pixels: tf.Tensor, size: tuple[tf.Tensor, ...], spec: InputSpec) -> tf.Tensor:
    import tensorflow as tf

    return tf.image.resize(pixels, size, method=spec.resize, antialias=spec.antialias)


def within_range(fitted: tf.Tensor, resize: Resize) -> tf.Tensor:
    """Clips an image to 0..255, as Pillow does, where its resizing may have gone beyond."""
    import tensorflow as tf

    return fitted if resize in _WITHIN else tf.clip_by_value(fitted, 0.0, WHITE)


def _turn(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Makes (..., H, W, C) upright."""
    import tensorflow as tf

    transposed, upside_down, mirrored = (
        tf.reduce_any([tf.equal(orientation, key) for key, turn in TURNS.items() if turn[part]])
        for part in range(3)
    )
    shape = pixels.shape
    others = list(range(len(shape) - 3))
    axes = [*others, len(shape) - 2, len(shape) - 3, len(shape) - 1]
    turned = tf.cond(transposed, lambda: tf.transpose(pixels, axes), lambda: pixels)
    turned = tf.cond(upside_down, lambda: tf.reverse(turned, [len(shape) - 3]), lambda: turned)
    return tf.cond(mirrored, lambda: tf.reverse(turned, [len(shape) - 2]), lambda: turned)


def to_channels(image: tf.Tensor, wanted: int) -> tf.Tensor:
    """Brings (H, W, 1 to 4) in 0..255 to the wanted channels: 1 grey, 3 colour, 4 with alpha."""
    import tensorflow as tf

    channels = tf.shape(image)[-1]
    is_grey = channels <= _GREY_CHANNELS
    if wanted == 1:
        return tf.cond(
            is_grey,
            lambda: image[..., :1],
            lambda: tf.image.rgb_to_grayscale(tf.ensure_shape(image[..., :3], [None, None, 3])),
        )
    color = tf.cond(is_grey, lambda: tf.repeat(image[..., :1], 3, axis=-1), lambda: image[..., :3])
    if wanted == _COLOR_CHANNELS:
        return color
    alpha = tf.cond(
        channels % 2 == 0,
        lambda: image[..., -1:],
        lambda: tf.fill(tf.shape(image[..., :1]), WHITE),
    )
    return tf.concat([color, alpha], axis=-1)
