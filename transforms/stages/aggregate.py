"""AggregateByClass: committed blocks -> statistics of each class explained.

AggregateStatistics: committed blocks -> all the sums that an atlas's statistics are made of.
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
from transforms.statistics.groups.sums import AtlasSums
from transforms.store.map_format import MapFormat

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
    """Sums what is stored of each block, exactly, by everything that statistics are split by.

    Each bundle adds up by itself, so what is shuffled are sums, never rows. They flow in parts, by
    class; `PublishAtlas` puts them together, as which slices are left out is decided on all.

    Args:
      map_format: What is stored of a map.

    With `committed`, the blocks of `WriteBlocks`, and `job`, what `pipeline.run.job` made of a
    configuration:

    >>> import apache_beam as beam
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     blocks = pipeline | beam.Create(committed)
    ...     parts = blocks | AggregateStatistics(job.explain.map_format)
    ...     classes = parts | beam.MapTuple(lambda _, sums: sums.tables().classes.num_rows)
    ...     _ = classes | beam.CombineGlobally(sum) | beam.Map(print)
    4
    """

    def __init__(self, map_format: MapFormat) -> None:
        super().__init__()
        self._format = map_format

    def expand(
        self, blocks: beam.PCollection[CommittedBlock]
    ) -> beam.PCollection[tuple[int, AtlasSums]]:
        """Attaches the stage; yields (number of the part, its sums)."""
        return (
            blocks
            | "SumBlocks"
            >> beam.ParDo(_SumBlocksFn(self._format)).with_output_types(tuple[int, AtlasSums])
            | "SumParts"
            >> beam.CombinePerKey(AtlasSumsCombineFn(self._format)).with_output_types(
                tuple[int, AtlasSums]
            )
        )


class AtlasSumsCombineFn(beam.CombineFn):
    """Adds `AtlasSums` up."""

    def __init__(self, map_format: MapFormat) -> None:
        self._format = map_format

    def create_accumulator(self) -> AtlasSums:
        """Sums of no blocks."""
        return self._format.no_sums()

    def add_input(self, accumulator: AtlasSums, sums: AtlasSums) -> AtlasSums:
        """Adds sums in place."""
        accumulator.merge(sums)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[AtlasSums]) -> AtlasSums:
        """Adds sums up."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: AtlasSums) -> AtlasSums:
        """The sums."""
        return accumulator


class _SumBlocksFn(beam.DoFn):
    def __init__(self, map_format: MapFormat) -> None:
        self._format = map_format

    def start_bundle(self) -> None:
        self._sums = self._format.no_sums()

    def process(self, block: CommittedBlock) -> None:
        self._sums.add(block.summary)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for part in self._sums.parts(_PARTS):
            yield GlobalWindows.windowed_value(part)
