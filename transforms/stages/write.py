"""WriteBlocks: explained blocks -> committed blocks."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.windowed_value import WindowedValue

from transforms.elements import CommittedBlock, ExplainedBlock
from transforms.filesystems import BeamStorage
from transforms.process.metrics import METRICS_NAMESPACE
from transforms.store.blocks import commit_block
from transforms.store.budget import FailureBudget
from transforms.store.lease_file import run_folder


class WriteBlocks(beam.PTransform):
    """Commits one file a block, while the next block is being explained.

    Args:
      root: The atlas.
      fingerprint: Of the settings and model, stored in every file.
      attempt: Names the run, by whose folder of temporary files everything is written.
      lease: The run's lease, without which nothing is written; None where nobody holds one.
      budget: How many records may fail, as far as a worker can tell; None does not ask.
      folder_is_made: Whether the folder has been made, once and for all: then nothing is written
        any more after somebody has deleted it. Else each worker makes it.

    With `explained`, the blocks of `ExplainBlocks`:

    >>> import apache_beam as beam
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     written = pipeline | beam.Create(explained) | WriteBlocks("atlases/mine", "3f2a", "1")
    ...     _ = written | beam.Map(lambda block: print(block.key.number, block.examples))
    0 7
    1 8
    2 3
    """

    def __init__(
        self,
        root: str,
        fingerprint: str,
        attempt: str,
        lease: str | None = None,
        budget: FailureBudget | None = None,
        *,
        folder_is_made: bool = False,
    ) -> None:
        super().__init__()
        self._fn = _WriteBlocksFn(
            root, fingerprint, attempt, lease, budget, folder_is_made=folder_is_made
        )

    def expand(
        self, blocks: beam.PCollection[ExplainedBlock | CommittedBlock]
    ) -> beam.PCollection[CommittedBlock]:
        """Attaches the stage."""
        return blocks | "CommitBlock" >> beam.ParDo(self._fn).with_output_types(CommittedBlock)


@dataclasses.dataclass(frozen=True)
class _Pending:
    """A block that is being committed, and where its element belongs."""

    commit: concurrent.futures.Future[CommittedBlock]
    timestamp: Any
    window: Any

    def result(self) -> WindowedValue:
        return WindowedValue(self.commit.result(), self.timestamp, (self.window,))


class _WriteBlocksFn(beam.DoFn):
    def __init__(
        self,
        root: str,
        fingerprint: str,
        attempt: str,
        lease: str | None,
        budget: FailureBudget | None,
        *,
        folder_is_made: bool,
    ) -> None:
        self._folder_is_made = folder_is_made
        self._budget = budget
        self._failed = 0
        self._root = root
        self._fingerprint = fingerprint
        self._attempt = attempt
        self._lease = lease
        self._storage = BeamStorage()
        self._blocks_committed = Metrics.counter(METRICS_NAMESPACE, "blocks_committed")
        self._map_bytes = Metrics.counter(METRICS_NAMESPACE, "map_bytes")

    def setup(self) -> None:
        if not self._folder_is_made:
            self._storage.make_folder(run_folder(self._root, self._attempt))
        # One thread: a block is written while the next is explained, and no more than one waits.
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "commit")
        self._pending: _Pending | None = None

    def start_bundle(self) -> None:
        # What a failed bundle left unfinished is made again by its retry.
        self._pending = None

    def process(
        self,
        block: ExplainedBlock | CommittedBlock,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[CommittedBlock | WindowedValue]:
        self._failed += len(block.failures)
        if self._budget is not None:
            self._budget.check(self._failed)
        if isinstance(block, CommittedBlock):
            yield block
            return
        previous = self._pending
        self._pending = _Pending(self._writer.submit(self._commit, block), timestamp, window)
        if previous is not None:
            yield self._finished(previous)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            yield self._finished(pending)

    def teardown(self) -> None:
        self._writer.shutdown(wait=True)

    def _commit(self, block: ExplainedBlock) -> CommittedBlock:
        committed = commit_block(
            self._root, block, self._fingerprint, self._storage, self._attempt, self._lease
        )
        return dataclasses.replace(committed, time_span=(block.started, time.time()))

    def _finished(self, pending: _Pending) -> WindowedValue:
        windowed = pending.result()
        self._blocks_committed.inc()
        self._map_bytes.inc(windowed.value.stored_bytes)
        return windowed
