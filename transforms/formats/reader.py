"""Portions of shards -> blocks: the same contract for every format."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Container, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from transforms.elements import Block, BlockKey, Examples, Failure, Portion, Shard
from transforms.errors import ConfigurationError, DataFault, RunError
from transforms.extents import ShardEnd
from transforms.formats.columns import known_ids, to_examples
from transforms.formats.features import Features
from transforms.formats.listed_file import check_listed_size, check_listed_version
from transforms.formats.parquet import row_groups as parquet
from transforms.formats.parts import BlockBudget, Part
from transforms.formats.source import InputSpec, SourceSpec
from transforms.formats.tfrecord import blocks as tfrecord
from transforms.storage import Storage

_PARQUET_MAGIC = b"PAR1"


def read_blocks(  # noqa: PLR0917 - as a stage hands them on
    portion: Portion | Shard,
    source: SourceSpec,
    input_spec: InputSpec,
    block_size: int,
    storage: Storage,
    skip: Container[int] = (),
) -> Iterator[Block]:
    """Yields the blocks of a portion, in order, one in memory at a time.

    Block k holds the records from k * block_size on, whatever is skipped and in which portions a
    file is read. Damage never raises: what cannot be read is among the failures, and what the
    blocks account for (`Block.extent`) adds up to the file. An empty shard is one block without
    records.

    Args:
      portion: Which blocks of which file; of a shard, all.
      source: What is in it.
      input_spec: What the model takes; numeric inputs of another length are failures.
      block_size: Records a block, failed ones included.
      storage: Where the file is.
      skip: Numbers of blocks that are not wanted; they are passed over as cheaply as the format
        allows.

    Raises:
      RunError: The storage fails for good, the file is not as it was listed, or a block holds more
        than it may; naming the shard and the block.
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
        check_listed_size(file, shard)
        try:
            for part in _read_parts(file, portion, source, block_size, unwanted, storage):
                # A file that shrinks looks damaged, or at its end.
                if part.end is not None or any(
                    fault.stage == "read" for fault in part.records.faults.values()
                ):
                    check_listed_size(file, shard)
                if part.end is not None:
                    check_listed_version(shard, storage)
                block = _to_block(shard, part, source, input_spec, block_size)
                del part  # not held while the block is explained
                yield block
                del block
        except DataFault as fault:
            check_listed_size(file, shard)
            if portion.first_block > 0:  # It could be read when it was cut into portions.
                raise RunError(f"{shard.path} cannot be read any more: {fault}") from fault
            if 0 not in unwanted:
                yield _unreadable_shard(shard, fault, source.features)


