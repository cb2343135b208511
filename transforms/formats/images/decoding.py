"""From encoded images, raw bytes and numeric rows to what the model takes.

By default images keep no aspect ratio when they are resized, are not smoothed before they shrink,
and are taken as they are stored whatever an orientation tag (EXIF) says: what Keras's `Resizing`
layer and `image_dataset_from_directory` do by default. Whoever trained otherwise says so in the
specification.
"""

from __future__ import annotations

import collections
import contextlib
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
from transforms.formats.images.claims import ClaimedImages, ImageClaims
from transforms.formats.images.geometry import Placement
from transforms.formats.images.graphs import decoding_graphs, reason_of
from transforms.formats.images.pixels import (
    decode_jpeg,
    decode_pixels,
    decoder_errors,
    jpeg_warning,
)
from transforms.formats.source import InputSpec

_MAX_THREADS = 16
_MOST_REUSED = 8  # batches whose memory is kept to be written over

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


@dataclasses.dataclass(frozen=True)
class DecodedInputs:
    """A batch of inputs as the model takes them, before they are scaled.

    Attributes:
      values: (N, *decoded_shape) float32, images in 0..255, or uint8 where all of them are such
        numbers, a quarter of the bytes; 0 where there is a fault.
      faults: Why each cannot be decoded (stage `decode`); None where all is well.
      warnings: What libjpeg says of each JPEG that is decoded all the same, such as "Corrupt JPEG
        data: premature end of data segment"; None where it says nothing.
      sizes: (N, 2) int32, height and width of each image as it is stored; 0 where they are not
        known, and of tensors.
    """

    values: _Decoded
    faults: list[DataFault | None]
    warnings: list[str | None]
    sizes: npt.NDArray[np.int32]


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
        self._claims = ImageClaims(spec)
        self._graphs = decoding_graphs(spec)
        self._reusable = collections.deque[npt.NDArray[np.uint8]](maxlen=_MOST_REUSED)
        self._threads = threads or min(os.cpu_count() or 1, _MAX_THREADS)

    def decode(
        self, inputs: Sequence[bytes] | npt.NDArray[Any]
    ) -> tuple[_Decoded, list[DataFault | None]]:
        """Values and faults of a batch, of what `decode_batch` gives."""
        found = self.decode_batch(inputs)
        return found.values, found.faults

    def decode_batch(self, inputs: Sequence[bytes] | npt.NDArray[Any]) -> DecodedInputs:
        """Decodes a batch.

        Args:
          inputs: N encoded images, or N raw tensors (kind `tensor`); or an (N, ...) array of
            numbers, each row an example of the spec's shape (pixels in 0..255 for images).

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
        sizes = np.zeros((len(decoded), 2), np.int32)
        if self._spec.kind == "image":
            sizes[:] = self._spec.positions
        return DecodedInputs(decoded, faults, [None] * len(decoded), sizes)

    def reuse(self, values: _Decoded) -> None:
        """Lets the memory of a batch be written over, where it is of use.

        Args:
          values: What `decode_batch` gave, at which nobody looks any more.
        """
        if self._spec.kind == "image" and values.dtype == np.uint8:
            whole: Any = values if values.base is None else values.base
            self._reusable.append(whole)

    def in_threads(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """What a function makes of each item, in their order, by as many threads as decode."""
        if self._threads == 1:  # The caller's.
            return [function(item) for item in items]
        return list(self._pool.map(function, items))

    def placement(self, data: bytes | npt.NDArray[Any]) -> Placement:
        """Where an input's pixels go in the model's; boxes, masks and regions go with them.

        Args:
          data: One input, as `decode` takes it.

        Returns:
          Its placement, in whole pixels only where these matter. Of what cannot be decoded, that of
          an image of the model's size.
        """
        spec = self._spec
        all_alike = spec.fit == "stretch" and spec.crop is None and spec.orientation == "stored"
        if isinstance(data, bytes) and not all_alike:
            with contextlib.suppress(DataFault, ValueError):
                return self._claims.of_image(data)[1]
        return Placement.of(spec, *spec.positions)

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
        wrong = self._claims.wrong_shape(placement)
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

    def _decode_images(self, inputs: Sequence[bytes]) -> DecodedInputs:
        batch = self._claims.of_batch(inputs)
        pixels = self._memory(len(inputs))
        decoded = self._decode_claimed(batch, pixels)
        if decoded is not pixels:
            self.reuse(pixels)
        self._in_chunks(
            functools.partial(_look_for_warnings, batch),
            batch.accepted & (batch.components > 0) & ~batch.is_plain,
            batch.pixels,
        )
        told = zip(batch.warnings, batch.faults, strict=True)
        warnings = [warning if fault is None else None for warning, fault in told]
        return DecodedInputs(decoded, batch.faults, warnings, batch.sizes)

    def _memory(self, count: int) -> npt.NDArray[np.uint8]:
        """(count, *decoded_shape), with anything in it.

        Zeros in all of it would take a tenth of what decoding takes, with Python's lock held; fresh
        memory, of which the system clears each page, takes another tenth.
        """
        with contextlib.suppress(IndexError):
            known = self._reusable.pop()
            if len(known) >= count:
                return known[:count]
        return np.empty((count, *self._spec.decoded_shape), np.uint8)

    def _decode_claimed(self, batch: ClaimedImages, pixels: npt.NDArray[np.uint8]) -> _Decoded:
        """Decodes what is accepted into (N, *decoded_shape), or another array where it must."""
        rest, sizes = batch.accepted, batch.pixels
        if self._spec.decoder == "pillow":
            pixels[:] = 0
            self._in_chunks(functools.partial(self._decode_by_pillow, batch, pixels), rest, sizes)
            return pixels

        def decode_chunk(rows: npt.NDArray[np.intp]) -> None:
            rest[rows] = ~self._decode_as_stored(batch, rows, pixels)

        stored = batch.fits & ~batch.by_pillow
        self._in_chunks(decode_chunk, stored, sizes)
        pixels[~stored | rest] = 0
        if not rest.any():
            return pixels
        decoded = pixels.astype(np.float32)
        jpegs = rest & batch.is_plain
        jpegs &= np.array([warning is None for warning in batch.warnings])

        def fit_jpegs(rows: npt.NDArray[np.intp]) -> None:
            rest[rows] = ~self._fit_jpegs(batch, rows, decoded)

        self._in_chunks(fit_jpegs, jpegs, sizes)
        fit_pillows = functools.partial(self._decode_by_pillow, batch, decoded)
        self._in_chunks(fit_pillows, rest & batch.by_pillow, sizes)
        fit_others = functools.partial(self._fit_files, batch, decoded)
        self._in_chunks(fit_others, rest & ~batch.by_pillow, sizes)
        return decoded

    def _decode_as_stored(
        self, batch: ClaimedImages, rows: npt.NDArray[np.intp], pixels: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.bool_]:
        """Decodes what needs no fitting; which of the rows had none to do."""
        done = np.zeros(len(rows), bool)
        others = np.ones(len(rows), bool)
        channels = self._spec.decoded_shape[-1]
        for number, row in enumerate(rows.tolist()):
            if batch.is_plain[row] and batch.components[row] == channels:
                done[number] = _decode_jpeg(batch, row, pixels[row])
                others[number] = not done[number]
            elif batch.is_plain[row]:
                others[number] = False  # Of other channels than the model's: that is fitting.
        if others.any():
            done[others] = decode_pixels(pixels, batch.encoded, rows[others])
        return done

    def _fit_jpegs(
        self, batch: ClaimedImages, rows: npt.NDArray[np.intp], decoded: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.bool_]:
        """Decodes JPEGs and fits them; which of them libjpeg had nothing to say of."""
        places = np.empty((len(rows), 4), np.int64)  # offset, height, width, components
        places[:, 1:3], places[:, 3] = batch.sizes[rows], batch.components[rows]
        ends = np.cumsum(places[:, 1:].prod(axis=1))
        places[:, 0] = [0, *ends[:-1]]
        stored = np.empty(ends[-1], np.uint8)
        done = np.zeros(len(rows), bool)
        for number, (row, (start, *shape)) in enumerate(
            zip(rows.tolist(), places.tolist(), strict=True)
        ):
            into = stored[start : ends[number]].reshape(shape)
            done[number] = _decode_jpeg(batch, row, into)
        fine = rows[done]
        if len(fine):
            decoded[fine] = self._graphs.of_stored(stored, places[done], batch.steps_of(fine))
        return done

    def _fit_files(
        self, batch: ClaimedImages, decoded: npt.NDArray[np.float32], rows: npt.NDArray[np.intp]
    ) -> None:
        """Has TensorFlow decode images and fit them."""
        try:
            images = [batch.encoded[row] for row in rows]
            decoded[rows] = self._graphs.of_files(
                images, batch.sixteen_bit[rows], batch.steps_of(rows)
            )
        except decoder_errors() as error:
            if len(rows) > 1:
                for row in rows:
                    self._fit_files(batch, decoded, rows[rows == row])
            else:
                why = reason_of(error)
                batch.faults[rows[0]] = self._claims.undecodable(batch.encoded[rows[0]], why)

    def _decode_by_pillow(
        self, batch: ClaimedImages, decoded: npt.NDArray[Any], rows: npt.NDArray[np.intp]
    ) -> None:
        """Decodes what Pillow decodes; who fits it to the model is for the specification to say."""
        from transforms.formats.images import pillow

        for row in rows.tolist():
            data, (header, placement) = batch.encoded[row], batch.claims[row]
            try:
                if self._spec.decoder == "pillow":
                    stored = _stored_jpeg(batch, row)
                    decoded[row] = pillow.decode_and_fit(
                        data, header, placement, self._spec, stored
                    )
                else:
                    found = pillow.decode_pixels(data, header)
                    decoded[row] = self._graphs.of_pixels(found, fitting.steps_of(placement))
            except ValueError as error:
                batch.faults[row] = self._claims.undecodable(data, str(error))

    def _in_chunks(
        self,
        work: Callable[[npt.NDArray[np.intp]], None],
        wanted: npt.NDArray[np.bool_],
        sizes: npt.NDArray[np.int64],
    ) -> None:
        """Calls `work` with the numbers of the rows that are wanted, in as many threads as may be.

        Chunks hold no more pixels than a large image, and large images come one at a time, so that
        memory holds one of them, or as much per thread.
        """
        usual = np.flatnonzero(wanted & (sizes <= _LARGE_PIXELS)).tolist()
        most = min(_CHUNK_IMAGES, -(-len(usual) // self._threads))
        chunks: list[list[int]] = []
        held = 0
        for row in usual:
            if not chunks or len(chunks[-1]) == most or held + sizes[row] > _LARGE_PIXELS:
                chunks.append([])
                held = 0
            chunks[-1].append(row)
            held += int(sizes[row])
        self.in_threads(work, map(np.array, chunks))
        for row in np.flatnonzero(wanted & (sizes > _LARGE_PIXELS)):
            work(np.array([row]))

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="decode")


def _decode_jpeg(batch: ClaimedImages, row: int, into: npt.NDArray[np.uint8]) -> bool:
    """Decodes a JPEG; whether libjpeg had nothing to say of it, which else is taken note of.

    Of what it refuses, and of the pixels of what it warns of, TensorFlow and Pillow judge: what
    they decode is explained, as it is in every other program.
    """
    try:
        decode_jpeg(batch.encoded[row], into.shape, into=into)
    except ValueError as error:
        batch.warnings[row] = jpeg_warning(error)
        into[:] = 0
        return False
    return True


def _stored_jpeg(batch: ClaimedImages, row: int) -> npt.NDArray[np.uint8] | None:
    """Pillow's pixels of a JPEG; None of all else, and where libjpeg has something to say."""
    if not batch.is_plain[row]:
        return None
    shape = *batch.sizes[row].tolist(), int(batch.components[row])
    try:
        return decode_jpeg(batch.encoded[row], shape, "accurate")
    except ValueError as error:
        batch.warnings[row] = jpeg_warning(error)
        return None


def _look_for_warnings(batch: ClaimedImages, rows: npt.NDArray[np.intp]) -> None:
    """Takes note of what libjpeg says of JPEGs that others have decoded."""
    for row in rows.tolist():
        shape = *batch.sizes[row].tolist(), int(batch.components[row])
        try:
            decode_jpeg(batch.encoded[row], shape)
        except ValueError as error:
            batch.warnings[row] = jpeg_warning(error)
