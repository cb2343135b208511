"""How much of an input file its blocks account for: exact, and the same in any order.

What is counted is bytes of a TFRecord file (of what it decompresses to, where it is compressed) and
rows of a Parquet file. Of each file

    explained + failed + unreadable + left out = whole

where `whole` is found apart from the records: the listed size, what the decompressor gave, or the
rows that the footer declares.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class ShardEnd:
    """What the end of an input file says of the whole of it.

    Attributes:
      whole: Bytes or rows of the file in all, counted apart from its records; None where a file
        cannot even be opened as what it is.
      broken: Why the file is no whole one, in a sentence; None where it is.
    """

    whole: int | None
    broken: str | None = None


@dataclasses.dataclass(frozen=True)
class Extent:
    """What a block accounts for of its file, in bytes or rows.

    Attributes:
      explained: Of the records that were explained.
      failed: Of the records that failed and whose extent is known.
      unreadable: Of the places where no record could be made out.
      gaps: How many such places there are; each is one failed record, whatever it holds.
      end: Of the file, in its last block.
      left_out: Of the records that a sample leaves out.
    """

    explained: int
    failed: int
    unreadable: int = 0
    gaps: int = 0
    end: ShardEnd | None = None
    left_out: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON's types, which `from_dict` takes back; without what is left out where nothing is."""
        stored = dataclasses.asdict(self)
        if not self.left_out:
            del stored["left_out"]
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Extent:
        """What `as_dict` gave."""
        end = stored["end"]
        return cls(**{**stored, "end": None if end is None else ShardEnd(**end)})


@dataclasses.dataclass(frozen=True)
class ShardAccount:
    """The extents of a file's blocks, added up: a monoid.

    Attributes:
      explained: Bytes or rows of explained records.
      failed: Of failed records whose extent is known.
      unreadable: Of places where no record could be made out.
      gaps: How many such places there are.
      records: Records of the blocks, each gap being one of them.
      end: Of the file; None while its last block is not among them.
      left_out: Of records that a sample leaves out.
    """

    explained: int = 0
    failed: int = 0
    unreadable: int = 0
    gaps: int = 0
    records: int = 0
    end: ShardEnd | None = None
    left_out: int = 0

    @classmethod
    def of(cls, records: int, extent: Extent) -> ShardAccount:
        """The account of one block of so many records."""
        return cls(
            explained=extent.explained,
            failed=extent.failed,
            unreadable=extent.unreadable,
            gaps=extent.gaps,
            records=records,
            end=extent.end,
            left_out=extent.left_out,
        )

    def merge(self, other: ShardAccount) -> ShardAccount:
        """The account of both."""
        return ShardAccount(
            explained=self.explained + other.explained,
            failed=self.failed + other.failed,
            unreadable=self.unreadable + other.unreadable,
            gaps=self.gaps + other.gaps,
            records=self.records + other.records,
            end=self.end or other.end,
            left_out=self.left_out + other.left_out,
        )

    @property
    def estimated_records(self) -> int:
        """How many records the unreadable places may have held, at least one each.

        By the mean length of the file's other records, rounded up; where it has no others, one a
        place. The gaps themselves are among the failed records, so of `records` and `gaps`
        `records - gaps + estimated_records` is how many records there may have been.

        >>> ShardAccount(900, failed=100, unreadable=250, gaps=1, records=11).estimated_records
        3
        """
        others, known = self.records - self.gaps, self.explained + self.failed + self.left_out
        by_length = -(-self.unreadable * others // known) if known else 0
        return max(self.gaps, by_length)

    @property
    def imbalance(self) -> str | None:
        """What does not add up, in a clause; None where everything does."""
        if self.end is None:
            return "its last block is missing"
        total = self.explained + self.failed + self.unreadable + self.left_out
        if self.end.whole in (None, total):
            return None
        left_out = f"+ {self.left_out} left out " if self.left_out else ""
        return (
            f"{self.explained} explained + {self.failed} failed + {self.unreadable} unreadable "
            f"{left_out}= {total}, where the file has {self.end.whole}"
        )
