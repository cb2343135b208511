"""From encoded images, raw bytes and numeric rows to what the model takes.

By default images keep no aspect ratio when they are resized, are not smoothed before they shrink,
and are taken as they are stored whatever an orientation tag (EXIF) says: what Keras's `Resizing`
layer and `image_dataset_from_directory` do by default. Whoever trained otherwise says so in the
specification.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transforms.errors import DataFault
from transforms.formats.images import fitting
from transforms.formats.images.exif import orientation
from transforms.formats.images.geometry import UPRIGHT, Placement
from transforms.formats.images.graphs import decoding_graphs, reason_of
from transforms.formats.images.headers import (
    ImageHeader,
    ImageKind,
    first_frame,
    jpeg_scans,
    read_header,
)
from transforms.formats.images.pixels import decode_pixels, decoder_errors
from transforms.formats.source import InputSpec

MAX_SCANS = 32
"""A JPEG with more is refused: each takes a pass over all pixels. libjpeg's own script has 10."""

_PILLOW_KINDS: tuple[ImageKind, ...] = ("WebP", "TIFF")  # TensorFlow knows the first since 2.19
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

    Images (JPEG, PNG of 8 or 16 bits, BMP, WebP, TIFF, a GIF's first frame; by their bytes, not by
    a name) are turned, cut and resized to the model's height and width, and brought to its
    channels: alpha is dropped or added opaque, grey is repeated, colour becomes luma. Tensors are
    reshaped. Channels are last, wherever the model takes them. Scaling (`spec.scale`) is not done
    here but on the device.

    Args:
      spec: What the model takes.
      threads: How many decode at once; None takes the machine's cores, 16 at most.
    """

    def __init__(self, spec: InputSpec, threads: int | None = None) -> None:
        self._spec = spec
        self._graphs = decoding_graphs(spec)
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

    def place_boxes(
        self, data: bytes | npt.NDArray[Any], boxes: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Boxes in the model's input, clipped to it: they go where the pixels go.

        Args:
          data: The input that they lie in, as `decode` takes it.
          boxes: (K, 4) `[ymin, xmin, ymax, xmax]` in 0..1 of the whole image, as it is stored.

        Returns:
          (K, 4) in 0..1 of the model's input; a box outside it has no area. Boxes of what cannot be
          decoded stay as they are.
        """
        spec = self._spec
        if spec.fit == "stretch" and spec.crop is None and spec.orientation == "stored":
            return boxes
        try:
            if isinstance(data, bytes):
                _, placement = self._header_and_placement(data)
            else:
                placement = Placement.of(spec, *spec.positions)
        except (DataFault, ValueError):
            return boxes
        return placement.boxes(boxes)

    def _decode_rows(
        self, rows: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], list[DataFault | None]]:
        if rows.size != len(rows) * self._spec.elements:
            raise ValueError(f"rows of {rows.shape[1:]} are not inputs of {self._spec.shape}")
        faults: list[DataFault | None] = [None] * len(rows)
        decoded = self._channels_last(rows).astype(np.float32, order="C")
        if self._spec.crop is None or not len(rows):
            return decoded, faults
        placement = Placement.of(self._spec, *self._spec.positions)
        wrong = self._wrong_shape(placement)
        if wrong is not None:
            return np.zeros_like(decoded), [wrong] * len(rows)
        import tensorflow as tf

        with tf.device("/CPU:0"):
            steps = tf.constant(fitting.steps_of(placement))
            cropped: npt.NDArray[np.float32] = fitting.fit(
                tf.constant(decoded), steps, self._spec
            ).numpy()
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
        batch = self._looked_at(inputs)
        pixels = np.zeros((len(inputs), *self._spec.decoded_shape), np.uint8)
        others = batch.accepted
        large = batch.pixels > _LARGE_PIXELS
        if self._spec.decoder == "pillow":

            def decode_and_fit(rows: npt.NDArray[np.intp]) -> None:
                self._decode_by_pillow(batch, rows, pixels)

            self._in_chunks(decode_and_fit, others, large)
            return pixels, batch.faults

        def decode_chunk(rows: npt.NDArray[np.intp]) -> None:
            others[rows] = ~decode_pixels(pixels, batch.encoded, rows)

        self._in_chunks(decode_chunk, batch.fits & ~batch.by_pillow, large)
        if not others.any():
            return pixels, batch.faults
        decoded = pixels.astype(np.float32)

        def fit_pillows_chunk(rows: npt.NDArray[np.intp]) -> None:
            self._decode_by_pillow(batch, rows, decoded)

        def fit_chunk(rows: npt.NDArray[np.intp]) -> None:
            try:
                images = [batch.encoded[row] for row in rows]
                decoded[rows] = self._graphs.of_files(
                    images, batch.sixteen_bit[rows], batch.steps[rows]
                )
            except decoder_errors() as error:
                if len(rows) > 1:
                    for row in rows:
                        fit_chunk(rows[rows == row])
                else:
                    why = reason_of(error)
                    batch.faults[rows[0]] = self._undecodable(batch.encoded[rows[0]], why)

        self._in_chunks(fit_pillows_chunk, batch.by_pillow, large)
        self._in_chunks(fit_chunk, others & ~batch.by_pillow, large)
        return decoded, batch.faults

    def _looked_at(self, inputs: Sequence[bytes]) -> _Batch:
        """What encoded images claim, and what is wrong with those that claim too much."""
        batch = _Batch.of(inputs)
        for row, data in enumerate(inputs):
            try:
                header, placement = self._header_and_placement(data)
                if header.kind == "GIF":
                    batch.encoded[row] = first_frame(data)
            except DataFault as fault:
                batch.faults[row] = fault
                continue
            except ValueError as error:
                batch.faults[row] = self._undecodable(data, str(error))
                continue
            batch.claims[row] = header, placement
            batch.sixteen_bit[row] = header.sixteen_bit
            batch.pixels[row] = max(placement.pixels_held, header.tile_pixels)
            batch.steps[row] = fitting.steps_of(placement)
            batch.fits[row] = not header.sixteen_bit and placement.changes_nothing
            batch.by_pillow[row] = header.kind in _PILLOW_KINDS
        return batch

    def _decode_by_pillow(
        self, batch: _Batch, rows: npt.NDArray[np.intp], decoded: npt.NDArray[Any]
    ) -> None:
        """Decodes what Pillow decodes; who fits it to the model is for the specification to say."""
        from transforms.formats.images import pillow

        for row in rows.tolist():
            data, (header, placement) = batch.encoded[row], batch.claims[row]
            try:
                if self._spec.decoder == "pillow":
                    decoded[row] = pillow.decode_and_fit(data, header, placement, self._spec)
                else:
                    found = pillow.decode_pixels(data, header)
                    decoded[row] = self._graphs.of_pixels(found, batch.steps[row])
            except ValueError as error:
                batch.faults[row] = self._undecodable(data, str(error))

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

    def _header_and_placement(self, data: bytes) -> tuple[ImageHeader, Placement]:
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
        placement = Placement.of(self._spec, header.height, header.width, up)
        self._check_pixels(header, placement.pixels_held, " that source.input.fit makes more of")
        wrong = self._wrong_shape(placement)
        if wrong is not None:
            raise wrong
        if header.kind == "JPEG":
            _check_scans(data)
        return header, placement

    def _check_pixels(self, header: ImageHeader, held: int, how: str = "") -> None:
        if held > self._spec.max_pixels:
            raise DataFault(
                "decode",
                "TooManyPixels",
                f"the image declares {header.height} x {header.width} pixels{how}, more than "
                f"limits.max_pixels ({self._spec.max_pixels})",
            )

    def _wrong_shape(self, placement: Placement) -> DataFault | None:
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

    def _undecodable(self, data: bytes, why: str) -> DataFault:
        hint = ""
        if len(data) in (self._spec.elements, self._spec.elements * self._spec.raw_dtype.itemsize):
            hint = "; raw pixels are read with source.input.kind: tensor"
        return DataFault("decode", "UndecodableImage", f"the image cannot be decoded: {why}{hint}")

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="decode")


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Encoded images and what is known of each by its header alone.

    Attributes:
      encoded: The images, a GIF's first frame alone.
      faults: What is wrong with each; None where nothing is.
      sixteen_bit: Whether each has 16 bits a channel.
      fits: Whether each has the model's height and width, so that nothing is to be done but decode.
      steps: (N, STEPS) of their placements.
      pixels: How many each takes while it is decoded.
      by_pillow: Whether each is of a kind that Pillow decodes.
      claims: What each claims, and where its pixels go, of those that are accepted.
    """

    encoded: list[bytes]
    faults: list[DataFault | None]
    sixteen_bit: npt.NDArray[np.bool_]
    fits: npt.NDArray[np.bool_]
    steps: npt.NDArray[np.int32]
    pixels: npt.NDArray[np.int64]
    by_pillow: npt.NDArray[np.bool_]
    claims: dict[int, tuple[ImageHeader, Placement]]

    @property
    def accepted(self) -> npt.NDArray[np.bool_]:
        """Whether nothing is wrong with each, by its header."""
        return np.array([fault is None for fault in self.faults], bool)

    @classmethod
    def of(cls, inputs: Sequence[bytes]) -> _Batch:
        """Of which nothing is known yet."""
        count = len(inputs)
        return cls(
            encoded=list(inputs),
            faults=[None] * count,
            sixteen_bit=np.zeros(count, bool),
            fits=np.zeros(count, bool),
            steps=np.zeros((count, fitting.STEPS), np.int32),
            pixels=np.zeros(count, np.int64),
            by_pillow=np.zeros(count, bool),
            claims={},
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
