"""PublishAtlas: what finishes an atlas, written by the graph rather than by its launcher."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsIter

from transforms import results
from transforms.elements import CommittedBlock, Failure
from transforms.filesystems import BeamStorage
from transforms.mapstore import MapFormat, check_lease
from transforms.results import Conclusion
from transforms.statistics.classes import ClassRow, classes_table
from transforms.totals import RunTotals, merge_totals

_Sums = tuple[RunTotals, list[Failure]]


class PublishAtlas(beam.PTransform):
    """Writes statistics and failures, and after both of them the manifest.

    A launcher may exit once it has submitted: the atlas is finished all the same. Only class
    rows cross a side input.

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
        return (
            blocks
            # A shard has at least one block, so there is a record.
            | "Record" >> beam.CombineGlobally(RunRecordCombineFn()).without_defaults()
            | "WriteAtlas"
            >> beam.Map(
                _write_atlas,
                self._conclusion,
                AsIter(self._statistics),
                self._map_format,
                self._class_names,
            ).with_output_types(dict)
        )


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What the end of a run needs to know of its blocks."""

    totals: RunTotals
    failures: tuple[Failure, ...]


class RunRecordCombineFn(beam.CombineFn):
    """Adds blocks up in one traversal: each step of a graph costs milliseconds to build and run."""

    def create_accumulator(self) -> _Sums:
        """The record of no blocks."""
        return RunTotals(), []

    def add_input(self, accumulator: _Sums, block: CommittedBlock) -> _Sums:
        """Adds a block."""
        totals, failures = accumulator
        failures.extend(block.failures)
        return totals.merge(RunTotals.of(block)), failures

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        """Adds records up."""
        parts = list(accumulators)
        totals = merge_totals(totals for totals, _ in parts)
        return totals, [failure for _, failures in parts for failure in failures]

    def extract_output(self, accumulator: _Sums) -> RunRecord:
        """The record."""
        totals, failures = accumulator
        return RunRecord(totals, tuple(failures))


def _write_atlas(
    record: RunRecord,
    conclusion: Conclusion,
    rows: Iterable[tuple[int, ClassRow]],
    map_format: MapFormat,
    class_names: Sequence[str],
) -> dict[str, Any]:
    storage = BeamStorage()
    tables = {
        results.CLASSES: classes_table(
            rows, map_format.sketch_shape, map_format.with_boxes, class_names
        ),
        results.FAILURES: results.failures_table(record.failures),
    }
    digests = {}
    for name, table in tables.items():
        check_lease(conclusion.lease, storage)
        digests[name] = results.write_table(conclusion.root, name, table, storage)
    manifest = results.final_manifest(conclusion, record.totals, digests)
    check_lease(conclusion.lease, storage)
    results.write_manifest(conclusion.root, manifest, storage)
    return manifest
