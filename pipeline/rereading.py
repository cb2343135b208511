"""Reads the inputs of an atlas's examples again, by the places that the atlas recorded."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.keys import Config
from transforms.elements import Shard
from transforms.formats.features import Features
from transforms.formats.images.decoding import InputDecoder
from transforms.formats.reader import read_blocks
from transforms.storage import Storage, escape


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """Where an example was read.

    Attributes:
      folder: Of the input file (`Shard.folder`).
      record: Number of the record in it, from 0.
      example_id: The id that it had.
    """

    folder: str
    record: int
    example_id: str

    @classmethod
    def parse(cls, place: str, example_id: str) -> Place:
        """Of `SHARD:record`, as `Atlas.rows` has it."""
        folder, _, record = place.rpartition(":")
        return cls(folder, int(record), example_id)


def read_inputs(
    config: Config, shards: Iterable[Shard], places: Iterable[Place], storage: Storage
) -> Iterator[tuple[Place, npt.NDArray[np.float32]]]:
    """Yields the decoded inputs of examples, in order of file and record.

    Blocks that hold none of them are passed over. An example whose record is another by now, or
    that cannot be decoded, is left out.

    Args:
      config: Of the run that made the atlas.
      shards: The input files, as the atlas lists them.
      places: Which examples.
      storage: Where the files are.

    Yields:
      The place, and the input: the shape that the model takes, images in 0..255.

    Raises:
      RunError: A file cannot be read any more.
    """
    by_folder: dict[str, dict[int, Place]] = defaultdict(dict)
    for place in places:
        by_folder[place.folder][place.record] = place
    decoder = InputDecoder(config.input_spec())
    for shard in shards:
        wanted = by_folder.get(shard.folder)
        if wanted:
            yield from _read_shard(shard, config, wanted, decoder, storage)


def _read_shard(
    shard: Shard,
    config: Config,
    wanted: dict[int, Place],
    decoder: InputDecoder,
    storage: Storage,
) -> Iterator[tuple[Place, npt.NDArray[np.float32]]]:
    source = config.source_spec()
    # Labels may need class names, boxes and all others may be wrong: none is of interest here.
    features = Features(input=source.features.input, id=source.features.id)
    source = dataclasses.replace(source, features=features)
    block_size = config.output.block_size
    numbers = {record // block_size for record in wanted}
    size = sum(entry.size for entry in storage.match(escape(shard.path)))  # It may have grown.
    shard = dataclasses.replace(shard, size=size, version=None)
    blocks = read_blocks(
        shard, source, config.input_spec(), block_size, storage, skip=_AllBut(numbers)
    )
    for block in blocks:
        examples = block.examples
        rows = [
            row
            for row, record in enumerate(examples.records.tolist())
            if record in wanted and wanted[record].example_id == examples.ids[row]
        ]
        inputs = examples.inputs
        chosen: Any = (
            inputs[rows] if isinstance(inputs, np.ndarray) else [inputs[row] for row in rows]
        )
        decoded, faults = decoder.decode(chosen)
        for row, values, fault in zip(rows, decoded, faults, strict=True):
            if fault is None:
                yield wanted[int(examples.records[row])], values.astype(np.float32)
        numbers.discard(block.key.number)
        if not numbers:  # What follows is passed over anyway, but not for nothing.
            return


class _AllBut(Container[int]):
    """Every number but some."""

    def __init__(self, numbers: Container[int]) -> None:
        self._numbers = numbers

    def __contains__(self, number: object) -> bool:
        return number not in self._numbers
