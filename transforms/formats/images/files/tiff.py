"""The first directory of a TIFF file, which is also what EXIF data are: tags and their numbers.

Reference: TIFF 6.0, section 2. Nothing but the directory is read, so what a file claims to hold can
be looked at before anything is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES = 256, 257, 258, 262, 274, 277
TILE_WIDTH, TILE_HEIGHT = 322, 323

MAGIC = (b"II*\0", b"MM\0*")

_ENTRY_BYTES = 12
_SHORT, _LONG = 3, 4  # types of numbers: 16 and 32 bits
_WANTED = (
    WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, TILE_WIDTH, TILE_HEIGHT,
)  # fmt: skip


def read_directory(data: bytes) -> Mapping[int, int]:
    """The first number of each tag that is needed here, of those that are there.

    Args:
      data: From the first byte of the TIFF file on.

    Raises:
      ValueError: The data do not begin as a TIFF file does.
      struct.error: The directory is cut short.
    """
    found: dict[int, int] = {}
    for tag, number, place in _entries(data):
        (found[tag],) = struct.unpack_from(number, data, place)
    return found


def without_orientation(data: bytes) -> bytes:
    """The same file with an orientation of 1, so that whoever decodes it turns nothing."""
    for tag, number, place in _entries(data):
        if tag == ORIENTATION:
            upright = struct.pack(number, 1)
            return data[:place] + upright + data[place + len(upright) :]
    return data


def _entries(data: bytes) -> Iterator[tuple[int, str, int]]:
    """Tags that are needed, each with the format of its first number and where that is."""
    if data[:4] not in MAGIC:
        raise ValueError("it does not begin as a TIFF file does")
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for place in range(start + 2, start + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
        tag, kind, values = struct.unpack_from(f"{order}HHI", data, place)
        if tag not in _WANTED or kind not in (_SHORT, _LONG) or not values:
            continue
        number, size = ("H", 2) if kind == _SHORT else ("I", 4)
        value = place + 8
        if values * size > 4:  # noqa: PLR2004 - more than an entry itself has room for
            (value,) = struct.unpack_from(f"{order}I", data, value)
        yield tag, f"{order}{number}", value
