"""A sample: the examples whose ids have the smallest hashes.

Whether an example is in it depends on its id, and on where the sample ends: not on the order of the
files, on workers or on chance. So readers need to know its end alone, and any run draws the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.ids import id_hashes


@dataclasses.dataclass(frozen=True)
class Sample:
    """All examples up to the last one, ordered by the hash of the id, then by place.

    Attributes:
      id_hash: Of the last one's id, 64 bits.
      folder: Of the file that the last one is in (`Shard.folder`).
      record: The last one's number in it. Both tell examples apart that have the same id.
    """

    id_hash: int
    folder: str
    record: int

    def holds(
        self, folder: str, records: npt.NDArray[np.int64], ids: Sequence[str]
    ) -> npt.NDArray[np.bool_]:
        """(N,) whether each of N examples of a file is in it.

        Args:
          folder: The file's (`Shard.folder`).
          records: (N,) their numbers in it.
          ids: Their ids.

        >>> sample = Sample(id_hash=1 << 63, folder="a", record=0)
        >>> sample.holds("a", np.arange(4), ["cat-1", "cat-2", "cat-3", "cat-4"]).tolist()
        [False, True, True, True]
        """
        hashes = id_hashes(ids)
        last = np.uint64(self.id_hash)
        is_before = (records <= self.record) if folder == self.folder else folder < self.folder
        held: npt.NDArray[np.bool_] = (hashes < last) | ((hashes == last) & is_before)
        return held

    def as_dict(self) -> dict[str, Any]:
        """JSON's types, which `from_dict` takes back."""
        return {"id_hash": f"{self.id_hash:016x}", "folder": self.folder, "record": self.record}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Sample:
        """What `as_dict` gave."""
        return cls(int(stored["id_hash"], 16), stored["folder"], stored["record"])


@dataclasses.dataclass(frozen=True)
class DrawnSample:
    """A sample, and what it is of.

    Attributes:
      size: How many examples were asked for.
      examples: How many there are, by their ids.
      sample: Which of them are in it; None where all are, as there are no more than `size`.
    """

    size: int
    examples: int
    sample: Sample | None

    def __str__(self) -> str:
        """In words.

        >>> str(DrawnSample(100, 4000, Sample(1 << 60, "a", 0)))
        '100 of 4,000 examples, those whose ids have the smallest hashes'
        """
        return sample_in_words(self.size, self.examples)

    def as_dict(self) -> dict[str, Any]:
        """JSON's types, which `from_dict` takes back."""
        last = None if self.sample is None else self.sample.as_dict()
        return {"size": self.size, "examples": self.examples, "last": last}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> DrawnSample:
        """What `as_dict` gave."""
        last = stored["last"]
        sample = None if last is None else Sample.from_dict(last)
        return cls(stored["size"], stored["examples"], sample)


def sample_in_words(size: int, examples: int) -> str:
    """How much of its data a sample is.

    Args:
      size: How many examples were asked for.
      examples: How many there are; all of them are in it where they are no more.
    """
    if examples <= size:
        return f"all {examples:,} examples, as there are no more than {size:,}"
    return f"{size:,} of {examples:,} examples, those whose ids have the smallest hashes"
