"""PublishAtlas: what finishes an atlas, written by the graph rather than by its launcher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsIter, AsSingleton

from transforms import results
from transforms.elements import CommittedBlock, Failure
from transforms.filesystems import BeamStorage
from transforms.mapstore import MapFormat, check_lease
from transforms.results import Conclusion
from transforms.statistics.classes import ClassRow, classes_table
from transforms.totals import RunTotals, merge_totals


class PublishAtlas(beam.PTransform):
    """Writes statistics and failures, and after both of them the manifest.

    A launcher may exit once it has submitted: the atlas is finished all the same. Only failures,
    class rows and totals cross side inputs, all of them small.

    Args:
      conclusion: What the end of the run needs beside its blocks.
      map_format: What is stored of a map.
      class_names: Names by class index, or empty.
      statistics: One row a class, from AggregateByClass.
    """

    def __init__(
        self,
        conclusion: Conclusion,
        map_format: MapFormat,
        class_names: Sequence[str],
        statistics: beam.PCollection[tuple[int, ClassRow]],
    ) -> None:
        super().__init__()
        self._conclusion = conclusion
        self._map_format = map_format
        self._class_names = tuple(class_names)
        self._statistics = statistics

    def expand(self, blocks: beam.PCollection[CommittedBlock]) -> beam.PCollection[dict[str, Any]]:
        """Attaches the stage; yields the manifest."""
        totals = (
            blocks
            | "CountBlock" >> beam.Map(RunTotals.of).with_output_types(RunTotals)
            | "TotalBlocks" >> beam.CombineGlobally(merge_totals)
        )
        failures = blocks | "ListFailures" >> beam.FlatMap(
            lambda block: block.failures
        ).with_output_types(Failure)
        start = blocks.pipeline | "Publish" >> beam.Create([self._conclusion])
        classes_digest = start | "WriteStatistics" >> beam.Map(
            _write_statistics, AsIter(self._statistics), self._map_format, self._class_names
        ).with_output_types(str)
        failures_digest = start | "WriteFailures" >> beam.Map(
            _write_failures, AsIter(failures)
        ).with_output_types(str)
        return start | "WriteManifest" >> beam.Map(
            _write_manifest,
            AsSingleton(totals),
            AsSingleton(classes_digest),
            AsSingleton(failures_digest),
        ).with_output_types(dict)


def _write_statistics(
    conclusion: Conclusion,
    rows: Iterable[tuple[int, ClassRow]],
    map_format: MapFormat,
    class_names: Sequence[str],
) -> str:
    check_lease(conclusion.lease, BeamStorage())
    table = classes_table(rows, map_format.sketch_shape, map_format.with_boxes, class_names)
    return results.write_table(conclusion.root, results.CLASSES, table, BeamStorage())


def _write_failures(conclusion: Conclusion, failures: Iterable[Failure]) -> str:
    check_lease(conclusion.lease, BeamStorage())
    table = results.failures_table(failures)
    return results.write_table(conclusion.root, results.FAILURES, table, BeamStorage())


def _write_manifest(
    conclusion: Conclusion, totals: RunTotals, classes_digest: str, failures_digest: str
) -> dict[str, Any]:
    digests = {results.CLASSES: classes_digest, results.FAILURES: failures_digest}
    manifest = results.final_manifest(conclusion, totals, digests)
    check_lease(conclusion.lease, BeamStorage())
    results.write_manifest(conclusion.root, manifest, BeamStorage())
    return manifest
