"""The codec inside a compiled graph, so that only codes leave the device.

The same arithmetic as `transforms.codec.encode`, operation by operation, in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transforms.codec import LEVELS, SIGNED_LEVELS, SMALLEST_NORMAL, StoredCodec, check_codec
from transforms.statistics.maps import normalize

if TYPE_CHECKING:
    import tensorflow as tf


def quantize(
    maps: tf.Tensor, codec: StoredCodec, *, signed: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Encodes maps in TensorFlow.

    The codes are those of `codec.encode`, bit for bit, wherever the device divides and takes
    square roots correctly rounded, as CPUs do. Elsewhere a `uint8` code may differ by one where
    255 * sqrt(A / max A) lies within 1e-4 of a rounding boundary.

    Args:
      maps: (N, ...) float32, non-negative unless `signed`.
      codec: Dtype of the codes.
      signed: Whether maps have a sign.

    Returns:
      Codes (N, ...) of the codec's dtype, and scales (N,) float32: each map's largest magnitude;
      NaN, with codes 0, for a map that is not finite, which is the caller's to report.

    Raises:
      ValueError: Where there is no such codec, or not for such maps.
    """
    import tensorflow as tf

    check_codec(codec, signed=signed)
    fractions, scales = normalize(tf.abs(maps) if signed else maps)
    if codec in ("uint8", "int8"):
        levels = LEVELS if codec == "uint8" else SIGNED_LEVELS
        codes = tf.cast(tf.round(tf.sqrt(fractions) * float(levels - 1)), tf.as_dtype(codec))
    elif codec == "float16":
        codes = tf.cast(fractions, tf.float16)
    else:
        codes = tf.where(fractions < SMALLEST_NORMAL, 0.0, fractions)
    if signed:
        codes = tf.where((maps < 0) & (codes > 0), -codes, codes)  # no negative zeros
    return codes, scales
