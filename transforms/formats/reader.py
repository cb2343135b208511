"""Portions of shards -> blocks: the same contract for every format."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterator
from typing import BinaryIO

import numpy as np

from transforms.elements import Block, BlockKey, Examples, Failure, Portion, Shard
from transforms.errors import ConfigurationError, DataFault, RunError
from transforms.formats.columns import Records, to_examples
from transforms.formats.parquet import row_groups as parquet
from transforms.formats.source import InputSpec, SourceSpec
from transforms.formats.tfrecord import framing as tfrecord
from transforms.formats.tfrecord.examples import parse_examples
from transforms.storage import Storage


def read_blocks(  # noqa: PLR0917 - as a stage hands them on
    portion: Portion | Shard,
    source: SourceSpec,
    input_spec: InputSpec,
    block_size: int,
    storage: Storage,
    skip: Container[int] = (),
) -> Iterator[Block]:
    """Yields the blocks of a portion, in order, one in memory at a time.

    Block k holds the records from k * block_size on, whatever is skipped. Data never raise:
    what cannot be read is among the failures, and a shard that cannot be read on ends with one. An
    empty shard is one block without records.

    In which portions a sound file is read changes nothing. Of a TFRecord file that was damaged
    after it had been indexed, a lost record boundary costs the rest of the portion, where it would
    cost the rest of the file.

    Args:
      portion: Which blocks of which file; of a shard, all.
      source: What is in it.
      input_spec: What the model takes; numeric inputs of another length are failures.
      block_size: Records a block, failed ones included.
      storage: Where the file is.
      skip: Numbers of blocks that are not wanted; they are passed over as cheaply as the format
        allows.

    Raises:
      RunError: The storage fails for good; naming the shard and the block.
    """
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}; a block holds at least one record")
    portion = portion if isinstance(portion, Portion) else Portion(portion)
    last_read = None
    try:
        for block in _read_blocks(portion, source, input_spec, block_size, storage, skip):
            last_read = block.key.number
            yield block
    except OSError as error:
        where = "" if last_read is None else f" after block {last_read}"
        raise RunError(f"{portion.shard.path} cannot be read{where} ({error})") from error


def _read_blocks(  # noqa: PLR0917
    portion: Portion,
    source: SourceSpec,
    input_spec: InputSpec,
    block_size: int,
    storage: Storage,
    skip: Container[int],
) -> Iterator[Block]:
    shard = portion.shard
    unwanted = _Unwanted(portion, skip)
    with storage.open(shard.path) as file:
        try:
            for number, records, last in _read_records(file, portion, source, block_size, unwanted):
                examples, failures = to_examples(shard, records, source, input_spec)
                key = BlockKey(shard, number, number * block_size, records.count, last)
                del records  # not held while the block is explained
                yield Block(key, examples, failures)
                del examples
        except DataFault as fault:
            if 0 not in unwanted:
                yield _unreadable_shard(shard, fault, has_boxes=source.features.boxes is not None)


def probe(
    shard: Shard, source: SourceSpec, input_spec: InputSpec, storage: Storage, count: int = 8
) -> Examples:
    """Reads the first examples of a shard, to see that the configuration fits the data.

    Args:
      shard: The file.
      source: What should be in it.
      input_spec: What the model takes.
      storage: Where the file is.
      count: How many records to look at.

    Returns:
      What can be read of them; nothing only where the shard has no records.

    Raises:
      ConfigurationError: None of them makes an example; says why the first one does not.
    """
    block = next(read_blocks(shard, source, input_spec, count, storage))
    if len(block.examples) or not block.failures:
        return block.examples
    failure = block.failures[0]
    hint = f"; is source.format {source.format!r} right?" if failure.stage == "read" else ""
    raise ConfigurationError(
        f"{shard.path}: none of the first {len(block.failures)} records can be used, "
        f"as {failure.message}{hint}"
    )


@dataclasses.dataclass(frozen=True)
class _Unwanted:
    """Blocks that are not to be read: those outside a portion, and some within."""

    portion: Portion
    skip: Container[int]

    def __contains__(self, number: object) -> bool:
        assert isinstance(number, int)  # noqa: S101 - Container would have any object
        return not self.portion.holds(number) or number in self.skip


def _read_records(
    file: BinaryIO, portion: Portion, source: SourceSpec, block_size: int, skip: Container[int]
) -> Iterator[tuple[int, Records, bool]]:
    if source.format == "parquet":
        return parquet.read_records(file, source.features, block_size, skip)
    return _read_tfrecords(file, portion, source, block_size, skip)


def _read_tfrecords(
    file: BinaryIO, portion: Portion, source: SourceSpec, block_size: int, skip: Container[int]
) -> Iterator[tuple[int, Records, bool]]:
    """Blocks of a TFRecord file; whether one is the last is known by looking a record ahead."""
    frames = tfrecord.read_frames(
        file,
        source.compression,
        start=(portion.first_block * block_size, portion.offset),
        wanted=lambda record: record // block_size not in skip,
        max_record_bytes=source.max_record_bytes,
    )
    number = portion.first_block
    pending: list[tfrecord.Frame] = []
    for frame in _up_to(frames, portion, block_size):
        if len(pending) == block_size:
            if number not in skip:
                yield number, _parse_frames(pending, source, number * block_size), False
            number += 1
            pending = []
        if not portion.holds(number):
            return
        pending.append(frame)
    if number not in skip:
        yield number, _parse_frames(pending, source, number * block_size), True


def _up_to(
    frames: Iterator[tfrecord.Frame], portion: Portion, block_size: int
) -> Iterator[tfrecord.Frame]:
    """The frames; in a portion that the file goes on after, as many as it must have."""
    record, fault = portion.first_block * block_size, None
    for frame in frames:
        yield frame
        record, fault = frame.record + 1, frame.fault
    if portion.stop_block is not None:
        fault = fault or DataFault("read", "TruncatedRecord", "the file is shorter than its index")
        for lost in range(record, portion.stop_block * block_size + 1):
            yield tfrecord.Frame(lost, fault=fault)


def _parse_frames(frames: list[tfrecord.Frame], source: SourceSpec, first: int) -> Records:
    """Parses a block's frames, and lets go of their bytes."""
    records = parse_examples([frame.payload or b"" for frame in frames], source.features, first)
    records.faults.update(
        {row: frame.fault for row, frame in enumerate(frames) if frame.fault is not None}
    )
    frames.clear()
    return records


def _unreadable_shard(shard: Shard, fault: DataFault, has_boxes: bool) -> Block:
    """The only block of a shard of which nothing can be read, not even how much it holds."""
    failure = Failure(shard.name, None, None, fault.stage, fault.error, str(fault))
    nothing = Examples(
        records=np.zeros(0, np.int64),
        ids=(),
        inputs=(),
        labels=np.zeros(0, np.int32),
        boxes=() if has_boxes else None,
    )
    return Block(BlockKey(shard, 0, 0, 1, last=True), nothing, (failure,))
