"""TFRecord framing: records of a file, one by one, with both checksums verified.

    uint64 length | uint32 its masked CRC-32C | payload | uint32 its masked CRC-32C

all little-endian. The length has a checksum of its own, so after a damaged payload the next record
is still found; after a damaged length nothing is, and the shard ends. The format has no end mark: a
file cut exactly between two records cannot be told from a whole one.

Reference: tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import contextlib
import dataclasses
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

import google_crc32c

from transforms.errors import DataFault
from transforms.formats.source import MAX_RECORD_BYTES, Compression

CHUNK_BYTES = 1 << 20
"""How much is read from the file at once."""

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
FRAMING_BYTES = _HEADER.size + _CHECKSUM.size
"""How much longer a record is in the file than its payload."""

_GZIP_MAGIC = b"\x1f\x8b\x08"
_GZIP_WINDOW = 31
_ZLIB_WINDOW = 15
_ZLIB_DEFLATE = 0x08  # the first byte's method, and its bit for windows above 32 KiB
_ZLIB_DEFLATE_MASK = 0x8F


@dataclasses.dataclass(frozen=True)
class Frame:
    """One record as the file has it.

    Attributes:
      record: Its number in the file, from 0.
      payload: Its bytes; None where they were damaged or not wanted.
      fault: What is wrong with it. The file ends after every fault but `CorruptRecord`.
    """

    record: int
    payload: bytes | None = None
    fault: DataFault | None = None


def masked_crc(data: bytes) -> int:
    """The masked CRC-32C of TFRecord files: rotated right by 15 bits, plus a constant.

    >>> hex(masked_crc(b""))
    '0xa282ead8'
    """
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def begins_record(file: BinaryIO) -> bool:
    """Whether a length with its checksum is what comes next."""
    head = file.read(_HEADER.size)
    return len(head) == _HEADER.size and masked_crc(head[:8]) == _HEADER.unpack(head)[1]


def is_compressed(file: BinaryIO) -> bool:
    """Whether a file that was just opened is compressed; it is at its beginning afterwards."""
    compression = _detect_compression(file.read(_HEADER.size))
    file.seek(0)
    return compression != "none"


def read_frames(
    file: BinaryIO,
    compression: Compression = "auto",
    start: tuple[int, int] = (0, 0),
    wanted: Callable[[int], bool] = lambda _: True,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Frame]:
    """Yields every record of a file, in order, good or bad.

    Damage never raises: a record with a damaged payload has the fault `CorruptRecord`, and reading
    goes on; `LostFraming`, `TruncatedRecord` and `DamagedStream` are the last record. Errors
    of the file system (OSError) propagate.

    Args:
      file: Opened for reading, at its beginning; seekable when it is not compressed.
      compression: `auto` decides by the first bytes.
      start: Number of a record and the byte at which it begins, in a file that is not compressed.
      wanted: Of a record number: whether its payload is to be read. The others are passed
        over (in uncompressed files by seeking) without looking at their payloads' checksums.
      max_record_bytes: Longer records are `LostFraming`.
    """
    record, offset = start
    stream = _open_stream(file, compression)
    if offset:
        stream.skip(offset)
    while True:
        try:
            frame = _read_frame(stream, record, wanted(record), max_record_bytes)
        except DataFault as fault:
            yield Frame(record, fault=fault)
            return
        if frame is None:
            return
        yield frame
        record += 1


def _read_frame(stream: _Stream, record: int, wanted: bool, max_record_bytes: int) -> Frame | None:
    """The next record; None at the end of the file. Raises DataFault where the file breaks."""
    header = stream.read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise _truncated(record, "in its header")
    length, checksum = _HEADER.unpack(header)
    if masked_crc(header[:8]) != checksum:
        raise DataFault(
            "read",
            "LostFraming",
            f"the length of record {record} does not match its checksum; "
            "where the next record begins is unknown, so the shard ends here",
        )
    if length > max_record_bytes:
        raise DataFault(
            "read",
            "LostFraming",
            f"record {record} claims {length} bytes, more than limits.max_record_bytes "
            f"({max_record_bytes}), so the shard ends here",
        )
    if not wanted:
        stream.skip(length)
        if len(stream.read(_CHECKSUM.size)) < _CHECKSUM.size:
            raise _truncated(record, f"within its {length} bytes")
        return Frame(record)
    payload = stream.read(length)
    trailer = stream.read(_CHECKSUM.size)
    if len(trailer) < _CHECKSUM.size:
        raise _truncated(record, f"within its {length} bytes")
    if masked_crc(payload) != _CHECKSUM.unpack(trailer)[0]:
        fault = DataFault(
            "read",
            "CorruptRecord",
            f"the {length} bytes of record {record} do not match their checksum",
        )
        return Frame(record, fault=fault)
    return Frame(record, payload)


def _truncated(record: int, where: str) -> DataFault:
    return DataFault("read", "TruncatedRecord", f"the file ends in record {record}, {where}")


class _Stream(Protocol):
    """Bytes in order."""

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""

    def skip(self, size: int) -> None:
        """Passes over `size` bytes; going beyond the end shows at the next read."""


class _Buffered:
    """A stream over chunks of bytes, of any sizes."""

    def __init__(self, next_chunk: Callable[[], bytes]) -> None:
        """`next_chunk` gives b"" at the end, and may raise DataFault."""
        self._next_chunk = next_chunk
        self._chunk = b""
        self._position = 0

    def read(self, size: int) -> bytes:
        end = self._position + size
        if end <= len(self._chunk):
            piece = self._chunk[self._position : end]
            self._position = end
            return piece
        pieces = []
        while size > 0:
            if self._position == len(self._chunk) and not self._refill():
                break
            piece = self._chunk[self._position : self._position + size]
            self._position += len(piece)
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        while size > 0:
            if self._position == len(self._chunk) and not self._refill():
                break
            step = min(size, len(self._chunk) - self._position)
            self._position += step
            size -= step

    def _refill(self) -> bool:
        self._chunk = self._next_chunk()
        self._position = 0
        return bool(self._chunk)


class _BufferedFile(_Buffered):
    """A stream over a seekable file."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(lambda: file.read(CHUNK_BYTES))
        self._file = file

    def skip(self, size: int) -> None:
        held = len(self._chunk) - self._position
        if size <= held:
            self._position += size
        else:
            self._file.seek(size - held, 1)
            self._chunk, self._position = b"", 0


