"""The blocks of an atlas: commit, listing, reading back.

One block is one Parquet file, `maps/SHARD/block-00007.parquet`. Its name depends on the input file
and the block's number only, and it appears by a rename, so an attempt that is retried, repeated
or resumed replaces a file by the same file. What failed in the block is in the file's own
metadata: there is no second file to lose, and no block without its failures.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import BlockKey, CommittedBlock, ExplainedBlock, Failure, Shard
from transforms.errors import RunError
from transforms.storage import Storage, escape, join
from transforms.store.block_file import block_metadata, encode_block, tail_digest
from transforms.store.files import write_through
from transforms.store.layout import MAPS_FOLDER, block_number, block_path
from transforms.store.lease_file import check_lease


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
        summary=block.table.drop_columns(["map"]),
        examples=block.examples,
        failures=block.failures,
        stored_bytes=len(data),
        digest=tail_digest(pq.ParquetFile(pa.BufferReader(data)), io.BytesIO(data)),
        time_span=None,
    )


def read_committed(path: str, size: int, fingerprint: str, storage: Storage) -> CommittedBlock:
    """Reads a committed block back, less its maps.

    Raises:
      RunError: The file is damaged, or not one of this atlas.
    """
    try:
        with storage.open(path) as stream:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            metadata = block_metadata(file, path)
            columns = [name for name in file.schema_arrow.names if name != "map"]
            summary = file.read(columns=columns).replace_schema_metadata(None).combine_chunks()
            digest = tail_digest(file, stream)
    except (KeyError, ValueError, pa.ArrowException, OSError) as error:
        raise RunError(
            f"{path} cannot be read ({' '.join(str(error).split())}): if it is damaged, remove "
            "it and go on with --resume"
        ) from error
    if metadata["fingerprint"] != fingerprint:
        raise RunError(
            f"{path} was made by another model or configuration (fingerprint "
            f"{metadata['fingerprint'][:12]}, this run's is {fingerprint[:12]}): "
            "give the run an output.path of its own, or --overwrite"
        )
    block = metadata["block"]
    return CommittedBlock(
        key=BlockKey(
            shard=Shard(**block["shard"]),
            number=block["number"],
            first_record=block["first_record"],
            records=block["records"],
            last=block["last"],
        ),
        summary=summary,
        examples=metadata["examples"],
        failures=tuple(Failure(**failure) for failure in metadata["failures"]),
        stored_bytes=size,
        digest=digest,
        time_span=None,
    )


@dataclasses.dataclass(frozen=True, order=True)
class BlockFile:
    """A committed block's file: its number in the shard, path and bytes."""

    number: int
    path: str
    size: int


def list_blocks(root: str, shard: Shard, storage: Storage) -> list[BlockFile]:
    """The committed blocks of a shard, by number."""
    entries = storage.match(escape(join(root, MAPS_FOLDER, shard.folder)) + "/block-*.parquet")
    return sorted(_block_files(entries))


def list_all_blocks(root: str, storage: Storage) -> list[BlockFile]:
    """The committed blocks of an atlas, by path."""
    entries = storage.match(escape(join(root, MAPS_FOLDER)) + "/*/block-*.parquet")
    return sorted(_block_files(entries), key=lambda block: block.path)


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
        for file in list_all_blocks(self._root, self._storage):
            if file.path not in self._records:
                with self._storage.open(file.path) as stream:
                    metadata = block_metadata(pq.ParquetFile(stream), file.path)
                self._records[file.path] = metadata["block"]["records"]
        return len(self._records), sum(self._records.values())


def _block_files(entries: Iterable[Any]) -> Iterable[BlockFile]:
    for entry in entries:
        found = block_number(entry.path.rpartition("/")[2])
        if found is not None:
            yield BlockFile(found, entry.path, entry.size)
