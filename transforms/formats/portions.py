"""Shards -> portions: big files are read by several workers, in ranges of blocks.

Blocks are numbered from a file's first record on, so which portion a block is in leaves no trace
in the atlas. What can be split is told by the file (Parquet's row groups) or by an index beside
it (TFRecord); small files stay whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import Portion, Shard
from transforms.formats.source import SourceSpec
from transforms.formats.tfrecord.index import check_offsets, read_block_offsets
from transforms.storage import Storage

PORTION_BYTES = 256 << 20
"""A larger file is split. Datasets' usual shards, of 100 to 200 MB, stay whole."""


def plan_portions(
    shards: Sequence[Shard],
    source: SourceSpec,
    block_size: int,
    storage: Storage,
    portion_bytes: int = PORTION_BYTES,
) -> tuple[Portion, ...]:
    """Splits the shards that are larger than a portion, where they can be.

    Args:
      shards: The files.
      source: What is in them.
      block_size: Records a block.
      storage: Where they are.
      portion_bytes: Portions are cut at the first place after so many bytes.

    Raises:
      ConfigurationError: An index that does not fit its file.
    """
    split = _split_parquet if source.format == "parquet" else _split_tfrecord
    portions: list[Portion] = []
    for shard in shards:
        if shard.size > portion_bytes:
            portions += split(shard, block_size, storage, portion_bytes)
        else:
            portions.append(Portion(shard))
    return tuple(portions)


def unsplit_warning(portions: Sequence[Portion], source: SourceSpec) -> list[str]:
    """What to say where one worker will read more than it should have to."""
    whole = [
        portion.shard
        for portion in portions
        if portion.shard.size > 2 * PORTION_BYTES
        and (portion.first_block, portion.stop_block) == (0, None)
    ]
    if not whole or source.format == "parquet":
        return []
    return [
        f"{len(whole)} of the input files are larger than {2 * PORTION_BYTES >> 20} MiB and have "
        f"no index, such as {whole[0].path}: each is read by one worker; saliency-atlas index "
        "makes indexes of files that are not compressed"
    ]


def _split_parquet(
    shard: Shard, block_size: int, storage: Storage, portion_bytes: int
) -> Iterator[Portion]:
    """Cuts where row groups begin: at the next block, which may begin within the row group."""
    try:
        with storage.open(shard.path) as stream:
            metadata = pq.read_metadata(stream)
    except pa.ArrowInvalid:  # One failure when it is read.
        yield Portion(shard)
        return
    cuts = []
    rows = size = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if size >= portion_bytes:
            cuts.append(-(-rows // block_size))
            size = 0
        rows += group.num_rows
        size += sum(
            group.column(column).total_compressed_size for column in range(group.num_columns)
        )
    blocks = -(-rows // block_size)
    yield from _between(shard, [(cut, 0) for cut in sorted(set(cuts)) if 0 < cut < blocks])


def _split_tfrecord(
    shard: Shard, block_size: int, storage: Storage, portion_bytes: int
) -> Iterator[Portion]:
    offsets = read_block_offsets(shard, block_size, storage)
    if offsets is None:
        yield Portion(shard)
        return
    cuts = []
    begin = 0
    for block, offset in enumerate(offsets):
        if offset - begin >= portion_bytes:
            cuts.append((block, offset))
            begin = offset
    check_offsets(shard, [offset for _, offset in cuts], storage)
    yield from _between(shard, cuts)


def _between(shard: Shard, cuts: Sequence[tuple[int, int]]) -> Iterator[Portion]:
    """The portions between cuts, each the block and the byte with which a portion begins."""
    starts = [(0, 0), *cuts]
    stops = [*cuts, (None, None)]
    for (first, offset), (stop, end) in zip(starts, stops, strict=True):
        yield Portion(shard, first, stop, offset, end or None)
