"""Which blocks of two atlases are met: files of maps, without a look at any map.

- An input file that both atlases explain has its blocks in folders of one name. Records have the
  same numbers there, so a block meets those of the other atlas that hold some of its records: one,
  where both have the same `output.block_size`.
- So has a file of one name and size that lies in another place, where the data name their examples,
  so that it shows whether they are the same ones.
- Examples of all other files are met by id, where the data name them: ids are read, hashed, and
  joined here, in 20 bytes an example and side. What is met then is a pair of blocks again, with the
  numbers of the records that are met.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from transforms.elements import Shard
from transforms.store.layout import block_number

Open = Callable[[str], pq.ParquetFile]
"""Opens a block by its path below its atlas."""

Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class BlockPair:
    """Two blocks whose examples are met.

    Attributes:
      first: The block's path below the first atlas.
      second: Below the second.
      records: Numbers of the records that are met, in the first and in the second; None where those
        of the same number are.
    """

    first: str
    second: str
    records: tuple[Integers, Integers] | None = None


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The blocks of an atlas.

    Attributes:
      paths: Below the atlas, by the folder of the input file and the block's number.
      shards: The input files.
      block_size: Records a block has at most.
    """

    paths: Mapping[str, Mapping[int, str]]
    shards: Sequence[Shard]
    block_size: int

    @classmethod
    def of(cls, paths: Iterable[str], shards: Sequence[Shard], block_size: int) -> Blocks:
        """Those at some paths, `maps/SHARD/block-00007.parquet`."""
        found: dict[str, dict[int, str]] = {}
        for path in paths:
            *_, folder, name = path.split("/")
            number = block_number(name)
            if number is not None:
                found.setdefault(folder, {})[number] = path
        return cls(found, shards, block_size)


@dataclasses.dataclass(frozen=True)
class Pairing:
    """The blocks that are met, and what is known by then.

    Attributes:
      pairs: In order of the first atlas.
      by_id: Whether some are met by id.
      duplicates: Examples of the first and of the second that are not met, as their id is that of
        another; only where they are met by id.
    """

    pairs: tuple[BlockPair, ...]
    by_id: bool
    duplicates: tuple[int, int]


def pair_blocks(first: Blocks, second: Blocks, openers: tuple[Open, Open] | None) -> Pairing:
    """Says which blocks are met.

    Args:
      first: The blocks of the first atlas.
      second: Of the second.
      openers: Open blocks of the first and of the second, to join by id what has no file in common;
        None where the data do not name their examples.
    """
    folders = _same_files(first.shards, second.shards, anywhere=openers is not None)
    pairs = [
        pair for ours, theirs in folders.items() for pair in _of_file(ours, theirs, first, second)
    ]
    ours = _paths(first, {*first.paths} - {*folders})
    theirs = _paths(second, {*second.paths} - {*folders.values()})
    if openers is None or not ours or not theirs:
        return Pairing(tuple(pairs), by_id=False, duplicates=(0, 0))
    ids, other_ids = map(_Ids.read, (ours, theirs), openers)
    pairs += _by_id(ids, other_ids)
    return Pairing(tuple(pairs), by_id=True, duplicates=(ids.duplicates, other_ids.duplicates))


def _same_files(
    first: Sequence[Shard], second: Sequence[Shard], *, anywhere: bool
) -> dict[str, str]:
    """Folders of the input files that both have, by their folders in the first.

    Args:
      first: The input files of the first atlas.
      second: Of the second.
      anywhere: Whether one of the same name and size in another place is the same file.
    """
    other = {shard.folder: shard for shard in second}
    found = {
        shard.folder: shard.folder
        for shard in first
        if shard.folder in other and other[shard.folder].size == shard.size
    }
    if not anywhere:
        return found
    ours, theirs = (
        [shard for shard in shards if shard.folder not in found] for shards in (first, second)
    )
    names = collections.Counter((shard.name, shard.size) for shard in ours)
    other_names = collections.Counter((shard.name, shard.size) for shard in theirs)
    elsewhere = {(shard.name, shard.size): shard.folder for shard in theirs}
    for shard in ours:
        name = (shard.name, shard.size)
        if names[name] == other_names[name] == 1:
            found[shard.folder] = elsewhere[name]
    return found


def _of_file(ours: str, theirs: str, first: Blocks, second: Blocks) -> Iterator[BlockPair]:
    """Blocks of an input file that hold some of the same records."""
    others = second.paths.get(theirs, {})
    for number, path in sorted(first.paths.get(ours, {}).items()):
        start = number * first.block_size
        last = start + first.block_size - 1
        for other in range(start // second.block_size, last // second.block_size + 1):
            if other in others:
                yield BlockPair(path, others[other])


def _paths(blocks: Blocks, folders: set[str]) -> list[str]:
    return [path for folder in sorted(folders) for _, path in sorted(blocks.paths[folder].items())]


@dataclasses.dataclass(frozen=True)
class _Ids:
    """The examples of some blocks, ordered by the hash of their ids, each hash once.

    Attributes:
      paths: The blocks.
      hashes: (N,) 64 bits of each id's BLAKE2b.
      blocks: (N,) the number of the block.
      records: (N,) the number of the record.
      duplicates: How many others there were.
    """

    paths: list[str]
    hashes: npt.NDArray[np.uint64]
    blocks: npt.NDArray[np.int32]
    records: Integers
    duplicates: int

    @classmethod
    def read(cls, paths: list[str], open_block: Open) -> _Ids:
        hashes, blocks, records = [], [], []
        for number, path in enumerate(paths):
            rows = open_block(path).read(["example_id", "record"])
            numbers = rows["record"].to_numpy()
            places = np.unique(numbers, return_index=True)[1]  # an example may have several maps
            ids = rows["example_id"].take(places).to_pylist()
            hashes.append(np.array([_hash(each) for each in ids], np.uint64))
            blocks.append(np.full(len(ids), number, np.int32))
            records.append(numbers[places])
        every, of_blocks = np.concatenate(hashes), np.concatenate(blocks)
        numbers = np.concatenate(records)
        found, places, counts = np.unique(every, return_index=True, return_counts=True)
        once = counts == 1
        kept = places[once]
        return cls(paths, found[once], of_blocks[kept], numbers[kept], int(len(every) - len(kept)))


def _hash(example_id: str) -> int:
    encoded = example_id.encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")


def _by_id(first: _Ids, second: _Ids) -> Iterator[BlockPair]:
    """Pairs of blocks with the records whose ids are the same, in order of the first."""
    _, ours, theirs = np.intersect1d(
        first.hashes, second.hashes, assume_unique=True, return_indices=True
    )
    order = np.lexsort((first.records[ours], second.blocks[theirs], first.blocks[ours]))
    ours, theirs = ours[order], theirs[order]
    if not len(ours):
        return
    blocks, others = first.blocks[ours], second.blocks[theirs]
    changes = np.flatnonzero((np.diff(blocks) != 0) | (np.diff(others) != 0)) + 1
    for places in np.split(np.arange(len(ours)), changes):
        yield BlockPair(
            first.paths[blocks[places[0]]],
            second.paths[others[places[0]]],
            (first.records[ours[places]], second.records[theirs[places]]),
        )
