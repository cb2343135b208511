"""Publishing: the files that finish an atlas, in the order in which they may be relied upon."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from transforms.errors import RunError
from transforms.statistics.groups.slices import LeftOutSlice
from transforms.storage import Storage
from transforms.store.lease_file import check_lease
from transforms.store.manifest import Manifest, write_manifest
from transforms.store.outcome.record import AtlasRecord
from transforms.store.outcome.result import RunResult
from transforms.store.tables import write_table

_LOGGER = logging.getLogger(__name__)

Finish = Callable[[Mapping[str, str]], Manifest]
"""Gives the manifest, knowing the SHA-256 of each table by file name."""


class Published(NamedTuple):
    """What was published: the manifest, and the SHA-256 of each table by file name."""

    manifest: Manifest
    digests: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Publication:
    """What the end of a run needs beside what flowed through it.

    Attributes:
      root: The atlas.
      manifest: What was known when the run began.
      started: Seconds since the epoch when it did.
      max_failed_fraction: Share of records, 0..1, beyond which the run has failed.
      max_broken_files: How many input files may be broken before the run has failed.
      min_records: With fewer records in the input the run has failed.
      min_examples: With fewer examples explained the run has failed.
      run: Names the run, by whose folder everything is written.
      lease: The run's lease, without which nothing is written; None where nobody holds one.
    """

    root: str
    manifest: Manifest
    started: float
    max_failed_fraction: float
    run: str
    max_broken_files: int = 0
    min_records: int = 0
    min_examples: int = 0
    lease: str | None = None

    def finish(
        self,
        record: AtlasRecord,
        digests: Mapping[str, str],
        left_out: Sequence[LeftOutSlice] = (),
    ) -> Manifest:
        """The manifest of the run, which ends now.

        Args:
          record: What its blocks add up to.
          digests: SHA-256 of each table beside the maps, by file name.
          left_out: Slices without statistics.

        Raises:
          RunError: The blocks do not account for all of the input.
        """
        for imbalance in record.imbalances(self.manifest.input_files):
            raise RunError(
                f"{imbalance}; not all of the input is accounted for, so the atlas is not "
                "finished: if the file was changed, put it back and go on with --resume"
            )
        warn_of_left_out(left_out)
        result = RunResult.of(record, digests, self.started, time.time(), left_out)
        over_budget = (
            record.failed_fraction > self.max_failed_fraction
            or len(record.broken_files) > self.max_broken_files
        )
        too_little = (
            result.records_read < self.min_records or result.explained_examples < self.min_examples
        )
        return self.manifest.ended(result, "failed" if over_budget or too_little else "complete")


def warn_of_left_out(slices: Sequence[LeftOutSlice]) -> None:
    """Says which slices have no statistics."""
    for left in slices:
        _LOGGER.warning("statistics: the slice %s is left out, as %s", left.name, left.why)


def publish(
    root: str,
    tables: Mapping[str, pa.Table],
    finish: Finish,
    storage: Storage,
    *,
    run: str,
    lease: str | None = None,
) -> Published:
    """Writes the tables beside the maps, and after all of them the manifest.

    Args:
      root: The atlas.
      tables: By file name.
      finish: Gives the manifest.
      storage: Where the atlas is.
      run: Names the run, by whose folder everything is written.
      lease: The run's lease, looked at before each write; None where nobody holds one.

    Raises:
      RunError: A file cannot be written, or another run has taken over.
    """
    digests = {}
    for name, table in tables.items():
        check_lease(lease, storage)
        digests[name] = write_table(root, name, table, storage, run)
    manifest = finish(digests)
    check_lease(lease, storage)
    write_manifest(root, manifest, storage, run)
    return Published(manifest, digests)
