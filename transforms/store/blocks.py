"""The blocks of an atlas: commit, listing, reading back.

One block is one Parquet file, `maps/SHARD/block-00007.parquet`. Its name depends on the input file
and the block's number only, and it appears by a rename, so an attempt that is retried, repeated
or resumed replaces a file by the same file. What failed in the block is in the file's own
metadata: there is no second file to lose, and no block without its failures.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import (
    BlockKey,
    CommittedBlock,
    ExplainedBlock,
    Failure,
    ImageWarning,
    Portion,
    Shard,
)
from transforms.errors import RunError
from transforms.extents import Extent
from transforms.storage import FileEntry, Storage, escape, join
from transforms.store.block_file import block_metadata, encode_block, is_whole, tail_digest
from transforms.store.files import discard, write_through
from transforms.store.layout import (
    FORMAT_VERSION,
    MAPS_FOLDER,
    SET_ASIDE_FOLDER,
    block_number,
    block_path,
    resembles_block,
)
from transforms.store.lease_file import check_lease
from transforms.store.map_format import PICTURES

_LOGGER = logging.getLogger(__name__)


def commit_block(  # noqa: PLR0917 - as a stage hands them on
    root: str,
    block: ExplainedBlock,
    fingerprint: str,
    storage: Storage,
    attempt: str,
    lease: str | None = None,
) -> CommittedBlock:
    """Writes a block's file under a temporary name, then renames it.

    Args:
      root: The atlas.
      block: What to store.
      fingerprint: Of the settings and model that the maps come from.
      storage: Where the atlas is.
      attempt: Names the run, by whose folder it is written (`lease_file.run_folder`).
      lease: The run's lease, without which nothing is written; None where nobody holds one.

    Raises:
      RunError: The file cannot be written, or another run has taken over.
    """
    data = encode_block(block, fingerprint)
    path = block_path(root, block.key.shard, block.key.number)
    try:
        check_lease(lease, storage)
        write_through(root, attempt, path, memoryview(data), storage)
    except OSError as error:
        raise RunError(
            f"block {block.key.number} of {block.key.shard.path} cannot be committed to {path} "
            f"({error})"
        ) from error
    return CommittedBlock(
        key=block.key,
        summary=_summary(block.table),
        examples=block.examples,
        failures=block.failures,
        stored_bytes=len(data),
        digest=tail_digest(data),
        time_span=None,
        input_digest=block.input_digest,
        extent=block.extent,
        warnings=block.warnings,
        left_out=block.left_out,
    )


class UntrustedBlockError(RunError):
    """A file in a block's place that is not that block, or not whole; the message says why."""


def read_committed(
    file: BlockFile, shard: Shard, fingerprint: str, storage: Storage
) -> CommittedBlock:
    """Reads a committed block back, less its maps, once it has proved to be that block.

    All of the file is read: what it says of itself must name this shard, number and fingerprint,
    and every byte must be what its checksum says.

    Args:
      file: Where it is.
      shard: Whose block it has to be.
      fingerprint: What it has to be made by.
      storage: Where the atlas is.

    Raises:
      UntrustedBlockError: It is damaged, or another block.
      OSError: The storage fails.
    """
    with storage.open(file.path) as stream:
        data = stream.read()
    if not is_whole(data):
        raise UntrustedBlockError(
            f"{file.path} is damaged or no block: its bytes have not the checksum of one"
        )
    try:
        parquet = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        metadata = block_metadata(parquet)
        columns = [name for name in parquet.schema_arrow.names if name not in PICTURES]
        summary = parquet.read(columns=columns).replace_schema_metadata(None).combine_chunks()
        block = _committed(metadata, summary, shard, data, tail_digest(data))
    # What damage, or a file of somebody else's, can make Arrow and the look-ups below raise.
    except (KeyError, TypeError, ValueError, pa.ArrowException, OSError) as error:
        raise UntrustedBlockError(
            f"{file.path} cannot be read ({' '.join(str(error).split())})"
        ) from error
    described = metadata["block"]["shard"]
    for name, found, expected in (
        ("format", metadata["format"], FORMAT_VERSION),
        ("input file", described["path"], shard.path),
        ("input file's size", described["size"], shard.size),
        ("number", block.key.number, file.number),
        ("fingerprint", metadata["fingerprint"], fingerprint),
    ):
        if found != expected:
            raise UntrustedBlockError(
                f"{file.path} is another block: its {name} is {found}, not {expected}"
            )
    return block


def _summary(table: pa.Table) -> pa.Table:
    return table.select([name for name in table.column_names if name not in PICTURES])


def _committed(
    metadata: Mapping[str, Any], summary: pa.Table, shard: Shard, data: bytes, digest: int
) -> CommittedBlock:
    block = metadata["block"]
    return CommittedBlock(
        key=BlockKey(
            shard=shard,
            number=block["number"],
            first_record=block["first_record"],
            records=block["records"],
            last=block["last"],
        ),
        summary=summary,
        examples=metadata["examples"],
        failures=tuple(Failure(**failure) for failure in metadata["failures"]),
        stored_bytes=len(data),
        digest=digest,
        time_span=None,
        input_digest=metadata["input_digest"],
        extent=None if metadata["extent"] is None else Extent.from_dict(metadata["extent"]),
        warnings=tuple(ImageWarning(**each) for each in metadata.get("warnings", ())),
        left_out=metadata.get("left_out", 0),
    )


