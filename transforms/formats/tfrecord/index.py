"""Index files of TFRecord files: where each record begins, so that a file can be read in portions.

A line a record, `OFFSET LENGTH` in bytes, framing included: the format of `tfrecord2idx`, a tool of
the tfrecord package. That tool itself opens local files only and looks at no checksum, so a damaged
or compressed file gets an index of nonsense; here it is refused. The index of `data.tfrecord` is
`data.tfrecord.idx`. It can only be of a file that is not compressed.
"""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Iterator, Sequence

from transforms.elements import Shard
from transforms.errors import ConfigurationError
from transforms.formats.tfrecord.framing import (
    FRAMING_BYTES,
    begins_record,
    is_compressed,
    read_frames,
)
from transforms.storage import Storage, escape, join

SUFFIX = ".idx"


def index_path(path: str) -> str:
    """Where the index of a file is."""
    return path + SUFFIX


def without_indexes(paths: Sequence[str]) -> list[str]:
    """The paths that are not the index of another one of them.

    >>> without_indexes(["a", "a.idx", "b.idx"])
    ['a', 'b.idx']
    """
    known = set(paths)
    return [path for path in paths if not (path.endswith(SUFFIX) and path[: -len(SUFFIX)] in known)]


def write_index(shard: Shard, storage: Storage) -> int:
    """Writes a file's index.

    Returns:
      How many records the file has.

    Raises:
      ConfigurationError: The file is compressed or damaged.
    """
    lines = []
    with storage.open(shard.path) as file:
        if is_compressed(file):
            raise ConfigurationError(
                f"{shard.path} is compressed, so it can only be read from its beginning: write it "
                "without compression, or as more and smaller files"
            )
        offset = 0
        for frame in read_frames(file, "none"):
            if frame.fault is not None or frame.payload is None:
                raise ConfigurationError(
                    f"{shard.path} cannot be indexed, as {frame.fault}: read it without an index"
                )
            length = len(frame.payload) + FRAMING_BYTES
            lines.append(f"{offset} {length}\n")
            offset += length
    _replace(index_path(shard.path), "".join(lines).encode(), storage)
    return len(lines)


def _replace(path: str, data: bytes, storage: Storage) -> None:
    """Writes by a folder with a leading dot, which no pattern of input files looks into."""
    folder = join(posixpath.dirname(path), f".indexing-{uuid.uuid4().hex}")
    try:
        storage.make_folder(folder)
        storage.replace(join(folder, "index"), path, data)
    finally:
        storage.delete(folder)


def read_block_offsets(shard: Shard, block_size: int, storage: Storage) -> list[int] | None:
    """Where each block of a file begins; None where it has no index.

    Args:
      shard: The file.
      block_size: Records a block.
      storage: Where it is.

    Raises:
      ConfigurationError: The index is of another file, or of this one as it was.
    """
    path = index_path(shard.path)
    if not storage.match(escape(path)):
        return None
    offsets = []
    end = 0
    with storage.open(path) as stream:
        for record, (offset, length) in enumerate(_lines(stream, path)):
            if offset != end:
                raise _stale(path, shard, f"record {record} should begin at byte {end}")
            if record % block_size == 0:
                offsets.append(offset)
            end = offset + length
    if end != shard.size:
        raise _stale(path, shard, f"it ends at byte {end}, the file at {shard.size}")
    return offsets


def check_offsets(shard: Shard, offsets: Sequence[int], storage: Storage) -> None:
    """Sees that a record begins at each offset.

    Raises:
      ConfigurationError: One does not: the file has changed, at the same size.
    """
    with storage.open(shard.path) as file:
        for offset in offsets:
            file.seek(offset)
            if not begins_record(file):
                where = f"no record begins at byte {offset}"
                raise _stale(index_path(shard.path), shard, where)


def _lines(stream: Iterator[bytes], path: str) -> Iterator[tuple[int, int]]:
    for number, line in enumerate(stream, 1):
        try:
            offset, length = line.split()
            yield int(offset), int(length)
        except ValueError as error:
            raise ConfigurationError(
                f"{path}: line {number} is not an offset and a length; make it anew with "
                "saliency-atlas index"
            ) from error


def _stale(path: str, shard: Shard, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} does not fit {shard.path} ({why}): make it anew with saliency-atlas index "
        f"{shard.path}, or remove it"
    )