class _Inflater:
    """Chunks of a gzip or zlib file, decompressed in bounded steps.

    Everything before the first damaged byte is given before the fault is raised, so what is lost
    does not depend on where chunks end.
    """

    def __init__(self, file: BinaryIO, window: int) -> None:
        self._file = file
        self._window = window
        self._inflater = zlib.decompressobj(window)
        self._input = b""
        self._within_member = False
        self._after_member = False
        self._fault: DataFault | None = None

    def __call__(self) -> bytes:
        """The next chunk, b"" at the end; raises DataFault where the stream is damaged."""
        while self._fault is None:
            if self._inflater.eof:
                self._end_member()
            self._input = self._input or self._file.read(CHUNK_BYTES)
            at_end = not self._input
            if at_end and not self._within_member:
                return b""
            if self._after_member and self._window == _GZIP_WINDOW:
                self._input = self._input.lstrip(b"\0")  # members may be padded
                if not self._input:
                    continue
            chunk = self._inflate(at_end)
            if chunk:
                return chunk
        raise self._fault

    def _end_member(self) -> None:
        self._input = self._inflater.unused_data
        self._inflater = zlib.decompressobj(self._window)
        self._within_member = False
        self._after_member = True

    def _inflate(self, at_end: bool) -> bytes:
        """What the input gives next; sets the fault where it gives no more."""
        self._within_member, self._after_member = True, False
        before = self._inflater.copy()
        try:
            chunk = self._inflater.decompress(self._input, CHUNK_BYTES)
        except zlib.error as error:
            self._fault = _damaged(str(error))
            return self._salvage(before)
        self._input = self._inflater.unconsumed_tail
        if at_end:
            self._fault = _damaged("it ends before its end mark")
        return chunk

    def _salvage(self, inflater: zlib._Decompress) -> bytes:
        """What precedes the damage: zlib drops it when it finds both in one call."""
        pieces = []
        with contextlib.suppress(zlib.error):
            for position in range(len(self._input)):
                pieces.append(inflater.decompress(self._input[position : position + 1]))
        return b"".join(pieces)


def _damaged(how: str) -> DataFault:
    return DataFault("read", "DamagedStream", f"the compressed stream is damaged: {how}")


def _open_stream(file: BinaryIO, compression: Compression) -> _Stream:
    if compression == "auto":
        compression = _detect_compression(_BufferedFile(file).read(_HEADER.size))
        file.seek(0)
    if compression == "gzip":
        return _Buffered(_Inflater(file, _GZIP_WINDOW))
    if compression == "zlib":
        return _Buffered(_Inflater(file, _ZLIB_WINDOW))
    return _BufferedFile(file)


def _detect_compression(head: bytes) -> Compression:
    """Compression by a file's first 12 bytes.

    A record's checksummed length decides first: two bytes of magic may also begin a length.
    """
    if len(head) == _HEADER.size and masked_crc(head[:8]) == _HEADER.unpack(head)[1]:
        return "none"
    if head.startswith(_GZIP_MAGIC):
        return "gzip"
    # RFC 1950: deflate with a window of up to 32 KiB; the two bytes are a multiple of 31.
    is_deflate = len(head) > 1 and head[0] & _ZLIB_DEFLATE_MASK == _ZLIB_DEFLATE
    if is_deflate and int.from_bytes(head[:2], "big") % 31 == 0:
        return "zlib"
    return "none"