@dataclasses.dataclass(frozen=True, order=True)
class BlockFile:
    """A file in a block's place: the block's number in the shard, its path and bytes."""

    number: int
    path: str
    size: int


@dataclasses.dataclass(frozen=True)
class MapsFolder:
    """All that lies in an atlas's maps folder.

    Attributes:
      blocks: Files in the places of blocks, by number, by the folder of their shard.
      strangers: Paths of all other files, at any depth, sorted.
    """

    blocks: Mapping[str, Sequence[BlockFile]]
    strangers: Sequence[str]


def list_blocks(root: str, shard: Shard, storage: Storage) -> list[BlockFile]:
    """Files in the places of a shard's blocks, by number."""
    entries = storage.match(escape(join(root, MAPS_FOLDER, shard.folder)) + "/block-*.parquet")
    files = (_block_file(entry) for entry in entries)
    return sorted(file for file in files if file is not None)


def resumed_blocks(
    root: str,
    portion: Portion,
    fingerprint: str,
    storage: Storage,
    run: str | None = None,
) -> Iterator[CommittedBlock]:
    """Reads back a portion's committed blocks, by number; sets aside what cannot be trusted.

    Args:
      root: The atlas.
      portion: Which blocks of which input file.
      fingerprint: What they have to be made by.
      storage: Where the atlas is.
      run: Who reads, and may set aside what it cannot trust; None leaves it where it is.

    Raises:
      RunError: The storage fails, or another run has taken over.
    """
    for file in list_blocks(root, portion.shard, storage):
        if not portion.holds(file.number):
            continue
        try:
            block = read_committed(file, portion.shard, fingerprint, storage)
        except UntrustedBlockError as error:
            if run is None:
                _LOGGER.warning("%s: it is not counted", error)
            else:
                set_aside(root, file.path, str(error), storage, run)
            continue
        except OSError as error:
            raise RunError(f"{file.path} cannot be read ({error})") from error
        yield block


def list_maps_folder(root: str, shards: Iterable[Shard], storage: Storage) -> MapsFolder:
    """Lists the maps folder of an atlas.

    Args:
      root: The atlas.
      shards: Its input files: a block belongs to one of them.
      storage: Where it is.
    """
    blocks: dict[str, list[BlockFile]] = {shard.folder: [] for shard in shards}
    strangers = []
    maps = join(root, MAPS_FOLDER)
    for entry in storage.match(escape(maps) + "/**"):
        folder, _, _ = entry.path[len(maps) + 1 :].rpartition("/")
        file = _block_file(entry)
        if folder in blocks and file is not None:
            blocks[folder].append(file)
        else:
            strangers.append(entry.path)
    return MapsFolder({folder: sorted(files) for folder, files in blocks.items()}, strangers)


def missing_blocks(blocks: Sequence[BlockKey]) -> list[int]:
    """Numbers of the blocks that an input file must have and has not.

    Args:
      blocks: Those that it has. Where none of them says to be the last, the one after them is
        missing, too.

    >>> shard = Shard("/data/a.tfrecord", 1)
    >>> missing_blocks([BlockKey(shard, 1, 8, 8, last=False)])
    [0, 2]
    """
    numbers = {block.number for block in blocks}
    ends = [block.number for block in blocks if block.last]
    stop = min(ends) + 1 if ends else max(numbers, default=-1) + 2
    return sorted({*range(stop)} - numbers)


def holds_blocks(root: str, storage: Storage) -> bool:
    """Whether there is anything in the maps folder that may be a block, of whatever atlas."""
    entries = storage.match(escape(join(root, MAPS_FOLDER)) + "/*/block-*.parquet")
    return any(resembles_block(entry.path.rpartition("/")[2]) for entry in entries)


def set_aside(root: str, path: str, why: str, storage: Storage, run: str) -> None:
    """Moves a file that cannot be trusted out of the maps folder, and says so.

    Args:
      root: The atlas.
      path: The file; gone already is no error.
      why: One clause that begins with the path.
      storage: Where it is.
      run: Who moves it, as long as nobody has taken over.

    Raises:
      RunError: Another run has taken over, or the storage fails.
    """
    place = join(root, SET_ASIDE_FOLDER, path[len(root) + 1 :])
    _LOGGER.warning("%s: moved to %s, and what it should hold is made anew", why, place)
    try:
        with contextlib.suppress(FileNotFoundError), storage.open(path) as stream:
            write_through(root, run, place, stream.read(), storage)
        discard(root, path, storage, run)
    except OSError as error:
        raise RunError(f"{path} cannot be moved to {place} ({error})") from error


class CommittedCounter:
    """Counts an atlas's committed blocks and their records; each file is opened once.

    Args:
      root: The atlas.
      storage: Where it is.
    """

    def __init__(self, root: str, storage: Storage) -> None:
        self._root = root
        self._storage = storage
        self._records: dict[str, int] = {}

    def __call__(self) -> tuple[int, int]:
        """Blocks and records committed so far."""
        pattern = escape(join(self._root, MAPS_FOLDER)) + "/*/block-*.parquet"
        for entry in self._storage.match(pattern):
            if entry.path not in self._records and _block_file(entry) is not None:
                with self._storage.open(entry.path) as stream:
                    metadata = block_metadata(pq.ParquetFile(stream))
                self._records[entry.path] = metadata["block"]["records"]
        return len(self._records), sum(self._records.values())


def _block_file(entry: FileEntry) -> BlockFile | None:
    number = block_number(entry.path.rpartition("/")[2])
    return None if number is None else BlockFile(number, entry.path, entry.size)
