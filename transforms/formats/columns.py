"""From columns of features, as any format has them, to examples: each record checked on its own.

Both formats meet here: a feature of N records is a `Column` of N lists, empty where a record has
no value. What the lists must hold depends on the feature's role only, not on the format.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.elements import BOX_COORDINATES, NO_LABEL, Examples, Failure, Shard
from transforms.errors import DataFault
from transforms.formats.features import INPUT, beside_role, input_role, slice_role
from transforms.formats.roles.faults import RecordFaults
from transforms.formats.roles.labels import LabelReader
from transforms.formats.roles.numbers import numbers_each, one_number_each
from transforms.formats.source import InputSpec, SourceSpec

MAX_SLICE_BYTES = 1024
"""A longer value of a slice is no name of anything."""

BOX_TOLERANCE = 0.01
"""How far beyond 0..1 a coordinate may be, from rounding; it is clipped."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One feature of N records.

    Attributes:
      values: All records' values, one after the other: bytes (dtype object) or numbers.
      splits: (N + 1,) int64; record i has `values[splits[i]:splits[i + 1]]`.
    """

    values: npt.NDArray[Any]
    splits: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, records: int) -> Column:
        """A feature that none of the records has."""
        return cls(np.zeros(0), np.zeros(records + 1, np.int64))

    @classmethod
    def concatenate(cls, columns: Sequence[Column]) -> Column:
        """The feature of all the columns' records."""
        values = [column.values for column in columns if len(column.values)]
        lengths = [column.lengths for column in columns]
        splits = np.concatenate([[0], *lengths]).cumsum(dtype=np.int64)
        return cls(np.concatenate(values) if values else np.zeros(0), splits)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(N,) how many values each record has."""
        return np.diff(self.splits)

    @property
    def bytes(self) -> int:
        """Bytes that all the values take."""
        return sum(map(len, self.values)) if self.is_bytes else self.values.nbytes

    @property
    def row_bytes(self) -> npt.NDArray[np.int64]:
        """(N,) bytes that each record's values take."""
        if not self.is_bytes:
            return self.lengths * self.values.dtype.itemsize
        ends = np.concatenate([[0], np.cumsum([len(value) for value in self.values], dtype=int)])
        return np.diff(ends[self.splits])

    def without(self, rows: Sequence[int]) -> Column:
        """The same with no value in these records."""
        lengths = self.lengths.copy()
        lengths[list(rows)] = 0
        kept = np.ones(len(self.values), bool)
        for row in rows:
            kept[self.splits[row] : self.splits[row + 1]] = False
        splits = np.concatenate([[0], lengths]).cumsum(dtype=np.int64)
        return Column(self.values[kept], splits)

    @property
    def is_bytes(self) -> bool:
        """Whether the values are bytes, not numbers."""
        return self.values.dtype == object

    def __getitem__(self, rows: slice) -> Column:
        start, stop, _ = rows.indices(len(self.splits) - 1)
        splits = self.splits[start : stop + 1]
        return Column(self.values[splits[0] : splits[-1]], splits - splits[0])

    def of(self, row: int) -> npt.NDArray[Any]:
        """The values of one record."""
        return self.values[self.splits[row] : self.splits[row + 1]]


@dataclasses.dataclass(frozen=True)
class Records:
    """Consecutive records of a shard, column by column.

    Attributes:
      first: Number of the first record.
      count: How many there are.
      columns: Role (`Features.named`) -> feature, of all that are configured.
      faults: Row -> what is wrong with that record already.
      available: Of a row: the names of the features its record has, for messages.
    """

    first: int
    count: int
    columns: dict[str, Column]
    faults: dict[int, DataFault]
    available: Callable[[int], Sequence[str]]

    @property
    def bytes(self) -> int:
        """Bytes that all their values take."""
        return sum(column.bytes for column in self.columns.values())


def to_examples(
    shard: Shard, records: Records, source: SourceSpec, input_spec: InputSpec
) -> tuple[Examples, tuple[Failure, ...], tuple[int, ...]]:
    """Converts records to examples and failures, but for those that a sample leaves out.

    A sample leaves out what has an id and is not among it, whatever else is wrong with it. What has
    no id is a failure, with or without a sample.

    Args:
      shard: The file they are from.
      records: What was read.
      source: The features' names, the names of the classes, and the sample.
      input_spec: How many numbers an input has, where inputs are numbers.

    Returns:
      Examples, failures, and the numbers of the records that are left out; each is one of these.
    """
    return _Conversion(shard, records, source, input_spec).run()


