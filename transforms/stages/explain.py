"""ExplainBlocks: blocks -> explained blocks, with one model per worker process."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any, TypeAlias

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from transforms.block_coder import AnyBlock, typed
from transforms.elements import Block, CommittedBlock, ExplainedBlock, Failure
from transforms.filesystems import BeamStorage
from transforms.process.metrics import METRICS_NAMESPACE
from transforms.process.pending import PendingResults
from transforms.process.version import package_version, require_version
from transforms.saliency.block import BlockExplainer, ExplainSpec, load_explainer
from transforms.saliency.examples import Example, Explanation, explain_examples

_BLOCKS_AT_ONCE = 2

_Place: TypeAlias = tuple[Any, Any, int]
"""Timestamp and window of a block's element, and how many of its records could not be read."""


class ExplainBlocks(beam.PTransform):
    """Explains `Block`s; lets `CommittedBlock`s through.

    Two are explained at once: the first mini-batches of one are decoded while the device has the
    last of the one before, so that it never waits for the end of a block.

    Args:
      spec: Model, target, operator, codec: what an explanation is.
      shared: The handle under which the process keeps its one explainer. A launcher that has
        checked the model passes its own, so that a run in the same process loads nothing twice.

    With `blocks`, those of a shard:

    >>> import apache_beam as beam
    >>> spec = explain_spec("model.keras", InputSpec("image", (12, 12, 3)), "label")
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     explained = pipeline | beam.Create(blocks) | ExplainBlocks(spec)
    ...     _ = explained | beam.Map(lambda block: print(block.key.number, block.table.num_rows))
    0 7
    1 8
    2 3
    """

    def __init__(self, spec: ExplainSpec, shared: Shared | None = None) -> None:
        super().__init__()
        self._fn = _ExplainBlocksFn(spec, shared or Shared())

    def expand(self, blocks: beam.PCollection[AnyBlock]) -> beam.PCollection[AnyBlock]:
        """Attaches the stage; yields `ExplainedBlock`s and `CommittedBlock`s."""
        explain = beam.ParDo(self._fn).with_input_types(AnyBlock).with_output_types(AnyBlock)
        return typed(blocks | "ExplainBlock" >> explain, AnyBlock)


class ExplainExamples(beam.PTransform):
    """Explains a user's own `Example`s: batches them, and gives an `Explanation` per target.

    What cannot be explained comes out under `failures` instead:

        explained = examples | ExplainExamples(explain_spec(...))
        explained.explanations, explained.failures

    Which examples share a batch is the runner's choice, and may move a gradient's last bits.

    Args:
      spec: What an explanation is; `saliency.examples.explain_spec` makes one.
      shared: The handle under which the process keeps its one explainer.

    >>> import apache_beam as beam
    >>> spec = explain_spec("model.keras", InputSpec("image", (12, 12, 3)), {"class": 2})
    >>> examples = [Example("sound", open("0.png", "rb").read()), Example("broken", b"no image")]
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     explained = pipeline | beam.Create(examples) | ExplainExamples(spec)
    ...     _ = explained.explanations | beam.Map(lambda e: print(e.example_id, e.map.shape))
    ...     _ = explained.failures | "Failed" >> beam.Map(lambda f: print(f.example_id, f.error))
    sound (12, 12)
    broken UndecodableImage
    """

    def __init__(self, spec: ExplainSpec, shared: Shared | None = None) -> None:
        super().__init__()
        self._batch_size = spec.program.batch_size
        self._fn = _ExplainExamplesFn(spec, shared or Shared())

    def expand(self, examples: beam.PCollection[Example]) -> beam.pvalue.DoOutputsTuple:
        """Attaches the stage."""
        return (
            examples
            | "Batch"
            >> beam.BatchElements(
                min_batch_size=self._batch_size, max_batch_size=self._batch_size
            ).with_output_types(list[Example])
            | "ExplainBatch"
            >> beam.ParDo(self._fn)
            .with_outputs("failures", main="explanations")
            .with_output_types(object)
        )


def acquire_explainer(spec: ExplainSpec, shared: Shared) -> BlockExplainer:
    """The process's explainer of `spec`, loaded by whoever asks first."""
    explainer = shared.acquire(lambda: load_explainer(spec, BeamStorage()), tag=spec.identity)
    assert isinstance(explainer, BlockExplainer)  # noqa: S101 - tells mypy what Shared holds
    return explainer


class _ExplainBlocksFn(beam.DoFn):
    def __init__(self, spec: ExplainSpec, shared: Shared) -> None:
        self._launcher_version = package_version()
        self._spec = spec
        self._shared = shared
        self._models_loaded = Metrics.counter(METRICS_NAMESPACE, "models_loaded")
        self._examples_explained = Metrics.counter(METRICS_NAMESPACE, "examples_explained")
        self._examples_failed = Metrics.counter(METRICS_NAMESPACE, "examples_failed")
        self._batch_size_halved = Metrics.counter(METRICS_NAMESPACE, "batch_size_halved")
        self._explain_msec = Metrics.distribution(METRICS_NAMESPACE, "explain_block_msec")

    def setup(self) -> None:
        require_version(self._launcher_version)
        self._explainer = acquire_explainer(self._spec, self._shared)
        self._pending = PendingResults[tuple[ExplainedBlock, int], _Place](
            threads=_BLOCKS_AT_ONCE, name="block", most=_BLOCKS_AT_ONCE - 1
        )

    def start_bundle(self) -> None:
        # What a failed bundle left unfinished is made again by its retry.
        self._pending.forget()

    def process(
        self,
        block: Block | CommittedBlock,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[CommittedBlock | WindowedValue]:
        if isinstance(block, CommittedBlock):
            yield block
            return
        if self._explainer.claim_load():  # Counters of `setup` never reach a runner's results.
            self._models_loaded.inc()
        self._pending.submit(
            functools.partial(self._explain, block), (timestamp, window, len(block.failures))
        )
        for (explained, msec), place in self._pending.surplus():
            yield self._counted(explained, msec, place)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for (explained, msec), place in self._pending.rest():
            yield self._counted(explained, msec, place)

    def teardown(self) -> None:
        self._pending.close()

    def _explain(self, block: Block) -> tuple[ExplainedBlock, int]:
        """The block, explained, and how many milliseconds that took."""
        begun = time.monotonic()
        explained = self._explainer.explain(block)
        return explained, int(1000 * (time.monotonic() - begun))

    def _counted(self, explained: ExplainedBlock, msec: int, place: _Place) -> WindowedValue:
        """The block where it belongs, in the metrics, too: those are for the bundle's thread."""
        self._explain_msec.update(msec)
        self._examples_explained.inc(explained.examples)
        halvings = self._explainer.claim_halvings()
        if halvings:  # A counter that is never touched stays out of the results.
            self._batch_size_halved.inc(halvings)
        timestamp, window, unread = place
        self._examples_failed.inc(len(explained.failures) - unread)
        return WindowedValue(explained, timestamp, (window,))


class _ExplainExamplesFn(beam.DoFn):
    def __init__(self, spec: ExplainSpec, shared: Shared) -> None:
        self._launcher_version = package_version()
        self._spec = spec
        self._shared = shared

    def setup(self) -> None:
        require_version(self._launcher_version)
        self._explainer = acquire_explainer(self._spec, self._shared)

    def process(self, batch: list[Example]) -> Iterator[Explanation | beam.pvalue.TaggedOutput]:
        for found in explain_examples(self._explainer, batch):
            if isinstance(found, Failure):
                yield beam.pvalue.TaggedOutput("failures", found)
            else:
                yield from found
