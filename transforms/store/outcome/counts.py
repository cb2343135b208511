"""What a run adds up to: a monoid over its blocks, exact in any order."""

from __future__ import annotations

import dataclasses

from transforms.elements import CommittedBlock


@dataclasses.dataclass(frozen=True)
class RunCounts:
    """Counts of an atlas, and of the part of it that this run made.

    Attributes:
      records_read: Records of all blocks; `explained_examples` + `failed_records` +
        `left_out_records`.
      explained_examples: Examples with at least one map.
      failed_records: Records and examples with a failure.
      warned_images: Explained examples whose image libjpeg warns of.
      maps: Rows of the maps tables.
      blocks: Committed blocks.
      map_bytes: Bytes of their files.
      digest: Sum of the files' digests, modulo 2^64: the same in any order.
      blocks_made: Blocks that this run explained, rather than found.
      examples_made: Examples in them.
      begun: Seconds since the epoch when the first of them began; infinity for none.
      ended: Seconds since the epoch when the last of them was committed; minus infinity for none.
      left_out_records: Records that a sample leaves out.
      nameless_failures: Failed records whose id could not be read.
    """

    records_read: int = 0
    explained_examples: int = 0
    failed_records: int = 0
    warned_images: int = 0
    maps: int = 0
    blocks: int = 0
    map_bytes: int = 0
    digest: int = 0
    blocks_made: int = 0
    examples_made: int = 0
    begun: float = float("inf")
    ended: float = float("-inf")
    left_out_records: int = 0
    nameless_failures: int = 0

    @classmethod
    def of(cls, block: CommittedBlock) -> RunCounts:
        """The counts of one block."""
        made = block.time_span is not None
        begun, ended = block.time_span or (float("inf"), float("-inf"))
        return cls(
            records_read=block.key.records,
            explained_examples=block.examples,
            failed_records=len(block.failures),
            warned_images=len(block.warnings),
            maps=block.summary.num_rows,
            blocks=1,
            map_bytes=block.stored_bytes,
            digest=block.digest,
            blocks_made=int(made),
            examples_made=block.examples if made else 0,
            begun=begun,
            ended=ended,
            left_out_records=block.left_out,
            nameless_failures=sum(failure.example_id is None for failure in block.failures),
        )

    def merge(self, other: RunCounts) -> RunCounts:
        """The counts of both."""
        return RunCounts(
            records_read=self.records_read + other.records_read,
            explained_examples=self.explained_examples + other.explained_examples,
            failed_records=self.failed_records + other.failed_records,
            warned_images=self.warned_images + other.warned_images,
            maps=self.maps + other.maps,
            blocks=self.blocks + other.blocks,
            map_bytes=self.map_bytes + other.map_bytes,
            digest=(self.digest + other.digest) % (1 << 64),
            blocks_made=self.blocks_made + other.blocks_made,
            examples_made=self.examples_made + other.examples_made,
            begun=min(self.begun, other.begun),
            ended=max(self.ended, other.ended),
            left_out_records=self.left_out_records + other.left_out_records,
            nameless_failures=self.nameless_failures + other.nameless_failures,
        )

    @property
    def examples_per_second(self) -> float | None:
        """Of this run, from the first block's beginning to the last commit; None for none."""
        seconds = self.ended - self.begun
        return self.examples_made / seconds if self.blocks_made and seconds > 0 else None
