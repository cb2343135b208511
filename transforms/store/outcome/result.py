"""What a run came to, as its manifest says."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from transforms.statistics.groups.slices import LeftOutSlice
from transforms.storage import to_text
from transforms.store.outcome.record import AtlasRecord


class Part(pydantic.BaseModel):
    """A part of a manifest: immutable, and nothing in it but what it names."""

    model_config = pydantic.ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


class InputAccount(Part):
    """How much of an input file the atlas accounts for.

    What is counted is bytes of a TFRecord file (of what it decompresses to, where it is
    compressed), and rows of a Parquet file.

    Attributes:
      path: Absolute path or URI.
      whole: All of it, counted apart from its records; None where it cannot be opened.
      explained: Of records that were explained.
      failed: Of records that failed and whose extent is known.
      unreadable: Of places where no record could be made out.
      gaps: How many such places there are; each is one failed record.
      left_out: Of records that a sample leaves out.
    """

    path: str
    whole: int | None
    explained: int
    failed: int
    unreadable: int
    gaps: int
    left_out: int = 0  # older atlases have no samples


class BrokenFile(Part):
    """An input file that is no whole one, and why."""

    path: str
    why: str


class RecordedWarning(Part):
    """An image of an input file that libjpeg warns of, and what it says."""

    path: str
    record: int
    message: str


class RecordedLeftOut(Part):
    """A slice that the statistics leave out, and why."""

    slice: str
    why: str


class RunResult(Part):
    """What a run came to.

    Attributes:
      records_read: `explained_examples` + `failed_records` + `left_out_records`.
      explained_examples: Examples with at least one map.
      failed_records: Records and examples with a failure.
      left_out_records: Records that a sample leaves out.
      unreadable_records_estimated: How many records the places that cannot be read may have held,
        by the mean length of their file's others.
      failed_fraction: The share, 0..1, of records that failed, or may have been where no record can
        be made out, in all that there may have been.
      inputs: What is accounted for of each input file, by path.
      broken_files: Input files that are no whole ones.
      warned_images: Explained examples whose JPEG libjpeg decodes with a warning: its data may be
        damaged, and its pixels then are not those that were encoded.
      first_warnings: The first of them, by path and record.
      duplicate_ids: Examples whose id another one before them has; None where there are too many
        ids to compare.
      slices_left_out: Slices without statistics, as they have too many values.
      maps: Rows of the maps tables.
      blocks: Committed blocks.
      map_bytes: Size of their files.
      maps_digest: Sum of the files' digests, modulo 2^64, in hex.
      blocks_resumed: Blocks that earlier runs had committed.
      wall_seconds: From the beginning of this run to its manifest.
      examples_per_second: Explained by this run, start-up excluded; None where nothing was left.
      finished: When, in ISO 8601.
      digests: SHA-256 of each table beside the maps, by file name.
    """

    records_read: int
    explained_examples: int
    failed_records: int
    left_out_records: int = 0
    unreadable_records_estimated: int
    failed_fraction: float
    inputs: list[InputAccount]
    broken_files: list[BrokenFile]
    warned_images: int = 0  # older atlases did not count them
    first_warnings: list[RecordedWarning] = pydantic.Field(default_factory=list)
    duplicate_ids: int | None
    slices_left_out: list[RecordedLeftOut] = pydantic.Field(default_factory=list)
    maps: int
    blocks: int
    map_bytes: int
    maps_digest: str
    blocks_resumed: int
    wall_seconds: float
    examples_per_second: float | None
    finished: str
    digests: dict[str, str]

    @classmethod
    def of(
        cls,
        record: AtlasRecord,
        digests: Mapping[str, str],
        started: float,
        ended: float,
        left_out: Sequence[LeftOutSlice] = (),
    ) -> RunResult:
        """The result of a run that has ended.

        Args:
          record: What its blocks add up to.
          digests: SHA-256 of each table beside the maps, by file name.
          started: Seconds since the epoch.
          ended: Seconds since the epoch.
          left_out: Slices without statistics.
        """
        counts = record.counts
        return cls(
            **counted(record, left_out),
            blocks_resumed=counts.blocks - counts.blocks_made,
            wall_seconds=round(ended - started, 3),
            examples_per_second=counts.examples_per_second,
            finished=timestamp(ended),
            digests=dict(digests),
        )


def counted(record: AtlasRecord, left_out: Sequence[LeftOutSlice] = ()) -> dict[str, Any]:
    """What a manifest says of an atlas's blocks, whoever counts them and when.

    Args:
      record: What they add up to.
      left_out: Slices without statistics.
    """
    counts = record.counts
    return {
        "records_read": counts.records_read,
        "explained_examples": counts.explained_examples,
        "failed_records": counts.failed_records,
        "left_out_records": counts.left_out_records,
        "unreadable_records_estimated": record.unreadable_records_estimated,
        "failed_fraction": record.failed_fraction,
        "inputs": [
            InputAccount(
                path=to_text(path),
                whole=None if account.end is None else account.end.whole,
                explained=account.explained,
                failed=account.failed,
                unreadable=account.unreadable,
                gaps=account.gaps,
                left_out=account.left_out,
            )
            for path, account in sorted(record.accounts.items())
        ],
        "broken_files": [
            BrokenFile(path=to_text(path), why=why) for path, why in record.broken_files.items()
        ],
        "warned_images": counts.warned_images,
        "first_warnings": [
            RecordedWarning(path=to_text(path), record=warning.record, message=warning.message)
            for path, warning in record.warnings
        ],
        "duplicate_ids": record.duplicate_ids(),
        "slices_left_out": [RecordedLeftOut(slice=one.name, why=one.why) for one in left_out],
        "maps": counts.maps,
        "blocks": counts.blocks,
        "map_bytes": counts.map_bytes,
        "maps_digest": f"{counts.digest:016x}",
    }


def timestamp(seconds: float) -> str:
    """Seconds since the epoch in ISO 8601.

    >>> timestamp(0)
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()
