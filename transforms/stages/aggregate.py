"""AggregateByClass: committed blocks -> statistics of each class explained.

AggregateStatistics: committed blocks -> the sums of all that stands beside an atlas's maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from transforms.elements import CommittedBlock
from transforms.statistics.columns import statistic_names
from transforms.statistics.groups.accumulator import GroupAccumulator, GroupRow
from transforms.statistics.groups.rows import GroupRows, rows_by_class
from transforms.store.map_format import MapFormat
from transforms.store.outcome.summary import AtlasSummary

_PARTS = 16
"""Sums of so many parts of the classes flow apart: those of 1,000 classes take 150 MB."""


class AggregateByClass(beam.PTransform):
    """Sums what is stored of each block, exactly, by the class explained.

    Only integers are added, so the result does not depend on order, workers, retries, nor on
    whether a block was committed a second or a week ago.

    Args:
      sketch_shape: Shape of one sketch.
      with_boxes: Whether examples have boxes.
      with_masks: Whether they have masks.
      regions: Names of the regions that statistics are of.
      signed: Whether maps have a sign.

    With `committed`, the blocks of `WriteBlocks`:

    >>> import apache_beam as beam
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     statistics = pipeline | beam.Create(committed) | AggregateByClass((28, 28), False)
    ...     counts = statistics | beam.MapTuple(lambda target, row: row["n"])
    ...     _ = counts | beam.CombineGlobally(sum) | beam.Map(print)
    18
    """

    def __init__(
        self,
        sketch_shape: Sequence[int],
        with_boxes: bool,
        with_masks: bool = False,
        regions: Sequence[str] = (),
        *,
        signed: bool = False,
    ) -> None:
        super().__init__()
        self._names = statistic_names(with_boxes, with_masks, regions, signed=signed)
        self._combine = ClassStatisticsCombineFn(tuple(sketch_shape), self._names)

    def expand(
        self, blocks: beam.PCollection[CommittedBlock]
    ) -> beam.PCollection[tuple[int, GroupRow]]:
        """Attaches the stage."""
        return (
            blocks
            | "RowsByClass"
            >> beam.FlatMap(_rows_by_class, self._names).with_output_types(tuple[int, GroupRows])
            | "SumByClass"
            >> beam.CombinePerKey(self._combine).with_output_types(tuple[int, dict[str, object]])
        )


class ClassStatisticsCombineFn(beam.CombineFn):
    """Combines `GroupRows` into a `GroupRow`; the arithmetic is GroupAccumulator's."""

    def __init__(self, sketch_shape: Sequence[int], names: Sequence[str]) -> None:
        self._sketch_shape = sketch_shape
        self._names = names

    def create_accumulator(self) -> GroupAccumulator:
        """Sums of no rows."""
        return GroupAccumulator(self._sketch_shape, self._names)

    def add_input(self, accumulator: GroupAccumulator, rows: GroupRows) -> GroupAccumulator:
        """Adds rows in place."""
        accumulator.add(rows)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[GroupAccumulator]) -> GroupAccumulator:
        """Adds sums up."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: GroupAccumulator) -> GroupRow:
        """The finished statistics."""
        return accumulator.finish()


def _rows_by_class(block: CommittedBlock, names: Sequence[str]) -> Iterable[tuple[int, GroupRows]]:
    return rows_by_class(block.summary, names)


class AggregateStatistics(beam.PTransform):
    """Sums what is stored of each block, exactly: statistics, counts, failures.

    Each bundle adds up by itself, so what is shuffled are sums, never rows. They flow in parts, by
    class, which workers add up beside each other; `PublishAtlas` puts them together, as which
    slices are left out is decided on all.

    All sums take one way through the graph, as each of its steps costs milliseconds to build and
    run, however little there is to explain.

    Args:
      map_format: What is stored of a map.
      with_ids: Whether ids were given, so that two examples may have the same.
      alone: Whether there is one worker, so that nothing is gained by adding up in parts.

    With `committed`, the blocks of `WriteBlocks`, and `job`, what `pipeline.run.job` made of a
    configuration:

    >>> import apache_beam as beam
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     blocks = pipeline | beam.Create(committed)
    ...     parts = blocks | AggregateStatistics(job.explain.map_format, with_ids=True)
    ...     classes = parts | beam.MapTuple(lambda _, sums: sums.statistics(()).classes.num_rows)
    ...     _ = classes | beam.CombineGlobally(sum) | beam.Map(print)
    4
    """

    def __init__(self, map_format: MapFormat, with_ids: bool, *, alone: bool = False) -> None:
        super().__init__()
        self._format = map_format
        self._with_ids = with_ids
        self._alone = alone

    def expand(
        self, blocks: beam.PCollection[CommittedBlock]
    ) -> beam.PCollection[tuple[int, AtlasSummary]]:
        """Attaches the stage; yields (number of the part, its sums)."""
        parts = blocks | "SumBlocks" >> beam.ParDo(
            _SumBlocksFn(self._format, self._with_ids)
        ).with_output_types(tuple[int, AtlasSummary])
        if self._alone:
            return parts
        return parts | "SumParts" >> beam.CombinePerKey(
            AtlasSummaryCombineFn(self._format, self._with_ids)
        ).with_output_types(tuple[int, AtlasSummary])


class AtlasSummaryCombineFn(beam.CombineFn):
    """Adds `AtlasSummary`s up."""

    def __init__(self, map_format: MapFormat, with_ids: bool) -> None:
        self._format = map_format
        self._with_ids = with_ids

    def create_accumulator(self) -> AtlasSummary:
        """Sums of no blocks."""
        return AtlasSummary(self._format, self._with_ids)

    def add_input(self, accumulator: AtlasSummary, sums: AtlasSummary) -> AtlasSummary:
        """Adds sums in place."""
        accumulator.merge(sums)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[AtlasSummary]) -> AtlasSummary:
        """Adds sums up."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: AtlasSummary) -> AtlasSummary:
        """The sums."""
        return accumulator


class _SumBlocksFn(beam.DoFn):
    def __init__(self, map_format: MapFormat, with_ids: bool) -> None:
        self._format = map_format
        self._with_ids = with_ids

    def start_bundle(self) -> None:
        self._sums = AtlasSummary(self._format, self._with_ids)

    def process(self, block: CommittedBlock) -> None:
        self._sums.add(block)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for part in self._sums.parts(_PARTS):
            yield GlobalWindows.windowed_value(part)
