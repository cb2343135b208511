"""Parquet rows -> columns: only the columns and row groups that are needed, a few rows at a time.

Parquet knows how many rows each row group has. So what lies in a damaged one becomes that many
faults, and the next one goes on with the right record numbers.
"""

from __future__ import annotations

import dataclasses
import io
import struct
from collections.abc import Container, Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.errors import DataFault
from transforms.extents import ShardEnd
from transforms.formats.columns import Column, Records
from transforms.formats.features import Features, describe, slice_role
from transforms.formats.parquet.arrow_columns import UnusableTypeError, to_column
from transforms.formats.parquet.bounds import ARROW_ERRORS, bound_decoding, gathered
from transforms.formats.parquet.pieces import cut, join
from transforms.formats.parquet.watched_file import WatchedFile
from transforms.formats.parts import BlockBudget

_BATCH_ROWS = 256  # decoded at a time, so that a large row group never is as a whole
_BUFFER_BYTES = 1 << 20  # of a column read at a time, for the same reason

_TAIL = struct.Struct("<I4s")  # of a file: its footer's length, then magic bytes as it begins with


def read_records(  # noqa: PLR0917 - as the reader hands them on
    file: BinaryIO,
    features: Features,
    block_size: int,
    skip: Container[int],
    max_record_bytes: int,
    budget: BlockBudget,
) -> Iterator[tuple[int, Records, ShardEnd | None]]:
    """Yields the blocks of a file that are not to be skipped: number, records, the file's end.

    Row groups that lie in skipped blocks are not read; a row group is lost from its first
    unreadable batch on (`UnreadableRowGroup`). Errors of the file system propagate.

    Raises:
      DataFault: The file as a whole cannot be read (stage `read`, `UnreadableFile`).
    """
    watched = WatchedFile(file)
    parquet, schema = _open_checked(watched)
    groups = _RowGroups(watched, parquet, schema, features, max_record_bytes, budget.limit)
    yield from _blocks(groups, _group_rows(parquet), block_size, skip, budget)


def count_records(file: BinaryIO) -> int:
    """How many rows a file has, by its footer.

    Raises:
      DataFault: As `read_records` has it.
    """
    return sum(_group_rows(_open_checked(WatchedFile(file))[0]))


def _open_checked(watched: WatchedFile) -> tuple[pq.ParquetFile, pa.Schema]:
    try:
        parquet = _open(watched)
        schema = parquet.schema_arrow
        if any(_holds_fixed_size_list(kind) for kind in schema.types):
            parquet = _open(watched, _metadata_without_arrow_schema(watched))
    except ARROW_ERRORS as error:
        watched.check()
        raise _unreadable_file(_sentence(error)) from error
    rows = _group_rows(parquet)
    if sum(rows) != parquet.metadata.num_rows or any(count < 0 for count in rows):
        raise _unreadable_file("its row groups do not add up to its rows")
    return parquet, schema


def _group_rows(parquet: pq.ParquetFile) -> list[int]:
    return [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]


