"""The codec inside a compiled graph, so that only codes leave the device.

The same arithmetic as `transforms.codec.encode`, operation by operation, in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transforms.codec import CODECS, LEVELS, SMALLEST_NORMAL, CodecName
from transforms.statistics.maps import normalize

if TYPE_CHECKING:
    import tensorflow as tf


def quantize(maps: tf.Tensor, codec: CodecName) -> tuple[tf.Tensor, tf.Tensor]:
    """Encodes maps in TensorFlow.

    The codes are those of `codec.encode`, bit for bit, wherever the device divides and takes
    square roots correctly rounded, as CPUs do. Elsewhere a `uint8` code may differ by one where
    255 * sqrt(A / max A) lies within 1e-4 of a rounding boundary.

    Args:
      maps: (N, ...) float32, non-negative.
      codec: Dtype of the codes.

    Returns:
      Codes (N, ...) of the codec's dtype, and scales (N,) float32: each map's maximum; NaN, with
      codes 0, for a map that is not finite, which is the caller's to report.

    Raises:
      ValueError: Where there is no such codec.
    """
    import tensorflow as tf

    if codec not in CODECS:
        raise ValueError(f"codec must be one of {', '.join(CODECS)}, not {codec!r}")
    fractions, scales = normalize(maps)
    if codec == "uint8":
        return tf.cast(tf.round(tf.sqrt(fractions) * float(LEVELS - 1)), tf.uint8), scales
    if codec == "float16":
        return tf.cast(fractions, tf.float16), scales
    return tf.where(fractions < SMALLEST_NORMAL, 0.0, fractions), scales
