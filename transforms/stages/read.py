"""ReadBlocks: portions of shards -> blocks, or what is stored of those committed already."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.metrics import Metrics

from transforms.block_coder import AnyBlock, typed
from transforms.elements import Block, CommittedBlock, Portion, Shard
from transforms.filesystems import BeamStorage
from transforms.formats.missing_blocks import DoneBlocks, read_missing_blocks
from transforms.formats.source import InputSpec, SourceSpec
from transforms.models.devices import configure_threads
from transforms.process.metrics import METRICS_NAMESPACE
from transforms.process.prefetch import prefetched
from transforms.process.version import package_version, require_version
from transforms.store.blocks import resumed_blocks


@dataclasses.dataclass(frozen=True)
class Committed:
    """Where blocks that need no explaining may be found.

    Attributes:
      root: The atlas.
      fingerprint: What its blocks must have been made by.
      run: Who reads, and may set aside what it cannot trust; None leaves it where it is.

    >>> Committed("atlases/train", fingerprint="3f2a").root
    'atlases/train'
    """

    root: str
    fingerprint: str
    run: str | None = None


class ReadBlocks(beam.PTransform):
    """Reads `Portion`s into `Block`s, the next one while the current one is being explained.

    A `Shard` is taken for a portion of all its blocks.

    Blocks found committed pass down the same line as `CommittedBlock`s: the stages after this one
    let them through, and no second collection has to be joined (and held in memory) later. A
    portion whose blocks are all committed is not opened.

    Args:
      source: What is in the files.
      inputs: What the model takes.
      block_size: Records a block.
      committed: Where to look for blocks that are done; None explains everything.
      threads: Intra-op threads of TensorFlow, which parses; None leaves its default.

    >>> import os
    >>> import apache_beam as beam
    >>> source = SourceSpec("tfrecord", Features(input="image", id="id", label="label"))
    >>> read = ReadBlocks(source, InputSpec("image", (12, 12, 3)), block_size=8)
    >>> shard = Shard("data/data-0.tfrecord", size=os.path.getsize("data/data-0.tfrecord"))
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     blocks = pipeline | beam.Create([shard]) | read
    ...     _ = blocks | beam.Map(lambda block: print(block.key.number, len(block.examples)))
    0 8
    1 8
    2 3
    """

    def __init__(
        self,
        source: SourceSpec,
        inputs: InputSpec,
        block_size: int,
        committed: Committed | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self._fn = _ReadBlocksFn(source, inputs, block_size, committed, threads)

    def expand(self, portions: beam.PCollection[Portion | Shard]) -> beam.PCollection[AnyBlock]:
        """Attaches the stage; yields `Block`s and `CommittedBlock`s."""
        blocks = portions | "ReadPortion" >> beam.ParDo(self._fn).with_output_types(AnyBlock)
        return typed(blocks, AnyBlock)


class _ReadBlocksFn(beam.DoFn):
    def __init__(
        self,
        source: SourceSpec,
        inputs: InputSpec,
        block_size: int,
        committed: Committed | None,
        threads: int | None,
    ) -> None:
        self._source = source
        self._inputs = inputs
        self._block_size = block_size
        self._committed = committed
        self._threads = threads
        self._launcher_version = package_version()
        self._storage = BeamStorage()
        self._records_read = Metrics.counter(METRICS_NAMESPACE, "records_read")
        self._records_failed = Metrics.counter(METRICS_NAMESPACE, "records_failed")
        self._blocks_resumed = Metrics.counter(METRICS_NAMESPACE, "blocks_resumed")

    def setup(self) -> None:
        require_version(self._launcher_version)
        configure_threads(self._threads)

    def process(self, element: Portion | Shard) -> Iterator[Block | CommittedBlock]:
        portion = element if isinstance(element, Portion) else Portion(element)
        done = DoneBlocks()
        for committed in self._resumed(portion):
            done.add(committed)
            self._blocks_resumed.inc()
            yield committed
        blocks = read_missing_blocks(
            portion, self._source, self._inputs, self._block_size, self._storage, done
        )
        for block in prefetched(blocks):
            self._records_read.inc(block.key.records)
            self._records_failed.inc(len(block.failures))
            yield block

    def _resumed(self, portion: Portion) -> Iterator[CommittedBlock]:
        found = self._committed
        if found is None:
            return iter(())
        return resumed_blocks(found.root, portion, found.fingerprint, self._storage, found.run)
