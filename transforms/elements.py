"""The nouns that flow through the pipeline: immutable, checked at birth, picklable.

    Portion (of a Shard) -> Block -> ExplainedBlock -> CommittedBlock

A `Block` is the unit of everything: memory, work, commit, retry and resume.
"""

from __future__ import annotations

import dataclasses
import hashlib
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.digests import columns_digest, optional_column, text_column
from transforms.extents import Extent, ShardEnd
from transforms.storage import to_text

NO_LABEL = -1
"""In `Examples.labels`: the source has no label feature, or the example no label."""

BOX_COORDINATES = 4
"""A box is `[ymin, xmin, ymax, xmax]`, each in 0..1."""


@dataclasses.dataclass(frozen=True, order=True)
class Shard:
    """One input file.

    Attributes:
      path: Absolute path or URI.
      size: Bytes.
      version: Another one whenever the content is (`FileEntry.version`); None where it is unknown.

    >>> Shard("gs://bucket/train-0.tfrecord", size=1024).name
    'train-0.tfrecord'
    """

    path: str
    size: int
    version: str | None = dataclasses.field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The file's name, as the `shard` column of every table shows it."""
        return to_text(posixpath.basename(self.path))

    def example_id(self, record: int) -> str:
        """The name of its record: unique, and the same when other files are added.

        >>> Shard("/data/train-0.tfrecord", 1).example_id(7)
        'train-0-b7ad0922ed814a2b:7'
        """
        return f"{self.folder}:{record}"

    @property
    def folder(self) -> str:
        """Its folder under `maps/`: the stem, then 16 hex digits of the path's SHA-256.

        >>> Shard("/data/train-0.tfrecord", 1).folder
        'train-0-b7ad0922ed814a2b'
        """
        path = self.path.encode(errors="surrogateescape")
        digest = hashlib.sha256(path).hexdigest()[:16]
        # What is not UTF-8 is replaced: any reader and any storage can name the folder.
        stem = posixpath.splitext(posixpath.basename(path))[0].decode(errors="replace")
        return f"{stem}-{digest}"


@dataclasses.dataclass(frozen=True, order=True)
class Portion:
    """Consecutive blocks of one shard, for one worker to read; by itself, all of it.

    Attributes:
      shard: The input file.
      first_block: Number of the first of them.
      stop_block: Number of the first block after them; None for all there are.
      offset: Byte at which the first one's first record begins, where the format needs to know.
      stop_offset: Byte at which the first record after them begins, where the format needs to know.

    >>> portion = Portion(Shard("data/train-0.parquet", 1024), first_block=4, stop_block=8)
    >>> portion.holds(7), portion.holds(8)
    (True, False)
    """

    shard: Shard
    first_block: int = 0
    stop_block: int | None = None
    offset: int = 0
    stop_offset: int | None = None

    def holds(self, number: int) -> bool:
        """Whether a block of that number belongs to it."""
        return self.first_block <= number and (self.stop_block is None or number < self.stop_block)


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Failure:
    """One record or example that could not be explained, and why.

    Attributes:
      shard: Input file's name.
      record: Record number in it, from 0; None where it is unknown.
      example_id: None where the record could not be read far enough to know.
      stage: `read`, `parse`, `decode` or `explain`.
      error: Short, stable name of the fault.
      message: One sentence.

    >>> failure = Failure("a.tfrecord", 3, "cat-3", "decode", "UndecodableImage", "it is no image")
    >>> f"{failure.shard}, record {failure.record}: {failure.message}"
    'a.tfrecord, record 3: it is no image'
    """

    shard: str
    record: int | None
    example_id: str | None
    stage: str
    error: str
    message: str


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class ImageWarning:
    """What libjpeg says of a JPEG that it decodes, and that is explained all the same.

    Attributes:
      record: Number of its record in the shard, from 0.
      message: libjpeg's own.

    >>> warning = ImageWarning(3, "Corrupt JPEG data: premature end of data segment")
    >>> f"record {warning.record}: {warning.message}"
    'record 3: Corrupt JPEG data: premature end of data segment'
    """

    record: int
    message: str


