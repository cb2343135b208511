"""The Beam graph of a comparison: pairs of blocks -> sums -> one small file.

Only the names of blocks are shuffled, and sums, once a bundle: maps stay where they are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.compare.meeting import MapRule, meet
from pipeline.compare.pairing import BlockPair, Open
from pipeline.compare.sums import JoinedSums
from transforms.filesystems import BeamStorage
from transforms.storage import join

SUMS = "sums.json"
"""The name of the file, in a folder that the launcher has made."""


def build(
    root: beam.Pipeline,
    pairs: Sequence[BlockPair],
    rule: MapRule,
    atlases: tuple[str, str],
    folder: str,
) -> None:
    """Attaches everything between the pairs of blocks and the file of their sums.

    Args:
      root: The pipeline.
      pairs: The blocks that are met.
      rule: How maps are met.
      atlases: The folders of the first and of the second.
      folder: Where the sums are written.
    """
    _ = (
        root
        | "BlockPairs" >> beam.Create(pairs, reshuffle=False)
        | "SpreadPairs" >> beam.Reshuffle()
        | "CompareBlocks" >> CompareBlocks(rule, atlases)
        | "WriteSums" >> beam.Map(_write, folder).with_output_types(str)
    )


class CompareBlocks(beam.PTransform):
    """Meets pairs of blocks, and adds up what they come to; yields one `JoinedSums`.

    Args:
      rule: How maps are met.
      atlases: The folders of the first and of the second.
    """

    def __init__(self, rule: MapRule, atlases: tuple[str, str]) -> None:
        super().__init__()
        self._rule = rule
        self._atlases = atlases

    def expand(self, pairs: beam.PCollection[BlockPair]) -> beam.PCollection[JoinedSums]:
        """Attaches the stage."""
        return (
            pairs
            | "MeetBlocks"
            >> beam.ParDo(_MeetBlocksFn(self._rule, self._atlases)).with_output_types(JoinedSums)
            | "AddUp" >> beam.CombineGlobally(JoinedSumsCombineFn()).with_output_types(JoinedSums)
        )


class JoinedSumsCombineFn(beam.CombineFn):
    """Adds `JoinedSums` up."""

    def create_accumulator(self) -> JoinedSums:
        """Sums of no blocks."""
        return JoinedSums()

    def add_input(self, accumulator: JoinedSums, sums: JoinedSums) -> JoinedSums:
        """Adds sums in place."""
        accumulator.merge(sums)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[JoinedSums]) -> JoinedSums:
        """Adds sums up."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: JoinedSums) -> JoinedSums:
        """The sums."""
        return accumulator


class _MeetBlocksFn(beam.DoFn):
    def __init__(self, rule: MapRule, atlases: tuple[str, str]) -> None:
        self._rule = rule
        self._atlases = atlases

    def setup(self) -> None:
        self._open = [_opener(atlas) for atlas in self._atlases]

    def start_bundle(self) -> None:
        self._sums = JoinedSums()

    def process(self, pair: BlockPair) -> None:
        self._sums.add(meet(pair, self._rule, self._open[0], self._open[1]))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield GlobalWindows.windowed_value(self._sums)


def _opener(atlas: str) -> Open:
    storage = BeamStorage()

    def open_block(path: str) -> pq.ParquetFile:
        stream = storage.open(join(atlas, path))
        return pq.ParquetFile(stream, page_checksum_verification=True)

    return open_block


def _write(sums: JoinedSums, folder: str) -> str:
    path = join(folder, SUMS)
    BeamStorage().replace(f"{path}.temporary", path, sums.to_json())
    return path
