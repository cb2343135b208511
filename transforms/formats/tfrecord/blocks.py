"""Blocks of a TFRecord file: frames counted off, parsed, and accounted for to the byte."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from transforms.elements import Portion, Shard
from transforms.errors import RunError
from transforms.extents import ShardEnd
from transforms.formats.columns import Records
from transforms.formats.parts import BlockBudget, Part
from transforms.formats.source import SourceSpec
from transforms.formats.tfrecord.examples import parse_examples
from transforms.formats.tfrecord.framing import Frame, FrameReader
from transforms.formats.tfrecord.index import index_path, index_problem, read_record_offsets
from transforms.storage import Storage

_PARSED_BYTES = 1 << 25  # parsed at once, at most, and an eighth of what a block may hold
_SLICES_PER_BLOCK = 8

_EARLY_ENDS = ("TruncatedRecord", "DamagedStream")


def read_parts(  # noqa: PLR0917 - as the reader hands them on
    file: BinaryIO,
    portion: Portion,
    source: SourceSpec,
    block_size: int,
    skip: Container[int],
    storage: Storage,
) -> Iterator[Part]:
    """Yields the blocks of a portion that are not to be skipped.

    Args:
      file: Opened for reading, at its beginning.
      portion: Which blocks of which file.
      source: What is in it.
      block_size: Records a block.
      skip: Numbers of blocks that are not wanted, those outside the portion among them.
      storage: Where an index of the file may be.

    Raises:
      RunError: A block holds more than it may, or the file is not as its index has it.
    """
    frames = FrameReader(
        file,
        source.compression,
        start=(portion.first_block * block_size, portion.offset),
        wanted=lambda record: record // block_size not in skip,
        max_record_bytes=source.max_record_bytes,
        known_offsets=_known_offsets(portion.shard, storage),
    )
    budget = BlockBudget(portion.shard.path, block_size, source.max_block_bytes)
    number = portion.first_block
    pending: list[Frame] = []
    offset, gaps, last = portion.offset, 0, None
    for frame in frames:
        if len(pending) == block_size:
            if number not in skip:
                yield _part(number, pending, source, budget)
            number += 1
            pending = []
            budget.begin_block()
        pending.append(frame)
        offset, gaps, last = offset + frame.size, gaps + frame.is_gap, frame
        if frame.payload is not None:
            budget.add(len(frame.payload), number)
        if portion.stop_offset is not None and offset >= portion.stop_offset:
            break
    read = (number - portion.first_block) * block_size + len(pending)
    end = None
    if portion.stop_block is None:
        end = _end_of_shard(portion.shard, frames, last, gaps == read, storage)
    else:
        _check_end(portion, offset, read, block_size)
    if number not in skip:
        yield _part(number, pending, source, budget, end)


def count_records(file: BinaryIO, shard: Shard, source: SourceSpec, storage: Storage) -> int:
    """How many records a file has, each gap being one; their payloads are passed over.

    Args:
      file: Opened for reading, at its beginning.
      shard: The file.
      source: What is in it.
      storage: Where an index of the file may be.
    """
    frames = FrameReader(
        file,
        source.compression,
        wanted=lambda _: False,
        max_record_bytes=source.max_record_bytes,
        known_offsets=_known_offsets(shard, storage),
    )
    return sum(1 for _ in frames)


def _known_offsets(shard: Shard, storage: Storage) -> Callable[[], Sequence[int] | None]:
    return functools.cache(lambda: read_record_offsets(shard, storage))


def _end_of_shard(
    shard: Shard, frames: FrameReader, last: Frame | None, only_gaps: bool, storage: Storage
) -> ShardEnd:
    """What the end of a file says of it, all its frames having been read."""
    compressed = frames.compression != "none"
    broken = None
    if shard.size == 0:
        broken = "it is empty"
    elif last is not None and last.fault is not None and last.fault.error in _EARLY_ENDS:
        broken = str(last.fault)
    elif last is not None and only_gaps:
        broken = "no record can be made out in it"
    elif not compressed:
        broken = index_problem(shard, storage)
    return ShardEnd(frames.decompressed_bytes if compressed else shard.size, broken)


def _check_end(portion: Portion, offset: int, read: int, block_size: int) -> None:
    """Sees that a portion ends where its index has the next one begin."""
    assert portion.stop_block is not None  # noqa: S101 - it is asked of no other
    expected = (portion.stop_block - portion.first_block) * block_size
    if (read, offset) != (expected, portion.stop_offset):
        path = portion.shard.path
        raise RunError(
            f"{index_path(path)} does not fit {path} ({read} records from byte {portion.offset} "
            f"to {offset}, where it has {expected} to {portion.stop_offset}): make it anew with "
            f"saliency-atlas index {path}, or remove it"
        )


def _part(
    number: int,
    frames: list[Frame],
    source: SourceSpec,
    budget: BlockBudget,
    end: ShardEnd | None = None,
) -> Part:
    sizes = np.array([frame.size for frame in frames], np.int64)
    gaps = tuple(frame.record for frame in frames if frame.is_gap)
    return Part(number, _parse_frames(frames, source, budget, number), sizes, gaps, end)


def _parse_frames(
    frames: list[Frame], source: SourceSpec, budget: BlockBudget, number: int
) -> Records:
    """Parses a block's frames, and lets go of their bytes."""
    records = parse_examples(
        [frame.payload or b"" for frame in frames],
        source.features,
        number * budget.block_size,
        check=lambda held: budget.check(held, number),
        bytes_at_once=min(_PARSED_BYTES, budget.limit // _SLICES_PER_BLOCK),
    )
    records.faults.update(
        {row: frame.fault for row, frame in enumerate(frames) if frame.fault is not None}
    )
    frames.clear()
    return records
