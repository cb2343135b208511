"""AggregateByClass: committed blocks -> statistics of each class explained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apache_beam as beam

from transforms.elements import CommittedBlock
from transforms.statistics.classes import ClassAccumulator, ClassRow
from transforms.statistics.rows import ClassRows, rows_by_class


class AggregateByClass(beam.PTransform):
    """Sums what is stored of each block, exactly, by the class explained.

    Only integers are added, so the result does not depend on order, workers, retries, nor on
    whether a block was committed a second or a week ago.

    Args:
      sketch_shape: Shape of one sketch.
      with_boxes: Whether the maps table has box statistics.

    With `committed`, the blocks of `WriteBlocks`:

    >>> import apache_beam as beam
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     statistics = pipeline | beam.Create(committed) | AggregateByClass((28, 28), False)
    ...     counts = statistics | beam.MapTuple(lambda target, row: row["n"])
    ...     _ = counts | beam.CombineGlobally(sum) | beam.Map(print)
    18
    """

    def __init__(self, sketch_shape: Sequence[int], with_boxes: bool) -> None:
        super().__init__()
        self._combine = ClassStatisticsCombineFn(tuple(sketch_shape), with_boxes)

    def expand(
        self, blocks: beam.PCollection[CommittedBlock]
    ) -> beam.PCollection[tuple[int, ClassRow]]:
        """Attaches the stage."""
        return (
            blocks
            | "RowsByClass" >> beam.FlatMap(_rows_by_class).with_output_types(tuple[int, ClassRows])
            | "SumByClass"
            >> beam.CombinePerKey(self._combine).with_output_types(tuple[int, dict[str, object]])
        )


class ClassStatisticsCombineFn(beam.CombineFn):
    """Combines `ClassRows` into a `ClassRow`; the arithmetic is ClassAccumulator's."""

    def __init__(self, sketch_shape: Sequence[int], with_boxes: bool) -> None:
        self._sketch_shape = sketch_shape
        self._with_boxes = with_boxes

    def create_accumulator(self) -> ClassAccumulator:
        """Sums of no rows."""
        return ClassAccumulator(self._sketch_shape, self._with_boxes)

    def add_input(self, accumulator: ClassAccumulator, rows: ClassRows) -> ClassAccumulator:
        """Adds rows in place."""
        accumulator.add(rows)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[ClassAccumulator]) -> ClassAccumulator:
        """Adds sums up."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: ClassAccumulator) -> ClassRow:
        """The finished statistics."""
        return accumulator.finish()


def _rows_by_class(block: CommittedBlock) -> Iterable[tuple[int, ClassRows]]:
    return rows_by_class(block.summary)
