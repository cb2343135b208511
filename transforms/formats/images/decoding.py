"""From encoded images, raw bytes and numeric rows to what the model takes, in TensorFlow.

Images keep no aspect ratio when they are resized and are not smoothed before they shrink
(`antialias=False`): what Keras's `Resizing` layer and `image_dataset_from_directory` do by default,
so most models were trained on just that. An orientation tag (EXIF) is not applied, as there.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transforms.errors import DataFault
from transforms.formats.images.headers import ImageHeader, first_frame, jpeg_scans, read_header
from transforms.formats.images.pixels import decode_pixels, decoder_errors
from transforms.formats.source import InputSpec

if TYPE_CHECKING:
    import tensorflow as tf

MAX_SCANS = 32
"""A JPEG with more is refused: each takes a pass over all pixels. libjpeg's own script has 10."""

_WHITE = 255.0
_SIXTEEN_BIT_STEP = 257.0  # 65535 / 255
_GREY_CHANNELS = 2  # grey alone, or grey with alpha
_MAX_THREADS = 16

_Decoded: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.uint8]

# Images decoded by one call of the compiled function. Measured on 2 cores (JPEG quality 90, crop
# and resize), CPU and wall-clock time an image in microseconds:
#                                               64 x 64       224 x 224
#   one tf.map_fn over 32, on any number of
#     parallel_iterations (mostly one core)     104 / 105     515 / 360 to 535
#   a call an image from a pool of 2 threads    160 / 110     495 / 440
#   a call for 8 images from such a pool        137 /  92     494 / 338
_CHUNK_IMAGES = 8

_LARGE_PIXELS = 1 << 23  # As many as a camera's image: larger ones are decoded one by one.


