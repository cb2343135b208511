"""What is wrong with records: the first fault of each is the one that counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from transforms.errors import DataFault
from transforms.formats.features import describe

if TYPE_CHECKING:
    from transforms.formats.columns import Records


class RecordFaults:
    """The faults of consecutive records: those that they were read with, and those found since.

    Args:
      records: What was read.
      names: Role -> name of the features that are configured.

    Attributes:
      of_rows: Row -> what is wrong with that record.
    """

    def __init__(self, records: Records, names: Mapping[str, str]) -> None:
        self._records = records
        self._names = names
        self._known: dict[tuple[str, str], DataFault] = {}
        self.of_rows = dict(records.faults)

    def require_values(self, role: str, *, may_be_empty: bool = False) -> None:
        """Sees that every record has a feature and, unless it may be empty, a value of it."""
        name = self._names[role]
        for row in np.flatnonzero(self._records.columns[role].lengths == 0).tolist():
            if row in self.of_rows:
                continue
            available = self._records.available(row)
            if may_be_empty and name in available:
                continue
            why = (
                f"{self.described(role)} has no value"
                if name in available
                else f"there is no {self.described(role)}; "
                f"there are: {', '.join(available) or 'none'}"
            )
            self.fail(row, "MissingFeature", why)

    def require_one_value(self, role: str) -> None:
        """Sees that no record has several values of a feature."""
        lengths = self._records.columns[role].lengths
        for row in np.flatnonzero(lengths > 1).tolist():
            self.fail(
                row,
                "SeveralValues",
                f"{self.described(role)} has {lengths[row]} values where one is meant",
            )

    def fail_kind(self, role: str, wanted: str) -> None:
        """Fails all records that have a value of a feature, as it is of another kind."""
        column = self._records.columns[role]
        kind = "bytes" if column.is_bytes else "numbers"
        for row in np.flatnonzero(column.lengths).tolist():
            self.fail(row, "WrongFeatureKind", f"{self.described(role)} holds {kind}, not {wanted}")

    def fail(self, row: int, error: str, message: str) -> None:
        """Notes what is wrong with a record, unless something is already."""
        # One fault for all that fail alike: a file may hold millions of nulls.
        fault = self._known.get((error, message))
        if fault is None:
            fault = self._known[error, message] = DataFault("parse", error, message)
        self.of_rows.setdefault(row, fault)

    def described(self, role: str) -> str:
        """The feature of a role, for messages."""
        return describe(role, self._names[role])
