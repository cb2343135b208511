"""PublishAtlas: what finishes an atlas, written by the graph rather than by its launcher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apache_beam as beam
from apache_beam.pvalue import AsIter

from transforms.elements import CommittedBlock
from transforms.filesystems import BeamStorage
from transforms.statistics.groups.sums import AtlasSums
from transforms.store.manifest import Manifest
from transforms.store.map_format import MapFormat
from transforms.store.outcome.record import AtlasRecord
from transforms.store.publishing import Publication, publish
from transforms.store.tables import final_tables


class PublishAtlas(beam.PTransform):
    """Writes statistics and failures, and after both of them the manifest.

    A launcher may exit once it has submitted: the atlas is finished all the same. Only sums cross
    a side input.

    Args:
      publication: What the end of the run needs beside its blocks.
      map_format: What is stored of a map.
      class_names: Names by class index, or empty.
      statistics: Sums, from AggregateStatistics.

    With `committed`, the blocks of `WriteBlocks`, and `job`, what `pipeline.run.job` made of a
    configuration:

    >>> import apache_beam as beam
    >>> map_format = job.explain.map_format
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     blocks = pipeline | beam.Create(committed)
    ...     statistics = blocks | AggregateStatistics(map_format)
    ...     manifest = blocks | PublishAtlas(job.publication, map_format, (), statistics)
    ...     _ = manifest | beam.Map(lambda manifest: print(manifest.result.maps))
    18
    """

    def __init__(
        self,
        publication: Publication,
        map_format: MapFormat,
        class_names: Sequence[str],
        statistics: beam.PCollection[tuple[int, AtlasSums]],
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
            | "Record"
            >> beam.CombineGlobally(
                AtlasRecordCombineFn(self._publication.manifest.has_given_ids)
            ).without_defaults()
            | "WriteAtlas"
            >> beam.Map(
                _write_atlas,
                self._publication,
                AsIter(self._statistics),
                self._map_format,
                self._class_names,
            ).with_output_types(Manifest)
        )


class AtlasRecordCombineFn(beam.CombineFn):
    """Adds blocks up in one traversal: each step of a graph costs milliseconds to build and run."""

    def __init__(self, with_ids: bool) -> None:
        self._with_ids = with_ids

    def create_accumulator(self) -> AtlasRecord:
        """The record of no blocks."""
        return AtlasRecord(self._with_ids)

    def add_input(self, accumulator: AtlasRecord, block: CommittedBlock) -> AtlasRecord:
        """Adds a block in place."""
        accumulator.add(block)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[AtlasRecord]) -> AtlasRecord:
        """Adds records up."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: AtlasRecord) -> AtlasRecord:
        """The record."""
        return accumulator


def _write_atlas(
    record: AtlasRecord,
    publication: Publication,
    parts: Iterable[tuple[int, AtlasSums]],
    map_format: MapFormat,
    class_names: Sequence[str],
) -> Manifest:
    sums = map_format.no_sums()
    for _, part in parts:
        sums.merge(part)
    statistics = sums.tables(class_names)
    return publish(
        publication.root,
        final_tables(statistics, record.failures(), publication.manifest.sample),
        lambda digests: publication.finish(record, digests, statistics.left_out),
        BeamStorage(),
        run=publication.run,
        lease=publication.lease,
    ).manifest