def _open(watched: WatchedFile, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    return pq.ParquetFile(
        watched,
        metadata=metadata,
        buffer_size=_BUFFER_BYTES,
        pre_buffer=False,
        page_checksum_verification=True,
    )


def _holds_fixed_size_list(kind: pa.DataType) -> bool:
    """Whether the type or one below it is a fixed-size list or a fixed-shape tensor."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    if isinstance(kind, pa.FixedSizeListType):
        return True
    return any(_holds_fixed_size_list(kind.field(i).type) for i in range(kind.num_fields))


def _metadata_without_arrow_schema(watched: WatchedFile) -> pq.FileMetaData:
    """The footer without Arrow's own copy of the schema, so that fixed-size lists are plain ones.

    Of a fixed-size list that is null, Arrow can write the Parquet form but not read it: it refuses
    the whole row group ("Expected all lists to be of size"). As a plain list it is but a null.
    """
    watched.seek(-_TAIL.size, io.SEEK_END)
    tail = watched.read(_TAIL.size)
    length, magic = _TAIL.unpack(tail)
    watched.seek(-_TAIL.size - length, io.SEEK_END)
    footer = watched.read(length).replace(b"ARROW:schema", b"arrow-schema")  # of the same length
    return pq.read_metadata(io.BytesIO(magic + footer + tail))


def _blocks(
    groups: _RowGroups,
    rows: Sequence[int],
    block_size: int,
    skip: Container[int],
    budget: BlockBudget,
) -> Iterator[tuple[int, Records, ShardEnd | None]]:
    """Cuts row groups of so many rows into blocks."""
    total = sum(rows)
    if total == 0 and 0 not in skip:
        yield 0, groups.without_values(0, 0), ShardEnd(0)
    first = 0
    pending: list[Records] = []
    for group, count in enumerate(rows):
        numbers = range(first // block_size, -(-(first + count) // block_size))
        wanted = [number for number in numbers if number not in skip]
        if wanted:
            for records in groups.read(group, first, count, min(block_size, _BATCH_ROWS)):
                if records.first // block_size > wanted[-1]:
                    break
                for piece in cut(records, block_size):
                    number, end = piece.first // block_size, piece.first + piece.count
                    if number in skip:
                        continue
                    pending.append(piece)
                    budget.add(piece.bytes, number)
                    if end % block_size == 0 or end == total:
                        budget.begin_block()
                        yield number, join(pending), ShardEnd(total) if end == total else None
                        pending.clear()
        first += count


@dataclasses.dataclass(frozen=True)
class _Selected:
    """A configured feature that the file has.

    Attributes:
      role: What it is for.
      name: As configured.
      column: The top-level column.
      fields: The fields that lead into it, of a struct.
      kind: Its type as the file declares it, which may be richer than the one it is read as.
    """

    role: str
    name: str
    column: str
    fields: Sequence[str]
    kind: pa.DataType


class _RowGroups:
    """The row groups of an open file."""

    def __init__(  # noqa: PLR0917 - what is read, and what may be read of it
        self,
        watched: WatchedFile,
        parquet: pq.ParquetFile,
        schema: pa.Schema,
        features: Features,
        max_record_bytes: int,
        max_block_bytes: int,
    ) -> None:
        self._watched = watched
        self._parquet = parquet
        self._max_record_bytes = max_record_bytes
        self._max_block_bytes = max_block_bytes
        self._roles = list(features.named())
        self._selected = _select(schema, features)
        self._names = [name for field in schema for name in _field_names(field)]
        self._absent = self._ambiguous(schema, features) or self._absent_slice(features)

    def _ambiguous(self, schema: pa.Schema, features: Features) -> DataFault | None:
        """The fault of every record where two columns have the name of one that is wanted."""
        for role, name in features.named().items():
            column = name if name in schema.names else name.split(".")[0]
            if schema.names.count(column) > 1:
                why = f"{describe(role, name)} is the name of several columns; rename all but one"
                return DataFault("parse", "AmbiguousFeature", why)
        return None

    def _absent_slice(self, features: Features) -> DataFault | None:
        """The fault of every record where a slice is no column; null is a value, that is not."""
        found = {selected.role for selected in self._selected}
        for name in features.slices:
            if slice_role(name) not in found:
                described = describe(slice_role(name), name)
                names = ", ".join(self._names) or "none"
                why = f"there is no {described}; there are: {names}"
                return DataFault("parse", "MissingFeature", why)
        return None

    def read(self, group: int, first: int, count: int, batch_rows: int) -> Iterator[Records]:
        """Records of one row group; those that cannot be read have a fault each.

        Args:
          group: Its index.
          first: Number of its first record.
          count: Its rows, as the file's metadata have it.
          batch_rows: Rows to read at a time.
        """
        if not self._selected:
            yield from self._in_batches(first, count, batch_rows, self._absent)
            return
        done = 0
        columns = sorted({selected.name for selected in self._selected})
        try:
            bound = bound_decoding(
                self._watched, self._parquet, group, columns, batch_rows, self._max_block_bytes
            )
            if bound.refusal is not None:
                message = f"row group {group} is not read, as {bound.refusal}"
                fault = DataFault("read", "RowGroupTooLarge", message)
                yield from self._in_batches(first, count, batch_rows, fault)
                return
            batches = self._parquet.iter_batches(
                batch_size=bound.batch_rows, row_groups=[group], columns=columns, use_threads=False
            )
            batches = gathered(batches, batch_rows, bound.batch_bytes)
            while done < count:
                batch = next(batches, None)
                if batch is None:
                    raise pa.ArrowInvalid(f"it has {done} rows where {count} are declared")
                records = self._to_records(batch[: count - done], first + done)
                yield records
                done += records.count
        except ARROW_ERRORS as error:
            self._watched.check()
            fault = DataFault(
                "read",
                "UnreadableRowGroup",
                f"row group {group} cannot be read from its row {done} on: {_sentence(error)}",
            )
            yield from self._in_batches(first + done, count - done, batch_rows, fault)

    def without_values(self, first: int, count: int, fault: DataFault | None = None) -> Records:
        """Records of which nothing is known but, where given, the fault."""
        columns = dict.fromkeys(self._roles, Column.empty(count))
        faults = {row: fault for row in range(count) if fault is not None}
        return Records(first, count, columns, faults, lambda _: self._names)

    def _in_batches(
        self, first: int, count: int, batch_rows: int, fault: DataFault | None
    ) -> Iterator[Records]:
        for start in range(0, count, batch_rows):
            yield self.without_values(first + start, min(batch_rows, count - start), fault)

    def _to_records(self, batch: pa.RecordBatch, first: int) -> Records:
        records = self.without_values(first, batch.num_rows, self._absent)
        for selected in self._selected:
            array = batch.column(batch.schema.get_field_index(selected.column))
            for field in selected.fields:
                array = pc.struct_field(array, field)
            described = describe(selected.role, selected.name)
            try:
                _check_order(selected.kind)
                column, with_nulls = to_column(array)
            except UnusableTypeError as error:
                fault = DataFault("parse", "WrongFeatureKind", f"{described} {error}")
                records.faults.update(dict.fromkeys(range(batch.num_rows), fault))
                continue
            if column.bytes > self._max_record_bytes:  # else none of the rows can be too large
                column = self._without_large(column, described, records)
            records.columns[selected.role] = column
            null = DataFault("parse", "NullValue", f"{described} holds a null among its values")
            for row in with_nulls:
                records.faults.setdefault(row, null)
        return records

    def _without_large(self, column: Column, described: str, records: Records) -> Column:
        """The column without the rows that are too large, which become faults."""
        large = np.flatnonzero(column.row_bytes > self._max_record_bytes).tolist()
        limit = f"limits.max_record_bytes ({self._max_record_bytes})"
        fault = DataFault("read", "RecordTooLarge", f"{described} is longer than {limit}")
        records.faults.update(dict.fromkeys(large, fault))
        return column.without(large)


def _select(schema: pa.Schema, features: Features) -> list[_Selected]:
    """Finds features by their whole name first, then by their dotted path."""
    selected = []
    for role, name in features.named().items():
        column, *fields = [name] if name in schema.names else name.split(".")
        kind = _type_of(schema, column, fields)
        if kind is not None:
            selected.append(_Selected(role, name, column, fields, kind))
    return selected


def _type_of(schema: pa.Schema, column: str, fields: Sequence[str]) -> pa.DataType | None:
    index = schema.get_field_index(column)  # -1 also where two columns share the name
    if index < 0:
        return None
    kind = schema.field(index).type
    for field in fields:
        if not pa.types.is_struct(kind) or kind.get_field_index(field) < 0:
            return None
        kind = kind.field(field).type
    return kind


def _check_order(kind: pa.DataType) -> None:
    """Refuses tensors whose values are not in row order."""
    permutation = kind.permutation if isinstance(kind, pa.FixedShapeTensorType) else None
    if permutation is not None and list(permutation) != sorted(permutation):
        raise UnusableTypeError("is a tensor with permuted axes; store it in row order")


def _field_names(field: pa.Field) -> list[str]:
    """A column's name, and below a struct the dotted names of its fields."""
    if not pa.types.is_struct(field.type):
        return [field.name]
    return [f"{field.name}.{name}" for child in field.type for name in _field_names(child)]


def _unreadable_file(why: str) -> DataFault:
    return DataFault("read", "UnreadableFile", f"the Parquet file cannot be read: {why}")


def _sentence(error: Exception) -> str:
    """Arrow's message, on one line."""
    return " ".join(str(error).split())
