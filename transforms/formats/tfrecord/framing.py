"""TFRecord framing: records of a file, one by one, with both checksums verified.

    uint64 length | uint32 its masked CRC-32C | payload | uint32 its masked CRC-32C

all little-endian. A record is *sound* where both checksums hold. It is *corrupt* where only the
length's does and what follows it begins with a length again, or is the end. Everything else up to
the next sound record is a *gap*: it takes one number, whatever it held, so that the numbers of the
records after it depend on the file alone, not on which records were wanted. The format has no end
mark: a file cut exactly between two records cannot be told from a whole one.

Reference: tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import google_crc32c

from transforms.errors import DataFault
from transforms.formats.source import MAX_RECORD_BYTES, Compression
from transforms.formats.tfrecord.resync import CHECKSUM, HEADER, RecordFinder, masked
from transforms.formats.tfrecord.streams import compression_of, open_stream

FRAMING_BYTES = HEADER.size + CHECKSUM.size
"""How much longer a record is in the file than its payload."""


class Frame(NamedTuple):
    """One record as the file has it, or a gap.

    Attributes:
      record: Its number in the file, from 0.
      payload: Its bytes; None where they were damaged or not wanted.
      fault: What is wrong with it.
      size: Bytes it takes of the (decompressed) file, framing included.
      is_gap: Whether it is a gap: how many records were there is unknown.
    """

    record: int
    payload: bytes | None = None
    fault: DataFault | None = None
    size: int = 0
    is_gap: bool = False


def masked_crc(data: bytes) -> int:
    """The masked CRC-32C of TFRecord files.

    >>> hex(masked_crc(b""))
    '0xa282ead8'
    """
    return masked(google_crc32c.value(data))


def begins_record(file: BinaryIO) -> bool:
    """Whether a length with its checksum is what comes next."""
    return _is_header(file.read(HEADER.size))


def detect_compression(file: BinaryIO) -> Compression:
    """Compression of a file that was just opened; it is at its beginning afterwards.

    A record's checksummed length decides first: two bytes of magic may also begin a length.
    """
    head = b""
    while len(head) < HEADER.size and (more := file.read(HEADER.size - len(head))):
        head += more
    file.seek(0)
    return "none" if _is_header(head) else compression_of(head)


def read_frames(file: BinaryIO, compression: Compression = "auto") -> Iterator[Frame]:
    """Yields every record of a file, as `FrameReader` does."""
    return iter(FrameReader(file, compression))


class FrameReader:
    """Every record of a file, in order, good or bad; their sizes add up to the file's.

    Damage never raises. Corrupt records have the fault `CorruptRecord`, those that are longer than
    allowed `RecordTooLarge`; a gap has `LostFraming` or, as the last of a file, `TruncatedRecord`
    or `DamagedStream`. Errors of the file system (OSError) propagate.

    Args:
      file: Opened for reading, at its beginning; seekable when it is not compressed.
      compression: `auto` decides by the first bytes.
      start: Number of a record and the byte at which it begins, in a file that is not compressed.
      wanted: Of a record number: whether its payload is to be read. The others are passed over (in
        uncompressed files by seeking), and their payloads' checksums looked at only where
        the place of the next record depends on it.
      max_record_bytes: Longer records are not read.
      known_offsets: Called at damage: where each record begins and, last, where the file ends, if
        there is an index that says so. Where it agrees with what was read, damage costs the
        record it is in, and there are no gaps.

    Attributes:
      compression: Of the file.
    """

    def __init__(  # noqa: PLR0917 - each is a matter of its own
        self,
        file: BinaryIO,
        compression: Compression = "auto",
        start: tuple[int, int] = (0, 0),
        wanted: Callable[[int], bool] = lambda _: True,
        max_record_bytes: int = MAX_RECORD_BYTES,
        known_offsets: Callable[[], Sequence[int] | None] = lambda: None,
    ) -> None:
        self.compression = detect_compression(file) if compression == "auto" else compression
        self._stream = open_stream(file, self.compression)
        self._first, offset = start
        if offset:
            self._stream.seek(offset)
        self._wanted = wanted
        self._max_record_bytes = max_record_bytes
        self._known_offsets = known_offsets
        self._finder = RecordFinder(self._stream, max_record_bytes)
        self._end_was_told = False

    @property
    def decompressed_bytes(self) -> int:
        """How many bytes decompression has given, whatever records were made out in them."""
        return self._stream.taken

    def __iter__(self) -> Iterator[Frame]:
        for record in itertools.count(self._first):
            frame = self._next_frame(record)
            if frame is None:
                return
            yield frame

    def _next_frame(self, record: int) -> Frame | None:
        """The next record; None at the end of the file."""
        stream = self._stream
        header = stream.read(HEADER.size)
        if not header:
            return self._damaged_end(record)
        if not _is_header(header):
            stream.give_back(header)
            return self._gap(record, stream.offset, None)
        length = HEADER.unpack(header)[0]
        if length > self._max_record_bytes:
            return self._gap(record, stream.offset - HEADER.size, length)
        return self._read_record(record, length)

    def _read_record(self, record: int, length: int) -> Frame:
        """What follows a header that is right."""
        stream = self._stream
        size = length + FRAMING_BYTES
        wanted = self._wanted(record)
        if not wanted and stream.seekable and self._passes(length):
            return Frame(record, size=size)
        payload = stream.read(length)
        trailer = stream.read(CHECKSUM.size)
        if len(trailer) == CHECKSUM.size:
            if masked_crc(payload) == CHECKSUM.unpack(trailer)[0]:
                return Frame(record, payload if wanted else None, size=size)
            if self._a_record_may_follow():
                return Frame(record, None, _corrupt(record, length) if wanted else None, size)
        stream.give_back(payload + trailer)
        return self._gap(record, stream.offset - HEADER.size, length)

    def _passes(self, length: int) -> bool:
        """Passes over a payload if what follows shows that it is one; else does nothing."""
        offset = self._stream.offset
        self._stream.seek(offset + length)
        whole = len(self._stream.read(CHECKSUM.size)) == CHECKSUM.size
        if whole and self._a_record_may_follow():
            return True
        self._stream.seek(offset)
        return False

    def _a_record_may_follow(self) -> bool:
        head = self._stream.peek(HEADER.size)
        return not head or _is_header(head)

    def _gap(self, record: int, begin: int, length: int | None) -> Frame:
        """What begins at a byte and is no sound record, up to the next one that is.

        Args:
          record: Its number.
          begin: Where it begins; the stream is there, or after a header that is right.
          length: What that header says.
        """
        offsets = self._known_offsets() if self._stream.seekable else None
        if offsets is not None and record + 1 < len(offsets) and offsets[record] == begin:
            self._stream.seek(offsets[record + 1])
            return self._indexed(record, offsets[record + 1] - begin, length)
        found = self._finder.pass_to_record()
        size = self._stream.offset - begin
        too_large = length is not None and length > self._max_record_bytes
        if length is None:
            why = f"the length of record {record} does not match its checksum"
        elif too_large:
            why = str(_too_large(record, length, self._max_record_bytes))
        else:
            why = str(_corrupt(record, length))
        fault = _lost(record, why, size, found)
        if length is not None and too_large and size == length + FRAMING_BYTES:
            return Frame(record, None, _too_large(record, length, self._max_record_bytes), size)
        if not found:
            fault = self._fault_at_end(record, size, length) or fault
        return Frame(record, None, fault, size, is_gap=True)

    def _fault_at_end(self, record: int, size: int, length: int | None) -> DataFault | None:
        """Why the file ends with a gap of so many bytes, where it shows that it ends early."""
        if self._stream.fault is not None:
            self._end_was_told = True
            return self._stream.fault
        if length is not None and size < length + FRAMING_BYTES:
            return _truncated(record, f"within its {length} bytes")
        if length is None and size < HEADER.size:
            return _truncated(record, "in its header")
        return None

    def _indexed(self, record: int, size: int, length: int | None) -> Frame:
        """A damaged record of which an index says what it takes."""
        if length is not None and length + FRAMING_BYTES == size:
            if length > self._max_record_bytes:
                return Frame(record, None, _too_large(record, length, self._max_record_bytes), size)
            return Frame(record, None, _corrupt(record, length), size)
        message = f"the length of record {record} is damaged; its index has it take {size} bytes"
        return Frame(record, None, DataFault("read", "LostFraming", message), size)

    def _damaged_end(self, record: int) -> Frame | None:
        """The stream's own fault as the last frame, where no record has told of it."""
        if self._stream.fault is None or self._end_was_told:
            return None
        self._end_was_told = True
        return Frame(record, None, self._stream.fault, is_gap=True)


def _is_header(head: bytes) -> bool:
    """Whether they are 12 bytes, a length and its checksum."""
    return len(head) == HEADER.size and masked_crc(head[:8]) == HEADER.unpack(head)[1]


def _corrupt(record: int, length: int) -> DataFault:
    message = f"the {length} bytes of record {record} do not match their checksum"
    return DataFault("read", "CorruptRecord", message)


def _too_large(record: int, length: int, limit: int) -> DataFault:
    message = f"record {record} claims {length} bytes, more than limits.max_record_bytes ({limit})"
    return DataFault("read", "RecordTooLarge", message)


def _truncated(record: int, where: str) -> DataFault:
    return DataFault("read", "TruncatedRecord", f"the file ends in record {record}, {where}")


def _lost(record: int, why: str, size: int, found: bool) -> DataFault:
    until = f"record {record + 1} was found" if found else "no record was found up to the end"
    return DataFault("read", "LostFraming", f"{why}; {until} after {size} unreadable bytes")
