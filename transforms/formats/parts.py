"""What a format's reader gives of a block, before its records become examples."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from transforms.errors import RunError
from transforms.extents import ShardEnd
from transforms.formats.columns import Records


@dataclasses.dataclass(frozen=True)
class Part:
    """The records of one block.

    Attributes:
      number: The block's.
      records: Its records.
      sizes: (N,) int64, what each of them takes of the file: bytes, or 1 for a row of Parquet.
      gaps: Numbers of the records that are gaps.
      end: Of the file, if it ends with this block.
    """

    number: int
    records: Records
    sizes: npt.NDArray[np.int64]
    gaps: tuple[int, ...] = ()
    end: ShardEnd | None = None


@dataclasses.dataclass
class BlockBudget:
    """What the blocks of a shard may hold.

    Attributes:
      path: Of the shard.
      block_size: Records a block.
      limit: Bytes a block.
    """

    path: str
    block_size: int
    limit: int
    _held: int = 0

    def begin_block(self) -> None:
        """Nothing is held any more."""
        self._held = 0

    def add(self, held: int, number: int) -> None:
        """Notes that a block holds so many bytes more.

        Raises:
          RunError: It holds more than it may.
        """
        self._held += held
        self.check(self._held, number)

    def check(self, held: int, number: int) -> None:
        """Sees that so many bytes are not more than a block may hold.

        Raises:
          RunError: They are.
        """
        if held > self.limit:
            raise RunError(
                f"block {number} of {self.path} holds more than limits.max_block_bytes "
                f"({self.limit}) in {self.block_size} records or fewer: make output.block_size "
                "smaller, or limits.max_block_bytes larger where memory allows"
            )
