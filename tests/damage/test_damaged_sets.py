"""Nothing is lost of any damaged set without being reported: counted apart from the reader."""

from __future__ import annotations

import collections
import functools
import io
import pickle
from typing import Any, BinaryIO

from accounts import account_of
from damaged_sets import FILES, RECORDS, DamagedSet, damaged_sets, sound_files

from transforms.elements import Block, Shard
from transforms.formats.features import Features
from transforms.formats.reader import read_blocks
from transforms.formats.source import Format, InputSpec, SourceSpec
from transforms.storage import FileEntry, LocalStorage

INPUTS = InputSpec("image", (8, 8, 3))
BLOCK_SIZE = 8
LONGEST = 220  # bytes of a record, framing included


class _Files(LocalStorage):
    """Files in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def open(self, path: str) -> BinaryIO:
        return io.BytesIO(self._files[path])

    def match(self, pattern: str) -> list[FileEntry]:  # noqa: ARG002 - none has an index
        return []


def read(damaged: DamagedSet, number: int, skip: tuple[int, ...] = ()) -> list[Block]:
    return list(_read(damaged.format, number, damaged.files[number], skip))


@functools.lru_cache(maxsize=4 * FILES)  # Most sets have files that are as they were.
def _read(format_: Format, number: int, data: bytes, skip: tuple[int, ...]) -> tuple[Block, ...]:
    shard = Shard(f"/data/{number}", len(data))
    source = SourceSpec(format_, Features("image", id="id"))
    storage = _Files({shard.path: data})
    return tuple(read_blocks(shard, source, INPUTS, BLOCK_SIZE, storage, skip))


def unreported(damaged: DamagedSet) -> list[str]:
    """What is wrong with how a set was read."""
    problems = []
    for number, lost in enumerate(damaged.lost):
        blocks = read(damaged, number)
        account = account_of(blocks)
        examples = [name for block in blocks for name in block.examples.ids]
        failed = sum(len(block.failures) for block in blocks)
        assert account.end is not None
        if account.imbalance is not None:
            problems.append(f"file {number}: {account.imbalance}")
        whole = len(damaged.files[number])
        if damaged.format == "tfrecord" and not damaged.compressed and account.end.whole != whole:
            problems.append(f"file {number} has {whole} bytes, not {account.end.whole}")
        if len(set(examples)) < RECORDS - lost:
            problems.append(f"file {number}: {len(set(examples))} of {RECORDS - lost} examples")
        if account.end.broken is not None:
            continue  # It ends the run, by its name.
        reported = failed - account.gaps + account.estimated_records
        if damaged.gone:
            if lost and not reported:
                problems.append(f"file {number} lost {lost} and reports nothing")
            continue
        repeated = len(examples) - len(set(examples))  # a run warns of them
        if damaged.equal and reported + repeated < lost:
            problems.append(f"file {number} lost {lost} and reports {reported}")
        size = account.explained // max(1, len(examples))
        accounted = account.failed + account.unreadable
        if accounted + repeated * (size if damaged.equal else LONGEST) < damaged.lost_bytes[number]:
            lost_bytes = damaged.lost_bytes[number]
            problems.append(f"file {number} lost {lost_bytes} bytes and accounts for {accounted}")
    return problems


def test_every_loss_of_a_damaged_set_is_reported() -> None:
    wrong: dict[str, list[str]] = {}
    counts: collections.Counter[str] = collections.Counter()
    for damaged in damaged_sets():
        kind = "silent" if damaged.silent else "gone" if damaged.gone else "sets"
        counts[kind] += 1
        counts["with a loss"] += any(damaged.lost)
        problems = unreported(damaged)
        if damaged.silent:
            assert problems, damaged.name  # else it could be told, and the README says more
        elif problems:
            wrong[damaged.name] = problems
    assert wrong == {}
    assert counts["sets"] >= 500
    assert counts["with a loss"] >= 450
    assert (counts["gone"], counts["silent"]) == (30, 18)


def test_sound_files_lose_nothing() -> None:
    files = tuple(file.data for file in sound_files(equal=False))
    sound = DamagedSet("sound", "tfrecord", files, (0,) * FILES, (0,) * FILES)
    for number, data in enumerate(files):
        account = account_of(read(sound, number))
        assert (account.explained, account.failed, account.gaps) == (len(data), 0, 0)
        assert account.estimated_records == 0
    assert unreported(sound) == []


def test_the_oracle_counts_what_is_there() -> None:
    file = sound_files(equal=False)[0]
    assert file.lost_of(file.data) == []
    sizes = [len(frame) for frame in file.frames]
    assert max(sizes) < LONGEST
    assert file.lost_of(file.data[: file.starts[10]]) == sizes[10:]
    assert file.lost_of(file.data[: file.starts[10] + 1]) == sizes[10:]
    assert file.lost_of(b"") == sizes


def test_resuming_a_damaged_set_accounts_for_the_same() -> None:
    def stored(blocks: list[Block]) -> dict[int, Any]:
        return {
            block.key.number: pickle.dumps(
                (block.key, block.extent(block.failures), block.failures, block.examples.ids)
            )
            for block in blocks
        }

    for position, damaged in enumerate(damaged_sets()):
        if position % 20:
            continue
        whole = stored(read(damaged, 0))
        for skip in ((0,), (1, 2), tuple(number for number in whole if number != 1)):
            again = stored(read(damaged, 0, skip))
            assert again == {n: each for n, each in whole.items() if n not in skip}, damaged.name