class InputDecoder:
    """Turns examples' inputs into the model's, one bad example costing one fault.

    Images (JPEG, PNG of 8 or 16 bits, BMP, a GIF's first frame; by their bytes, not by a name)
    are cropped to the central fraction, resized to the model's height and width, and brought to its
    channels: alpha is dropped or added opaque, grey is repeated, colour becomes luma. Tensors are
    reshaped. Channels are last, wherever the model takes them. Scaling (`spec.scale`) is not done
    here but on the device.

    Args:
      spec: What the model takes.
      threads: How many decode at once; None takes the machine's cores, 16 at most.
    """

    def __init__(self, spec: InputSpec, threads: int | None = None) -> None:
        self._spec = spec
        self._threads = threads or min(os.cpu_count() or 1, _MAX_THREADS)

    def decode(
        self, inputs: Sequence[bytes] | npt.NDArray[Any]
    ) -> tuple[_Decoded, list[DataFault | None]]:
        """Decodes a batch.

        Args:
          inputs: N encoded images, or N raw tensors (kind `tensor`); or an (N, ...) array of
            numbers, each row an example of the spec's shape (pixels in 0..255 for images).

        Returns:
          (N, *decoded_shape) float32, images in 0..255, or uint8 where all of them are such
          numbers, a quarter of the bytes; and N faults (stage `decode`), None where all is well.
          The inputs of faulty examples are 0.

        Raises:
          ValueError: Numeric rows have another length than the spec's shape.
        """
        decoded: _Decoded
        if isinstance(inputs, np.ndarray):
            decoded, faults = self._decode_rows(inputs)
        elif self._spec.kind == "tensor":
            decoded, faults = self._decode_raw(inputs)
        else:
            return self._decode_images(inputs)
        finite = np.isfinite(decoded).reshape(len(decoded), self._spec.elements).all(axis=1)
        for row in np.flatnonzero(~finite):
            faults[row] = DataFault("decode", "NotFinite", "the input holds infinity or NaN")
            decoded[row] = 0
        return decoded, faults

    def in_threads(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """What a function makes of each item, in their order, by as many threads as decode."""
        if self._threads == 1:  # The caller's.
            return [function(item) for item in items]
        return list(self._pool.map(function, items))

    def crop_boxes(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Boxes in the cropped image's coordinates, clipped to it.

        Args:
          boxes: (K, 4) `[ymin, xmin, ymax, xmax]` in 0..1 of the whole image.

        Returns:
          (K, 4) in 0..1 of the crop; a box outside it has no area. (The crop is a whole number
          of pixels, so this is exact to half a pixel of the image as it is stored.)
        """
        if self._spec.crop is None:
            return boxes
        margin = (1 - self._spec.crop) / 2
        cropped: npt.NDArray[np.float32] = np.clip((boxes - margin) / self._spec.crop, 0, 1)
        return cropped.astype(np.float32)

    def _decode_rows(
        self, rows: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], list[DataFault | None]]:
        if rows.size != len(rows) * self._spec.elements:
            raise ValueError(f"rows of {rows.shape[1:]} are not inputs of {self._spec.shape}")
        faults: list[DataFault | None] = [None] * len(rows)
        decoded = self._channels_last(rows).astype(np.float32, order="C")
        if self._spec.crop is None or not len(rows):
            return decoded, faults
        wrong = self._wrong_shape(*self._spec.positions)
        if wrong is not None:
            return np.zeros_like(decoded), [wrong] * len(rows)
        import tensorflow as tf

        with tf.device("/CPU:0"):
            cropped: npt.NDArray[np.float32] = self._fit(tf.constant(decoded)).numpy()
        return cropped, faults

    def _decode_raw(self, inputs: Sequence[bytes]) -> tuple[_Decoded, list[DataFault | None]]:
        dtype, elements = self._spec.raw_dtype, self._spec.elements
        kept = dtype if dtype == np.uint8 else np.float32
        decoded = np.zeros((len(inputs), *self._spec.decoded_shape), kept)
        faults: list[DataFault | None] = [None] * len(inputs)
        for row, data in enumerate(inputs):
            if len(data) != elements * dtype.itemsize:
                faults[row] = DataFault(
                    "decode",
                    "WrongLength",
                    f"the input has {len(data)} bytes; {list(self._spec.shape)} of {dtype.name} "
                    f"takes {elements * dtype.itemsize}",
                )
            else:
                decoded[row] = self._channels_last(np.frombuffer(data, dtype)[np.newaxis])[0]
        return decoded, faults

    def _channels_last(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(N, ...) of the model's shape -> (N, *decoded_shape)."""
        shaped = values.reshape(len(values), *self._spec.shape)
        return np.moveaxis(shaped, 1, -1) if self._spec.channels == "first" else shaped

    def _decode_images(self, inputs: Sequence[bytes]) -> tuple[_Decoded, list[DataFault | None]]:
        headers, encoded, faults = self._read_headers(inputs)
        pixels = np.zeros((len(inputs), *self._spec.decoded_shape), np.uint8)
        others = np.array([each is not None for each in headers], bool)
        as_they_are = np.array([each is not None and self._fits(each) for each in headers], bool)
        declared = np.array([0 if each is None else each.pixels for each in headers], np.int64)
        large = declared > _LARGE_PIXELS

        def decode_chunk(rows: npt.NDArray[np.intp]) -> None:
            others[rows] = ~decode_pixels(pixels, encoded, rows)

        self._in_chunks(decode_chunk, as_they_are, large)
        if not others.any():
            return pixels, faults
        decoded = pixels.astype(np.float32)
        sixteen_bit = np.array([each is not None and each.sixteen_bit for each in headers], bool)

        def fit_chunk(rows: npt.NDArray[np.intp]) -> None:
            try:
                decoded[rows] = self._compiled([encoded[row] for row in rows], sixteen_bit[rows])
            except decoder_errors() as error:
                if len(rows) > 1:
                    for row in rows:
                        fit_chunk(rows[rows == row])
                else:
                    faults[rows[0]] = self._undecodable(encoded[rows[0]], reason_of(error))

        self._in_chunks(fit_chunk, others.copy(), large)
        return decoded, faults

    def _read_headers(
        self, inputs: Sequence[bytes]
    ) -> tuple[list[ImageHeader | None], list[bytes], list[DataFault | None]]:
        """Headers, what is to be decoded, and for each image that is refused its fault."""
        headers: list[ImageHeader | None] = [None] * len(inputs)
        encoded: list[bytes] = list(inputs)
        faults: list[DataFault | None] = [None] * len(inputs)
        for row, data in enumerate(inputs):
            try:
                header = self._checked_header(data)
                if header.kind == "GIF":
                    encoded[row] = first_frame(data)
                headers[row] = header
            except DataFault as fault:
                faults[row] = fault
            except ValueError as error:
                faults[row] = self._undecodable(data, str(error))
        return headers, encoded, faults

    def _in_chunks(
        self,
        work: Callable[[npt.NDArray[np.intp]], None],
        wanted: npt.NDArray[np.bool_],
        large: npt.NDArray[np.bool_],
    ) -> None:
        """Calls `work` with the numbers of the rows that are wanted, in as many threads as may be.

        Large images come one at a time, so that memory holds one of them.
        """
        usual = np.flatnonzero(wanted & ~large)
        size = min(_CHUNK_IMAGES, -(-len(usual) // self._threads)) or 1
        chunks = [usual[start : start + size] for start in range(0, len(usual), size)]
        self.in_threads(work, chunks)
        for row in np.flatnonzero(wanted & large):
            work(np.array([row]))

    def _checked_header(self, data: bytes) -> ImageHeader:
        header = read_header(data)
        if header.pixels > self._spec.max_pixels:
            raise DataFault(
                "decode",
                "TooManyPixels",
                f"the image declares {header.height} x {header.width} pixels, more than "
                f"limits.max_pixels ({self._spec.max_pixels})",
            )
        wrong = self._wrong_shape(header.height, header.width)
        if wrong is not None:
            raise wrong
        if header.kind == "JPEG":
            _check_scans(data)
        return header

    def _fits(self, header: ImageHeader) -> bool:
        """Whether it has 8 bits, and the model's height and width, so that its pixels stay."""
        same_size = (header.height, header.width) == self._spec.positions
        return self._spec.crop is None and same_size and not header.sixteen_bit

    def _wrong_shape(self, height: int, width: int) -> DataFault | None:
        """The fault of an image that would need the resizing that is switched off."""
        if self._spec.resize != "none":
            return None
        crop = self._spec.crop
        if crop is not None:
            height, width = _cropped_size(height, crop), _cropped_size(width, crop)
        if (height, width) == self._spec.positions:
            return None
        wanted = " x ".join(str(size) for size in self._spec.positions)
        cropped = " after the crop" if crop is not None else ""
        return DataFault(
            "decode",
            "WrongShape",
            f"the image is {height} x {width} pixels{cropped}, the model takes {wanted}, and "
            "source.input.resize is 'none'",
        )

    def _undecodable(self, data: bytes, why: str) -> DataFault:
        hint = ""
        if len(data) in (self._spec.elements, self._spec.elements * self._spec.raw_dtype.itemsize):
            hint = "; raw pixels are read with source.input.kind: tensor"
        return DataFault("decode", "UndecodableImage", f"the image cannot be decoded: {why}{hint}")

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="decode")

    @functools.cached_property
    def _compiled(self) -> Callable[[list[bytes], npt.NDArray[np.bool_]], npt.NDArray[np.float32]]:
        """Encoded images and whether they have 16 bits -> (N, H, W, C) float32, all or none."""
        import tensorflow as tf

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.bool)]
        )
        def decode(images: tf.Tensor, sixteen_bit: tf.Tensor) -> tf.Tensor:
            return tf.map_fn(
                lambda image: self._decode_image(*image),
                (images, sixteen_bit),
                fn_output_signature=tf.TensorSpec(self._spec.decoded_shape, tf.float32),
            )

        def call(
            images: list[bytes], sixteen_bit: npt.NDArray[np.bool_]
        ) -> npt.NDArray[np.float32]:
            with tf.device("/CPU:0"):
                decoded: npt.NDArray[np.float32] = decode(
                    tf.constant(images), tf.constant(sixteen_bit)
                ).numpy()
            return decoded

        return call

    def _decode_image(self, data: tf.Tensor, sixteen_bit: tf.Tensor) -> tf.Tensor:
        """One encoded image -> (H, W, C) float32."""
        import tensorflow as tf

        def fit_eight_bit() -> tf.Tensor:
            pixels = tf.io.decode_image(data, expand_animations=False)
            return self._fit(tf.ensure_shape(pixels, [None, None, None]))

        def fit_sixteen_bit() -> tf.Tensor:
            return self._fit(tf.io.decode_png(data, dtype=tf.uint16)) / _SIXTEEN_BIT_STEP

        fitted = tf.cond(sixteen_bit, fit_sixteen_bit, fit_eight_bit)
        if self._spec.resize == "bicubic":  # overshoots at edges
            fitted = tf.clip_by_value(fitted, 0.0, _WHITE)
        shape = self._spec.decoded_shape
        return tf.ensure_shape(_to_channels(fitted, shape[-1]), shape)

    def _fit(self, pixels: tf.Tensor) -> tf.Tensor:
        """Crops and resizes (..., H, W, C) of any type to float32, in the range it has."""
        import tensorflow as tf

        if self._spec.crop is not None:
            height, width = tf.shape(pixels)[-3], tf.shape(pixels)[-2]
            rows = _cropped_size_in_graph(height, self._spec.crop)
            columns = _cropped_size_in_graph(width, self._spec.crop)
            top, left = (height - rows) // 2, (width - columns) // 2
            pixels = pixels[..., top : top + rows, left : left + columns, :]
        if self._spec.resize != "none":
            pixels = tf.image.resize(pixels, self._spec.positions, method=self._spec.resize)
        return tf.cast(pixels, tf.float32)


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


def _cropped_size(side: int, crop: float) -> int:
    """Pixels of a side that the crop keeps: rounded (half to even), at least 1."""
    return max(1, round(side * crop))


def _cropped_size_in_graph(side: tf.Tensor, crop: float) -> tf.Tensor:
    """`_cropped_size`, of a side known only in the graph."""
    import tensorflow as tf

    kept = tf.round(tf.cast(side, tf.float64) * crop)
    return tf.maximum(1, tf.cast(kept, tf.int32))


def _to_channels(image: tf.Tensor, wanted: int) -> tf.Tensor:
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
    if wanted == 3:  # noqa: PLR2004 - colour
        return color
    alpha = tf.cond(
        channels % 2 == 0,
        lambda: image[..., -1:],
        lambda: tf.fill(tf.shape(image[..., :1]), _WHITE),
    )
    return tf.concat([color, alpha], axis=-1)


def reason_of(error: Exception) -> str:
    """TensorFlow's reason, out of a message that quotes the graph's making and its nodes."""
    lines = str(getattr(error, "message", error)).strip().splitlines() or [type(error).__name__]
    nodes = (number for number, line in enumerate(lines) if line.lstrip().startswith("[[{{node"))
    return lines[max(0, next(nodes, 1) - 1)].strip()