def _to_block(
    shard: Shard, part: Part, source: SourceSpec, input_spec: InputSpec, block_size: int
) -> Block:
    examples, failures, left_out = to_examples(shard, part.records, source, input_spec)
    number, count = part.number, part.records.count
    key = BlockKey(shard, number, number * block_size, count, last=part.end is not None)
    return Block(key, examples, failures, part.sizes, part.gaps, part.end, left_out)


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
      What can be read of them, whether or not a sample leaves it out; nothing only where the shard
      has no records.

    Raises:
      ConfigurationError: None of them makes an example; says why the first one does not.
    """
    source = dataclasses.replace(source, sample=None)
    block = next(read_blocks(shard, source, input_spec, count, storage))
    if len(block.examples) or not block.failures:
        return block.examples
    failure = block.failures[0]
    hint = _format_hint(shard, source, storage) if failure.stage == "read" else ""
    raise ConfigurationError(
        f"{shard.path}: none of the first {len(block.failures)} records can be used, "
        f"as {failure.message}{hint}"
    )


def _format_hint(shard: Shard, source: SourceSpec, storage: Storage) -> str:
    """What may be wrong where not even records can be told apart."""
    with storage.open(shard.path) as file:
        is_parquet = file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
    if is_parquet and source.format != "parquet":
        return "; the file begins as Parquet does: set source.format: parquet"
    return f"; is source.format {source.format!r} right?"


def feature_names(shard: Shard, source: SourceSpec, storage: Storage, count: int) -> set[str]:
    """Names of the features that the first records of a shard have, or of its columns.

    Args:
      shard: The file.
      source: How it is read.
      storage: Where it is.
      count: How many records to look at.

    Returns:
      None of them where nothing can be read.
    """
    names: set[str] = set()
    everything = _Unwanted(Portion(shard), ())
    with storage.open(shard.path) as file, contextlib.suppress(DataFault):
        parts = _read_parts(file, Portion(shard), source, count, everything, storage)
        records = next(parts).records
        for row in range(records.count):
            if row not in records.faults:
                names.update(records.available(row))
    return names


def read_ids(
    shard: Shard, source: SourceSpec, block_size: int, storage: Storage
) -> Iterator[tuple[int, Sequence[str | None]]]:
    """Yields the ids of a shard's records in order, and nothing else of them.

    Of damage they tell nothing: what cannot be read has no id, where ids are given; places
    (`SHARD:record`) are those of all records, good or bad.

    Args:
      shard: The file.
      source: How it is read.
      block_size: Records at a time.
      storage: Where it is.

    Yields:
      The number of the first of some records, and the id of each; None where it has none.

    Raises:
      RunError: The storage fails for good.
    """
    try:
        with storage.open(shard.path) as file, contextlib.suppress(DataFault):
            if source.features.id is None:
                count = _count_records(file, shard, source, storage)
                for first in range(0, count, block_size):
                    numbers = range(first, min(first + block_size, count))
                    yield first, [f"{shard.folder}:{number}" for number in numbers]
                return
            # In the place of the input, which every reader reads.
            features = Features(input=source.features.id, id=source.features.id)
            of_ids = dataclasses.replace(source, features=features)
            everything = _Unwanted(Portion(shard), ())
            for part in _read_parts(file, Portion(shard), of_ids, block_size, everything, storage):
                yield part.records.first, known_ids(part.records.columns["id"])
    except OSError as error:
        raise RunError(f"{shard.path} cannot be read ({error})") from error


def _count_records(file: BinaryIO, shard: Shard, source: SourceSpec, storage: Storage) -> int:
    if source.format == "parquet":
        return parquet.count_records(file)
    return tfrecord.count_records(file, shard, source, storage)


@dataclasses.dataclass(frozen=True)
class _Unwanted:
    """Blocks that are not to be read: those outside a portion, and some within."""

    portion: Portion
    skip: Container[int]

    def __contains__(self, number: object) -> bool:
        assert isinstance(number, int)  # noqa: S101 - Container would have any object
        return not self.portion.holds(number) or number in self.skip


def _read_parts(  # noqa: PLR0917
    file: BinaryIO,
    portion: Portion,
    source: SourceSpec,
    block_size: int,
    skip: Container[int],
    storage: Storage,
) -> Iterator[Part]:
    if source.format == "parquet":
        return _read_parquet(file, portion, source, block_size, skip)
    return tfrecord.read_parts(file, portion, source, block_size, skip, storage)


def _read_parquet(
    file: BinaryIO, portion: Portion, source: SourceSpec, block_size: int, skip: Container[int]
) -> Iterator[Part]:
    budget = BlockBudget(portion.shard.path, block_size, source.max_block_bytes)
    for number, records, end in parquet.read_records(
        file, source.features, block_size, skip, source.max_record_bytes, budget
    ):
        yield Part(number, records, np.ones(records.count, np.int64), (), end)


def _unreadable_shard(shard: Shard, fault: DataFault, features: Features) -> Block:
    """The only block of a shard of which nothing can be read, not even how much it holds."""
    failure = Failure(shard.name, None, None, fault.stage, fault.error, str(fault))
    nothing = Examples(
        records=np.zeros(0, np.int64),
        ids=(),
        inputs=(),
        labels=np.zeros(0, np.int32),
        boxes=None if features.boxes is None else (),
        masks=None if features.mask is None else (),
        slices=dict.fromkeys(features.slices, ()),
        beside=dict.fromkeys((name for name, _ in features.beside), ()),
    )
    return Block(
        BlockKey(shard, 0, 0, 1, last=True),
        nothing,
        (failure,),
        sizes=np.zeros(1, np.int64),
        gaps=(0,),
        end=ShardEnd(None, str(fault)),
    )
