"""PublishAtlas: what finishes an atlas, written by the graph rather than by its launcher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apache_beam as beam
from apache_beam.pvalue import AsIter

from transforms.filesystems import BeamStorage
from transforms.store.manifest import Manifest
from transforms.store.outcome.summary import AtlasSummary
from transforms.store.publishing import Publication, publish
from transforms.store.tables import final_tables


class PublishAtlas(beam.PTransform):
    """Writes statistics and failures, and after both of them the manifest.

    A launcher may exit once it has submitted: the atlas is finished all the same. Only sums cross
    a side input.

    Args:
      publication: What the end of the run needs beside its blocks.
      class_names: Names by class index, or empty.

    With `committed`, the blocks of `WriteBlocks`, and `job`, what `pipeline.run.job` made of a
    configuration:

    >>> import apache_beam as beam
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     blocks = pipeline | beam.Create(committed)
    ...     parts = blocks | AggregateStatistics(job.explain.map_format, with_ids=True)
    ...     manifest = parts | PublishAtlas(job.publication)
    ...     _ = manifest | beam.Map(lambda manifest: print(manifest.result.maps))
    18
    """

    def __init__(self, publication: Publication, class_names: Sequence[str] = ()) -> None:
        super().__init__()
        self._publication = publication
        self._class_names = tuple(class_names)

    def expand(
        self, parts: beam.PCollection[tuple[int, AtlasSummary]]
    ) -> beam.PCollection[Manifest]:
        """Attaches the stage; yields the manifest."""
        return (
            parts.pipeline
            | "Once" >> beam.Impulse()
            | "WriteAtlas"
            >> beam.Map(
                _write_atlas, AsIter(parts), self._publication, self._class_names
            ).with_output_types(Manifest)
        )


def _write_atlas(
    _once: bytes,
    parts: Iterable[tuple[int, AtlasSummary]],
    publication: Publication,
    class_names: Sequence[str],
) -> Manifest:
    manifest = publication.manifest
    summary = AtlasSummary(manifest.stored, manifest.has_given_ids)
    for _, part in parts:
        summary.merge(part)
    record, statistics = summary.record, summary.statistics(class_names)
    return publish(
        publication.root,
        final_tables(statistics, record.failures(), manifest.sample),
        lambda digests: publication.finish(record, digests, statistics.left_out),
        BeamStorage(),
        run=publication.run,
        lease=publication.lease,
    ).manifest