class _Conversion:
    """The state of one conversion; the first fault of a record is the one that counts."""

    def __init__(
        self, shard: Shard, records: Records, source: SourceSpec, input_spec: InputSpec
    ) -> None:
        self._shard = shard
        self._records = records
        self._names = source.features.named()
        self._table = source.features.table
        self._slice_names = source.features.slices
        self._beside = source.features.beside
        self._label_reader = LabelReader(source.class_names)
        self._elements = input_spec.elements
        self._sample = source.sample
        self._faults = RecordFaults(records, self._names)

    def run(self) -> tuple[Examples, tuple[Failure, ...], tuple[int, ...]]:
        unread = set(self._records.faults)
        rows_of_table = self._rows_of_table() if self._table else None
        if rows_of_table is None:
            self._check_inputs()
        labels = self._labels()
        ids = self._ids(unread)
        boxes, masks = self._boxes(), self._masks()
        slices = {name: self._slice(slice_role(name)) for name in self._slice_names}
        columns = self._records.columns
        beside = {
            name: numbers_each(columns[beside_role(name)], beside_role(name), self._faults)
            for name, _ in self._beside
        }
        left_out = self._left_out(ids)
        for row in left_out:
            self._faults.of_rows.pop(row, None)
        rows = [
            row
            for row in range(self._records.count)
            if row not in self._faults.of_rows and row not in left_out
        ]
        examples = Examples(
            records=np.array(rows, np.int64) + self._records.first,
            ids=tuple(ids[row] or "" for row in rows),
            inputs=self._inputs(rows) if rows_of_table is None else rows_of_table[rows],
            labels=labels[rows],
            boxes=None if boxes is None else tuple(boxes[row] for row in rows),
            masks=None if masks is None else tuple(masks[row] for row in rows),
            slices={name: tuple(values[row] for row in rows) for name, values in slices.items()},
            beside={name: tuple(values[row] for row in rows) for name, values in beside.items()},
        )
        name = self._shard.name
        failures = tuple(
            Failure(
                shard=name,
                record=self._records.first + row,
                example_id=ids[row],
                stage=fault.stage,
                error=fault.error,
                message=str(fault),
            )
            for row, fault in sorted(self._faults.of_rows.items())
        )
        return examples, failures, tuple(self._records.first + row for row in sorted(left_out))

    def _left_out(self, ids: Sequence[str | None]) -> set[int]:
        """Rows that have an id which is not in the sample."""
        if self._sample is None:
            return set()
        named = np.array([row for row, name in enumerate(ids) if name is not None], np.int64)
        known = [name for name in ids if name is not None]
        held = self._sample.holds(self._shard.folder, self._records.first + named, known)
        return set(named[~held].tolist())

    def _rows_of_table(self) -> npt.NDArray[np.float32]:
        """(N, W) one number of each feature, in the features' order."""
        columns = self._records.columns
        roles = map(input_role, self._table)
        return np.stack([one_number_each(columns[role], role, self._faults) for role in roles], 1)

    def _check_inputs(self) -> None:
        column = self._records.columns[INPUT]
        self._faults.require_values(INPUT)
        if column.is_bytes:
            self._faults.require_one_value(INPUT)
            return
        for row in np.flatnonzero(column.lengths != self._elements).tolist():
            self._faults.fail(
                row,
                "WrongLength",
                f"{self._faults.described(INPUT)} has {column.lengths[row]} numbers; "
                f"source.input.shape takes {self._elements}",
            )

    def _inputs(self, rows: list[int]) -> tuple[bytes, ...] | npt.NDArray[Any]:
        column = self._records.columns[INPUT]
        if column.is_bytes or not rows:
            return tuple(column.values[column.splits[row]] for row in rows)
        starts = column.splits[rows]
        if starts[-1] - starts[0] == (len(rows) - 1) * self._elements:  # nothing to leave out
            dense = column.values[starts[0] : starts[-1] + self._elements]
        else:
            dense = column.values[(starts[:, np.newaxis] + np.arange(self._elements)).ravel()]
        return dense.reshape(len(rows), self._elements)

    def _labels(self) -> npt.NDArray[np.int32]:
        labels = np.full(self._records.count, NO_LABEL, np.int32)
        if "label" not in self._names:
            return labels
        column = self._records.columns["label"]
        self._faults.require_values("label", may_be_empty=True)
        if column.is_bytes:
            self._faults.require_one_value("label")
        for row in np.flatnonzero(column.lengths).tolist():
            try:
                labels[row] = self._label_reader.read(
                    column.of(row), self._faults.described("label")
                )
            except DataFault as fault:
                self._faults.fail(row, fault.error, str(fault))
        return labels

    def _ids(self, unread: set[int]) -> list[str | None]:
        """Ids as far as they are known; for failed records too, which tables name by them."""
        ids: list[str | None] = [None] * self._records.count
        if "id" not in self._names:
            folder = self._shard.folder
            for row in range(self._records.count):
                if row not in unread:
                    ids[row] = f"{folder}:{self._records.first + row}"
            return ids
        column = self._records.columns["id"]
        self._faults.require_values("id")
        self._faults.require_one_value("id")
        if not column.is_bytes and column.values.dtype.kind not in "iu":
            self._faults.fail_kind("id", "a string or an integer")
            return ids
        return known_ids(column)

    def _boxes(self) -> list[npt.NDArray[np.float32]] | None:
        if "boxes" not in self._names:
            return None
        column = self._records.columns["boxes"]
        none = np.zeros((0, BOX_COORDINATES), np.float32)
        if column.is_bytes:
            self._faults.fail_kind("boxes", "a list of numbers")
            return [none] * self._records.count
        boxes: list[npt.NDArray[np.float32]] = []
        for row in range(self._records.count):
            values = column.of(row)
            wrong = _wrong_boxes(values)
            if wrong:
                self._faults.fail(row, "BadBoxes", f"{self._faults.described('boxes')} {wrong}")
                boxes.append(none)
            else:
                clipped = np.clip(values.astype(np.float32), 0, 1)
                boxes.append(clipped.reshape(-1, BOX_COORDINATES))
        return boxes

    def _masks(self) -> list[bytes | None] | None:
        if "mask" not in self._names:
            return None
        column = self._records.columns["mask"]
        masks: list[bytes | None] = [None] * self._records.count
        self._faults.require_one_value("mask")
        if not column.is_bytes:
            self._faults.fail_kind("mask", "a PNG file")
            return masks
        for row in np.flatnonzero(column.lengths == 1).tolist():
            masks[row] = column.values[column.splits[row]]
        return masks

    def _slice(self, role: str) -> list[str | None]:
        column = self._records.columns[role]
        values: list[str | None] = [None] * self._records.count
        self._faults.require_one_value(role)
        kind = column.values.dtype.kind
        if not column.is_bytes and kind not in "biu":
            self._faults.fail_kind(role, "a string, an integer or a boolean")
            return values
        for row in np.flatnonzero(column.lengths == 1).tolist():
            value = column.values[column.splits[row]]
            if not column.is_bytes:
                values[row] = str(value).lower() if kind == "b" else str(value)
            elif len(value) <= MAX_SLICE_BYTES:
                values[row] = _text(value)
            else:
                self._faults.fail(
                    row,
                    "SliceTooLong",
                    f"{self._faults.described(role)} has a value of {len(value)} bytes; a slice's "
                    f"values have at most {MAX_SLICE_BYTES}",
                )
        return values