@dataclasses.dataclass(frozen=True)
class Examples:
    """Examples of one block, column by column, in record order.

    Attributes:
      records: (N,) int64 record numbers in the shard, ascending.
      ids: N example ids.
      inputs: N encoded images or raw tensors (bytes), or a dense (N, ...) array for numeric
        features.
      labels: (N,) int32 class indices; `NO_LABEL` where there is none. Whether they are in the
        model's range is checked where the model is known.
      boxes: N arrays of (K, 4) float32 `[ymin, xmin, ymax, xmax]` in 0..1; None where the source
        has none.
      slices: Name of a slice -> the N examples' values, None where an example has none.
      masks: N masks, each a PNG, None where an example has none; None where the source has none.
      beside: Name of another input of the model -> N arrays (k,) of the numbers that feed it.

    >>> import numpy as np
    >>> labels = np.array([3, 0], np.int32)
    >>> examples = Examples(np.array([0, 1]), ("a", "b"), (b"GIF", b"PNG"), labels)
    >>> len(examples), examples.digest()
    (2, '4fde979b')
    """

    records: npt.NDArray[np.int64]
    ids: tuple[str, ...]
    inputs: tuple[bytes, ...] | npt.NDArray[Any]
    labels: npt.NDArray[np.int32]
    boxes: tuple[npt.NDArray[np.float32], ...] | None = None
    slices: Mapping[str, tuple[str | None, ...]] = dataclasses.field(default_factory=dict)
    masks: tuple[bytes | None, ...] | None = None
    beside: Mapping[str, tuple[npt.NDArray[np.float64], ...]] = dataclasses.field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        count = len(self.ids)
        if self.records.shape != (count,) or self.records.dtype != np.int64:
            raise ValueError(f"records must be ({count},) int64, not {_describe(self.records)}")
        if self.labels.shape != (count,) or self.labels.dtype != np.int32:
            raise ValueError(f"labels must be ({count},) int32, not {_describe(self.labels)}")
        of_slices = {f"values of the slice {name!r}": each for name, each in self.slices.items()}
        of_inputs = {f"values of the input {name!r}": each for name, each in self.beside.items()}
        columns = {"inputs": self.inputs, "sets of boxes": self.boxes, "masks": self.masks}
        for what, values in (columns | of_slices | of_inputs).items():
            if values is not None and len(values) != count:
                raise ValueError(f"{len(values)} {what} for {count} ids")
        for boxes in self.boxes or ():
            if boxes.ndim != 2 or boxes.shape[1] != BOX_COORDINATES:  # noqa: PLR2004 - a matrix
                raise ValueError(f"boxes must be (K, 4), not {_describe(boxes)}")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> Examples:
        return Examples(
            records=self.records[rows],
            ids=self.ids[rows],
            inputs=self.inputs[rows],
            labels=self.labels[rows],
            boxes=None if self.boxes is None else self.boxes[rows],
            slices={name: values[rows] for name, values in self.slices.items()},
            masks=None if self.masks is None else self.masks[rows],
            beside={name: values[rows] for name, values in self.beside.items()},
        )

    def digest(self) -> str:
        """CRC-32C of all the examples, in 8 hex digits: equal for equal examples.

        It is to notice that an input file has changed, not to withstand forgery.
        """
        inputs = self.inputs
        columns: tuple[Sequence[bytes], ...] = (
            text_column(self.ids),
            [inputs.tobytes()] if isinstance(inputs, np.ndarray) else inputs,
            [boxes.tobytes() for boxes in self.boxes or ()],
            *(optional_column(name, values) for name, values in sorted(self.slices.items())),
            *([each.tobytes() for each in values] for _, values in sorted(self.beside.items())),
            [b"" if mask is None else mask for mask in self.masks or ()],
        )
        return columns_digest(self.records.tobytes() + self.labels.tobytes(), columns)


@dataclasses.dataclass(frozen=True)
class BlockKey:
    """Which records a block holds, independent of who reads it and when.

    Attributes:
      shard: The input file.
      number: First record's number divided by the block size.
      first_record: Number of its first record in the shard.
      records: How many records it spans, failed ones included.
      last: Whether the shard ends with it.

    >>> key = BlockKey(Shard("a.tfrecord", 99), number=2, first_record=1024, records=7, last=True)
    >>> key.first_record // 512 == key.number
    True
    """

    shard: Shard
    number: int
    first_record: int
    records: int
    last: bool

    def __post_init__(self) -> None:
        if self.number < 0 or self.first_record < 0 or self.records < 0:
            raise ValueError(f"a block's numbers cannot be negative: {self}")


