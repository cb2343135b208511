"""How many rows may be decoded at once: small pages of a Parquet file may hold very much.

A dictionary holds a value once, however many rows have it, and prefixes of a delta encoding are
shared: 72 KB may decode to 12 GB. What bounds a value is its dictionary page (whose header says its
size, which decoding relies on too) and the uncompressed size that the footer declares.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.formats.parquet.watched_file import WatchedFile

ARROW_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What Arrow raises for damage.

OSError is its name for a page it cannot decode, UnicodeDecodeError that of a damaged column's.
"""

_BATCHES_PER_BLOCK = 8  # what is decoded at once, beside the block, takes an eighth of its limit
_USUAL_EXPANSION = 16  # times the bytes in the file; more than that is suspicious where it is large
_UNEVENNESS = 4  # times a row's mean size

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
_HEADER_BYTES = 64  # of a page, at least as far as is read here
_DICTIONARY_PAGE = 2
_THRIFT_NEXT_I32 = 0x15  # a field of 32 bits whose number is one more than the last one's


@dataclasses.dataclass(frozen=True)
class DecodingBound:
    """How a row group may be decoded.

    Attributes:
      batch_rows: Rows at once, at least 1.
      batch_bytes: Bytes at once, where they are more than one row.
      refusal: Why it cannot be decoded within the limit at all, in a clause; None where it can.
    """

    batch_rows: int
    batch_bytes: int
    refusal: str | None = None


def bound_decoding(  # noqa: PLR0917 - what is read, and how much
    file: WatchedFile,
    parquet: pq.ParquetFile,
    group: int,
    names: Sequence[str],
    most_rows: int,
    limit: int,
) -> DecodingBound:
    """Bounds what decoding columns of a row group takes.

    Args:
      file: The file.
      parquet: The same, opened.
      group: The row group's index.
      names: Columns, or dotted paths into them.
      most_rows: Rows at once where they are small.
      limit: Bytes that a block may hold.
    """
    metadata = parquet.metadata.row_group(group)
    batch_bytes = limit // _BATCHES_PER_BLOCK
    row_bytes = 0
    for number in range(metadata.num_columns):
        chunk = metadata.column(number)
        path = chunk.path_in_schema
        if not any(path == name or path.startswith(f"{name}.") for name in names):
            continue
        longest = _longest_value(file, chunk)
        declared = chunk.total_uncompressed_size
        repeated = parquet.schema.column(number).max_repetition_level > 0
        decoded = declared + chunk.num_values * max(longest, _WIDTHS.get(chunk.physical_type, 0))
        suspicious = decoded if repeated else max(declared, longest)
        if suspicious > limit and suspicious > _USUAL_EXPANSION * chunk.total_compressed_size:
            return DecodingBound(
                1,
                batch_bytes,
                f"column {path!r} may decode from {chunk.total_compressed_size} bytes to "
                f"{suspicious}, more than limits.max_block_bytes ({limit})",
            )
        mean = (decoded if repeated else declared) // max(1, metadata.num_rows)
        row_bytes += max(longest, _UNEVENNESS * mean)
    return DecodingBound(max(1, min(most_rows, batch_bytes // max(1, row_bytes))), batch_bytes)


def gathered(
    batches: Iterator[pa.RecordBatch], most_rows: int, most_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Joins small batches, as each one's conversion has a price, to few rows and bytes.

    Of an error, what precedes it is given first.
    """
    waiting: list[pa.RecordBatch] = []
    rows = held = 0
    error = None
    while True:
        try:
            batch = next(batches, None)
            if batch is not None:
                batch.validate()  # damage may decode to lists that are longer than their values
        except ARROW_ERRORS as raised:
            batch, error = None, raised
        end = batch is None or rows + batch.num_rows > most_rows or held + batch.nbytes > most_bytes
        if waiting and end:
            yield waiting[0] if len(waiting) == 1 else pa.concat_batches(waiting)
            waiting, rows, held = [], 0, 0
        if batch is None:
            break
        waiting.append(batch)
        rows, held = rows + batch.num_rows, held + batch.nbytes
    if error is not None:
        raise error


def _longest_value(file: WatchedFile, chunk: pq.ColumnChunkMetaData) -> int:
    """Bytes that a value may have without being in the file at that length; 0 where none may."""
    if chunk.physical_type != "BYTE_ARRAY":
        return 0
    if "DELTA_BYTE_ARRAY" in chunk.encodings:
        return int(chunk.total_uncompressed_size)
    begin = chunk.data_page_offset
    if chunk.dictionary_page_offset is not None:
        begin = min(begin, chunk.dictionary_page_offset)
    file.seek(begin)
    return _dictionary_bytes(file.read(_HEADER_BYTES), chunk.total_uncompressed_size)


def _dictionary_bytes(header: bytes, otherwise: int) -> int:
    """The size of a dictionary by its page's header; 0 for another page.

    It is in Thrift's compact protocol; `otherwise` is returned where it is not as expected.
    """
    fields = []
    position = 0
    for _ in range(2):  # the page's type, its uncompressed size
        if header[position : position + 1] != bytes([_THRIFT_NEXT_I32]):
            return otherwise
        position += 1
        value = shift = 0
        while True:
            if position >= len(header):
                return otherwise
            value |= (header[position] & 0x7F) << shift
            shift += 7
            position += 1
            if header[position - 1] < 0x80:  # noqa: PLR2004 - the last byte of a number
                break
        fields.append(value >> 1 ^ -(value & 1))
    kind, size = fields
    return size if kind == _DICTIONARY_PAGE else 0
