"""Frames of records, written by their definition, and read."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable

from transforms.formats.source import Compression
from transforms.formats.tfrecord.framing import Frame, FrameReader, masked_crc

PACK: dict[Compression, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
}


def framed(payloads: list[bytes]) -> bytes:
    """Frames by the definition in TensorFlow's record_writer.h."""
    frames = []
    for payload in payloads:
        length = struct.pack("<Q", len(payload))
        frames += [length, struct.pack("<I", masked_crc(length))]
        frames += [payload, struct.pack("<I", masked_crc(payload))]
    return b"".join(frames)


def read(data: bytes, compression: Compression = "auto", **options: object) -> list[Frame]:
    return list(FrameReader(io.BytesIO(data), compression, **options))  # type: ignore[arg-type]


def errors(frames: list[Frame]) -> list[str | None]:
    return [frame.fault.error if frame.fault else None for frame in frames]