@dataclasses.dataclass(frozen=True)
class Block:
    """Up to `block_size` consecutive records of one shard, parsed but still encoded.

    Every record is among the examples, the failures, or what a sample leaves out. A place where no
    record can be made out, a *gap*, counts as one record that failed, however many there were.

    Attributes:
      key: Which records.
      examples: Those that can be explained.
      failures: Those that cannot.
      sizes: (records,) int64, what each takes of the file: bytes, or 1 for a row of Parquet. None
        for a block that was not read from a file.
      gaps: Numbers of the records that are gaps.
      end: Of the file, in its last block.
      left_out: Numbers of the records that a sample leaves out.

    >>> import numpy as np
    >>> examples = Examples(np.array([0]), ("a",), (b"PNG",), np.array([3], np.int32))
    >>> block = Block(BlockKey(Shard("a.tfrecord", 99), 0, 0, 1, last=True), examples)
    >>> len(block.examples), block.failures
    (1, ())
    """

    key: BlockKey
    examples: Examples
    failures: tuple[Failure, ...] = ()
    sizes: npt.NDArray[np.int64] | None = None
    gaps: tuple[int, ...] = ()
    end: ShardEnd | None = None
    left_out: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require_all(self.key, len(self.examples), len(self.failures), len(self.left_out))
        if self.sizes is not None and self.sizes.shape != (self.key.records,):
            raise ValueError(
                f"sizes must be ({self.key.records},) int64, not {_describe(self.sizes)}"
            )

    def extent(self, failures: Sequence[Failure]) -> Extent | None:
        """What the block accounts for of its file; None where it was not read from one.

        Args:
          failures: All of the block, those of reading and those of explaining.
        """
        if self.sizes is None:
            return None
        gaps = set(self.gaps)
        first = self.key.first_record  # A file that cannot be opened is one record, unnumbered.
        numbers = {first if each.record is None else each.record for each in failures} - gaps
        failed = sum(int(self.sizes[number - first]) for number in numbers)
        unreadable = sum(int(self.sizes[number - first]) for number in gaps)
        left_out = sum(int(self.sizes[number - first]) for number in self.left_out)
        return Extent(
            explained=int(self.sizes.sum()) - failed - unreadable - left_out,
            failed=failed,
            unreadable=unreadable,
            gaps=len(gaps),
            end=self.end,
            left_out=left_out,
        )


@dataclasses.dataclass(frozen=True)
class ExplainedBlock:
    """A block's maps, as the table that will be stored.

    Attributes:
      key: The block.
      table: One row per example and target, with the columns of `store.map_format.MapFormat`.
      examples: How many examples have at least one row.
      failures: Those of reading and those of explaining.
      started: Seconds since the epoch when its explanation began; never stored.
      input_digest: Of the examples it was made from (`Examples.digest`); None where unknown.
      extent: What it accounts for of its file (`Block.extent`); None where unknown.
      warnings: Of its explained images, in record order.
      left_out: How many of its records a sample leaves out.

    >>> import pyarrow as pa
    >>> key = BlockKey(Shard("a.tfrecord", 99), 0, 0, 1, last=True)
    >>> ExplainedBlock(key, pa.table({"target": [3]}), 1, (), started=0.0).table.num_rows
    1
    """

    key: BlockKey
    table: pa.Table
    examples: int
    failures: tuple[Failure, ...]
    started: float
    input_digest: str | None = None
    extent: Extent | None = None
    warnings: tuple[ImageWarning, ...] = ()
    left_out: int = 0

    def __post_init__(self) -> None:
        _require_all(self.key, self.examples, len(self.failures), self.left_out)


@dataclasses.dataclass(frozen=True)
class CommittedBlock:
    """What is stored of a block, less the maps.

    Attributes:
      key: The block.
      summary: The stored table without its `map` column.
      examples: How many examples have at least one row.
      failures: Read back from the file's metadata.
      stored_bytes: Size of the file.
      digest: 64 bits that are others if the file's content is.
      time_span: (start, end) seconds since the epoch in which this run explained and committed it;
        None for a block that an earlier run committed.
      extent: What it accounts for of its file; None where unknown.
      input_digest: Of the examples it was made from; None where unknown.
      warnings: Of its explained images, in record order; read back like the failures.
      left_out: How many of its records a sample leaves out.

    >>> import pyarrow as pa
    >>> key = BlockKey(Shard("a.tfrecord", 99), 0, 0, 1, last=True)
    >>> block = CommittedBlock(key, pa.table({"target": [3]}), 1, (), 4096, 0, time_span=None)
    >>> block.summary["target"].to_pylist()
    [3]
    """

    key: BlockKey
    summary: pa.Table
    examples: int
    failures: tuple[Failure, ...]
    stored_bytes: int
    digest: int
    time_span: tuple[float, float] | None
    extent: Extent | None = None
    input_digest: str | None = None
    warnings: tuple[ImageWarning, ...] = ()
    left_out: int = 0


def _require_all(key: BlockKey, examples: int, failures: int, left_out: int) -> None:
    """Sees that a block's records are each accounted for."""
    if examples + failures + left_out != key.records:
        raise ValueError(
            f"block {key.number} of {key.shard.path} spans {key.records} records, not {examples} "
            f"examples, {failures} failures and {left_out} left out"
        )


def _describe(array: npt.NDArray[Any]) -> str:
    return f"{array.shape} {array.dtype}"
