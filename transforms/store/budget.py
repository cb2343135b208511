"""The failures that a run may have: it stops once they are certain to be too many."""

from __future__ import annotations

import dataclasses

from transforms.errors import RunError


@dataclasses.dataclass(frozen=True)
class FailureBudget:
    """How many records may fail.

    Attributes:
      max_fraction: As a share, 0..1, of all records.
      most_records: How many records there are at most.
    """

    max_fraction: float
    most_records: int

    def check(self, failed: int) -> None:
        """Sees that the budget can still be met.

        Args:
          failed: How many records have failed, of those that somebody has seen.

        Raises:
          RunError: They are too many, whatever becomes of all others.
        """
        # The very division by which a run's end is judged: 0.29 * 100 is less than 29.
        if failed and failed / max(1, self.most_records) > self.max_fraction:
            raise RunError(
                f"{failed} records have failed already, of {self.most_records} at most, more than "
                f"failures.max_fraction allows ({self.max_fraction}); failed records are in the "
                "blocks that are committed, and --resume with --set failures.max_fraction=1.0 "
                "goes on from them"
            )