def known_ids(column: Column) -> list[str | None]:
    """The ids in a column of them; None where there is not one string or integer."""
    ids: list[str | None] = [None] * len(column.lengths)
    if column.is_bytes or column.values.dtype.kind in "iu":
        for row in np.flatnonzero(column.lengths == 1).tolist():
            value = column.values[column.splits[row]]
            ids[row] = _text(value) if column.is_bytes else str(value)
    return ids


def _text(value: bytes) -> str:
    """Bytes as text; what is not UTF-8 is kept as escapes."""
    return value.decode(errors="backslashreplace")


def _wrong_boxes(values: npt.NDArray[Any]) -> str | None:
    """What is wrong with a flat list of boxes; None where nothing is."""
    if len(values) % BOX_COORDINATES:
        return f"has {len(values)} numbers; boxes are [ymin, xmin, ymax, xmax] each"
    boxes = values.reshape(-1, BOX_COORDINATES)
    if not np.isfinite(boxes).all():
        return "holds infinity or NaN"
    if (boxes < -BOX_TOLERANCE).any() or (boxes > 1 + BOX_TOLERANCE).any():
        return f"has coordinates from {boxes.min():g} to {boxes.max():g}; they are in 0..1"
    if (boxes[:, :2] > boxes[:, 2:]).any():
        return "has ymin above ymax or xmin above xmax; boxes are [ymin, xmin, ymax, xmax]"
    return None
