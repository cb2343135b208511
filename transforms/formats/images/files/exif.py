"""Which way up an image is, as its file says (EXIF, tag 274).

Whatever is missing, damaged or no orientation means that the image is upright as it is stored.
References: EXIF 2.3, section 4.5; PNG (W3C), eXIf; the WebP container.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from transforms.formats.images.files.headers import ImageKind, jpeg_segments
from transforms.formats.images.files.tiff import ORIENTATION, read_directory
from transforms.formats.images.geometry import TURNS, UPRIGHT

_EXIF = b"Exif\0\0"
_JPEG_APPLICATION = 0xE1
_PNG_FIRST_CHUNK, _RIFF_FIRST_CHUNK = 8, 12


def orientation(data: bytes, kind: ImageKind) -> int:
    """The orientation of an encoded image, 1 to 8.

    Args:
      data: The file.
      kind: What it is.
    """
    try:
        for found in _exif_data(data, kind):
            tags = read_directory(found)
            if ORIENTATION in tags:
                number = tags[ORIENTATION]
                return number if number in TURNS else UPRIGHT
    except (IndexError, ValueError, struct.error):
        pass  # A picture is not lost for what is said about it.
    return UPRIGHT


def _exif_data(data: bytes, kind: ImageKind) -> Iterator[bytes]:
    """Whatever may be EXIF data in a file, each from the first byte of its TIFF header on."""
    if kind == "JPEG":
        for marker, start, end in jpeg_segments(data):
            if marker == _JPEG_APPLICATION and data[start:end].startswith(_EXIF):
                yield data[start + len(_EXIF) : end]
    elif kind == "PNG":
        yield from _chunks(data, _PNG_FIRST_CHUNK, b"eXIf", "big")
    elif kind == "WebP":
        for found in _chunks(data, _RIFF_FIRST_CHUNK, b"EXIF", "little"):
            yield found.removeprefix(_EXIF)
    elif kind == "TIFF":
        yield data


def _chunks(data: bytes, start: int, wanted: bytes, order: str) -> Iterator[bytes]:
    """The content of a file's chunks of one name: PNG's (big), or RIFF's (little endian)."""
    length = struct.Struct(">I" if order == "big" else "<I")
    while start + 8 <= len(data):
        named = data[start + 4 : start + 8] if order == "big" else data[start : start + 4]
        (size,) = length.unpack_from(data, start if order == "big" else start + 4)
        if named == wanted:
            yield data[start + 8 : start + 8 + size]
        start += 12 + size if order == "big" else 8 + size + size % 2
