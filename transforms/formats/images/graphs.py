"""What TensorFlow decodes, and fits to the model, in compiled functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.formats.images import fitting
from transforms.formats.source import InputSpec

if TYPE_CHECKING:
    import tensorflow as tf

_MOST_SPECS = 16  # kept in a process
_SIXTEEN_BIT_STEP = 257.0  # 65535 / 255


@functools.lru_cache(maxsize=_MOST_SPECS)
def decoding_graphs(spec: InputSpec) -> DecodingGraphs:
    """What decodes for a specification: a run has several decoders, and compiles once for all.

    Args:
      spec: What the model takes.
    """
    return DecodingGraphs(spec)


class DecodingGraphs:
    """Compiled functions that make inputs of images, each compiled when it is first needed.

    Args:
      spec: What the model takes.
    """

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec

    @functools.cached_property
    def of_files(self) -> Callable[..., npt.NDArray[np.float32]]:
        """Encoded images, whether they have 16 bits, steps -> (N, H, W, C), all or none."""
        import tensorflow as tf

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string),
                tf.TensorSpec([None], tf.bool),
                tf.TensorSpec([None, fitting.STEPS], tf.int32),
            ]
        )
        def decode(images: tf.Tensor, sixteen_bit: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
            return tf.map_fn(
                lambda image: self._decode_image(*image),
                (images, sixteen_bit, steps),
                fn_output_signature=tf.TensorSpec(self._spec.decoded_shape, tf.float32),
            )

        return _on_cpu(decode)

    @functools.cached_property
    def of_stored(self) -> Callable[..., npt.NDArray[np.float32]]:
        """Pixels of images one after the other, places of K of them, steps -> (K, H, W, C).

        The pixels are (P,) uint8; a place is (offset, height, width, channels) of an image in them.
        """
        import tensorflow as tf

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.uint8),
                tf.TensorSpec([None, 4], tf.int64),
                tf.TensorSpec([None, fitting.STEPS], tf.int32),
            ]
        )
        def fit(pixels: tf.Tensor, places: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
            def fit_image(place: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
                offset, shape = place[0], place[1:]
                image = tf.reshape(pixels[offset : offset + tf.reduce_prod(shape)], shape)
                return self._finished(fitting.fit(image, steps, self._spec))

            return tf.map_fn(
                lambda image: fit_image(*image),
                (places, steps),
                fn_output_signature=tf.TensorSpec(self._spec.decoded_shape, tf.float32),
            )

        return _on_cpu(fit)

    @functools.cached_property
    def of_pixels(self) -> Callable[..., npt.NDArray[np.float32]]:
        """(h, w, 1 to 4) of 8 or 16 bits, steps -> (H, W, C)."""
        import tensorflow as tf

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, None], tf.float32),
                tf.TensorSpec([fitting.STEPS], tf.int32),
            ]
        )
        def decode(pixels: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
            return self._finished(fitting.fit(pixels, steps, self._spec))

        call = _on_cpu(decode)

        def in_bytes(pixels: npt.NDArray[Any], steps: tuple[int, ...]) -> npt.NDArray[np.float32]:
            step = _SIXTEEN_BIT_STEP if pixels.dtype == np.uint16 else 1.0
            return call((pixels / step).astype(np.float32), steps)

        return in_bytes

    def _decode_image(self, data: tf.Tensor, sixteen_bit: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        """One encoded image -> (H, W, C) float32."""
        import tensorflow as tf

        def fit_eight_bit() -> tf.Tensor:
            pixels = tf.io.decode_image(data, expand_animations=False)
            pixels = tf.ensure_shape(pixels, [None, None, None])
            return fitting.fit(pixels, steps, self._spec)

        def fit_sixteen_bit() -> tf.Tensor:
            pixels = tf.io.decode_png(data, dtype=tf.uint16)
            return fitting.fit(pixels, steps, self._spec) / _SIXTEEN_BIT_STEP

        return self._finished(tf.cond(sixteen_bit, fit_sixteen_bit, fit_eight_bit))

    def _finished(self, fitted: tf.Tensor) -> tf.Tensor:
        """(H, W, 1 to 4) as it was resized -> (H, W, C) in 0..255."""
        import tensorflow as tf

        shape = self._spec.decoded_shape
        within = fitting.within_range(fitted, self._spec.resize)
        return tf.ensure_shape(fitting.to_channels(within, shape[-1]), shape)


def _on_cpu(compiled: Callable[..., tf.Tensor]) -> Callable[..., npt.NDArray[np.float32]]:
    """A compiled function that takes and gives arrays."""
    import tensorflow as tf

    def call(*arguments: Any) -> npt.NDArray[np.float32]:
        with tf.device("/CPU:0"):
            result: npt.NDArray[np.float32] = compiled(*map(tf.constant, arguments)).numpy()
        return result

    return call


def reason_of(error: Exception) -> str:
    """TensorFlow's reason, out of a message that quotes the graph's making and its nodes."""
    lines = str(getattr(error, "message", error)).strip().splitlines() or [type(error).__name__]
    nodes = (number for number, line in enumerate(lines) if line.lstrip().startswith("[[{{node"))
    return lines[max(0, next(nodes, 1) - 1)].strip()
