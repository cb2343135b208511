"""WriteBlocks: explained blocks -> committed blocks."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import Any, TypeAlias

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.windowed_value import WindowedValue

from transforms.block_coder import AnyBlock, typed
from transforms.elements import CommittedBlock, ExplainedBlock
from transforms.filesystems import BeamStorage
from transforms.models.devices import usable_cores
from transforms.process.metrics import METRICS_NAMESPACE
from transforms.process.pending import PendingResults
from transforms.store.blocks import commit_block
from transforms.store.budget import FailureBudget
from transforms.store.lease_file import run_folder

_MOST_THREADS = 8
_MOST_BYTES = 1 << 29  # of the tables that wait, unless it is one

_Place: TypeAlias = tuple[Any, Any]
"""Timestamp and window of a block's element."""


class WriteBlocks(beam.PTransform):
    """Commits one file a block, several at once, while the next ones are being explained.

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

    def expand(self, blocks: beam.PCollection[AnyBlock]) -> beam.PCollection[CommittedBlock]:
        """Attaches the stage; of `ExplainedBlock`s and `CommittedBlock`s."""
        commit = beam.ParDo(self._fn).with_input_types(AnyBlock).with_output_types(CommittedBlock)
        return typed(blocks | "CommitBlock" >> commit, CommittedBlock)


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
        # Encoding takes less than a quarter of the host's work, so this many threads keep up.
        threads = min(max(1, usable_cores() // 4), _MOST_THREADS)
        self._pending = PendingResults[CommittedBlock, _Place](
            threads, "commit", most=threads, most_bytes=_MOST_BYTES
        )

    def start_bundle(self) -> None:
        # What a failed bundle left unfinished is made again by its retry.
        self._pending.forget()

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
        commit = functools.partial(self._commit, block)
        self._pending.submit(commit, (timestamp, window), block.table.nbytes)
        for committed, place in self._pending.surplus():
            yield self._counted(committed, place)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for committed, place in self._pending.rest():
            yield self._counted(committed, place)

    def teardown(self) -> None:
        self._pending.close()

    def _commit(self, block: ExplainedBlock) -> CommittedBlock:
        committed = commit_block(
            self._root, block, self._fingerprint, self._storage, self._attempt, self._lease
        )
        return dataclasses.replace(committed, time_span=(block.started, time.time()))

    def _counted(self, committed: CommittedBlock, place: _Place) -> WindowedValue:
        """The block where it belongs, in the metrics, too: those are for the bundle's thread."""
        self._blocks_committed.inc()
        self._map_bytes.inc(committed.stored_bytes)
        timestamp, window = place
        return WindowedValue(committed, timestamp, (window,))
