"""A TFRecord file's bytes in order, whether it is compressed or not.

What is damaged ends a stream; everything before the damage is given first, so what is lost does not
depend on where chunks end.
"""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Callable
from typing import BinaryIO

from transforms.errors import DataFault
from transforms.formats.source import Compression

CHUNK_BYTES = 1 << 20
"""How much is read from the file at once."""

_GZIP_MAGIC = b"\x1f\x8b\x08"
_GZIP_WINDOW = 31
_ZLIB_WINDOW = 15
_ZLIB_DEFLATE = 0x08  # the first byte's method, and its bit for windows above 32 KiB
_ZLIB_DEFLATE_MASK = 0x8F


class Stream:
    """Bytes of which some can be held to look at, and given back after they were read.

    Attributes:
      fault: Why it ended, where it ended before its time.
      taken: How many bytes its source has given.
    """

    def __init__(self, next_chunk: Callable[[], bytes]) -> None:
        """`next_chunk` gives b"" at the end, and may raise DataFault."""
        self._next_chunk = next_chunk
        self._chunk = b""
        self._position = 0
        self._chunk_offset = 0
        self.fault: DataFault | None = None
        self.taken = 0

    @property
    def offset(self) -> int:
        """How many bytes have been passed."""
        return self._chunk_offset + self._position

    @property
    def seekable(self) -> bool:
        """Whether `seek` costs nothing."""
        return False

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
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

    def give_back(self, data: bytes) -> None:
        """Makes the bytes that were read last the next ones again."""
        self._chunk_offset = self.offset - len(data)
        self._chunk = data + self._chunk[self._position :]
        self._position = 0

    def hold(self, size: int) -> tuple[bytes, int]:
        """Some bytes and the position in them from which on they are the next ones.

        There are `size` of them, or more; fewer only at the end.
        """
        held = len(self._chunk) - self._position
        if held < size:
            pieces = [self._chunk[self._position :]]
            while held < size and (piece := self._take_chunk()):
                pieces.append(piece)
                held += len(piece)
            self._chunk_offset = self.offset
            self._chunk, self._position = b"".join(pieces), 0
        return self._chunk, self._position

    def pass_held(self, size: int) -> None:
        """Passes over bytes that are held."""
        self._position += size

    def peek(self, size: int) -> bytes:
        """The next bytes, which remain the next ones."""
        chunk, position = self.hold(size)
        return chunk[position : position + size]

    def seek(self, offset: int) -> None:
        """Goes to a byte; beyond the end shows at the next read. Only where it is seekable."""
        raise io.UnsupportedOperation(f"a stream that is read in order cannot go to byte {offset}")

    def _refill(self) -> bool:
        self._chunk_offset += len(self._chunk)
        self._chunk = self._take_chunk()
        self._position = 0
        return bool(self._chunk)

    def _take_chunk(self) -> bytes:
        if self.fault is not None:
            return b""
        try:
            chunk = self._next_chunk()
        except DataFault as fault:
            self.fault = fault
            return b""
        self.taken += len(chunk)
        return chunk


class _FileStream(Stream):
    """The bytes of a file that is not compressed."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(lambda: file.read(CHUNK_BYTES))
        self._file = file

    @property
    def seekable(self) -> bool:
        return True

    def seek(self, offset: int) -> None:
        if self._chunk_offset <= offset <= self._chunk_offset + len(self._chunk):
            self._position = offset - self._chunk_offset
        else:
            self._file.seek(offset)
            self._chunk, self._position, self._chunk_offset = b"", 0, offset


class _Inflater:
    """Chunks of a gzip or zlib file, decompressed in bounded steps."""

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


def open_stream(file: BinaryIO, compression: Compression) -> Stream:
    """The bytes of a file that is at its beginning, decompressed by a compression that is known."""
    if compression == "gzip":
        return Stream(_Inflater(file, _GZIP_WINDOW))
    if compression == "zlib":
        return Stream(_Inflater(file, _ZLIB_WINDOW))
    return _FileStream(file)


def compression_of(head: bytes) -> Compression:
    """Compression by a file's first bytes, where they do not begin a record.

    >>> compression_of(bytes([0x1F, 0x8B, 8])), compression_of(b"x^"), compression_of(b"PAR1")
    ('gzip', 'zlib', 'none')
    """
    if head.startswith(_GZIP_MAGIC):
        return "gzip"
    # RFC 1950: deflate with a window of up to 32 KiB; the two bytes are a multiple of 31.
    is_deflate = len(head) > 1 and head[0] & _ZLIB_DEFLATE_MASK == _ZLIB_DEFLATE
    if is_deflate and int.from_bytes(head[:2], "big") % 31 == 0:
        return "zlib"
    return "none"
