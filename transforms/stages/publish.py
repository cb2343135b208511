"""PublishAtlas: what finishes an atlas, written by the graph rather than by its launcher."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import apache_beam as beam
from apache_beam.pvalue import AsIter

from transforms.elements import CommittedBlock, Failure
from transforms.filesystems import BeamStorage
from transforms.statistics.classes import ClassRow
from transforms.store.counts import RunCounts, merge_counts
from transforms.store.manifest import Manifest
from transforms.store.map_format import MapFormat
from transforms.store.publishing import Publication, publish
from transforms.store.tables import final_tables

_Sums = tuple[RunCounts, list[Failure]]


class PublishAtlas(beam.PTransform):
    """Writes statistics and failures, and after both of them the manifest.

    A launcher may exit once it has submitted: the atlas is finished all the same. Only class
    rows cross a side input.

    Args:
      publication: What the end of the run needs beside its blocks.
      map_format: What is stored of a map.
      class_names: Names by class index, or empty.
      statistics: One row a class, from AggregateByClass.

    With `committed`, the blocks of `WriteBlocks`, and `job`, what `pipeline.run.job` made of a
    configuration:

    >>> import apache_beam as beam
    >>> map_format = job.explain.map_format
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     blocks = pipeline | beam.Create(committed)
    ...     statistics = blocks | AggregateByClass(map_format.sketch_shape, map_format.with_boxes)
    ...     manifest = blocks | PublishAtlas(job.publication, map_format, (), statistics)
    ...     _ = manifest | beam.Map(lambda manifest: print(manifest.result.maps))
    18
    """

    def __init__(
        self,
        publication: Publication,
        map_format: MapFormat,
        class_names: Sequence[str],
        statistics: beam.PCollection[tuple[int, ClassRow]],
    ) -> None:
        super().__init__()
        self._publication = publication
        self._map_format = map_format
        self._class_names = tuple(class_names)
        self._statistics = statistics

    def expand(self, blocks: beam.PCollection[CommittedBlock]) -> beam.PCollection[Manifest]:
        """Attaches the stage; yields the manifest."""
        return (
            blocks
            # A shard has at least one block, so there is a record.
            | "Record" >> beam.CombineGlobally(RunRecordCombineFn()).without_defaults()
            | "WriteAtlas"
            >> beam.Map(
                _write_atlas,
                self._publication,
                AsIter(self._statistics),
                self._map_format,
                self._class_names,
            ).with_output_types(Manifest)
        )


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What the end of a run needs to know of its blocks."""

    counts: RunCounts
    failures: tuple[Failure, ...]


class RunRecordCombineFn(beam.CombineFn):
    """Adds blocks up in one traversal: each step of a graph costs milliseconds to build and run."""

    def create_accumulator(self) -> _Sums:
        """The record of no blocks."""
        return RunCounts(), []

    def add_input(self, accumulator: _Sums, block: CommittedBlock) -> _Sums:
        """Adds a block."""
        counts, failures = accumulator
        failures.extend(block.failures)
        return counts.merge(RunCounts.of(block)), failures

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        """Adds records up."""
        parts = list(accumulators)
        counts = merge_counts(counts for counts, _ in parts)
        return counts, [failure for _, failures in parts for failure in failures]

    def extract_output(self, accumulator: _Sums) -> RunRecord:
        """The record."""
        counts, failures = accumulator
        return RunRecord(counts, tuple(failures))


def _write_atlas(
    record: RunRecord,
    publication: Publication,
    classes: Iterable[tuple[int, ClassRow]],
    map_format: MapFormat,
    class_names: Sequence[str],
) -> Manifest:
    return publish(
        publication.root,
        final_tables(classes, record.failures, map_format, class_names),
        lambda digests: publication.finish(record.counts, digests),
        BeamStorage(),
        run=publication.run,
        lease=publication.lease,
    ).manifest
