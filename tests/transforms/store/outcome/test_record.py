"""What blocks add up to: the same in any order, and as a slow count has it."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
from collections.abc import Sequence

import pyarrow as pa
import pytest

from transforms.elements import BlockKey, CommittedBlock, Failure, ImageWarning, Shard
from transforms.extents import Extent, ShardEnd
from transforms.store.outcome import record as record_module
from transforms.store.outcome.record import AtlasRecord
from transforms.store.tables import failures_table

FIRST, SECOND, THIRD = (Shard(f"/data/{name}.tfrecord", 1000) for name in "abc")


def block(
    shard: Shard,
    number: int,
    ids: Sequence[str],
    failures: Sequence[str] = (),
    extent: Extent | None = None,
    targets: int = 1,
) -> CommittedBlock:
    start = number * 8
    names = [name for name in ids for _ in range(targets)]
    records = [start + row for row in range(len(ids)) for _ in range(targets)]
    summary = pa.table({"example_id": names, "record": pa.array(records, pa.int64())})
    failed = tuple(
        Failure(shard.name, start + len(ids) + row, None, "read", "CorruptRecord", why)
        for row, why in enumerate(failures)
    )
    key = BlockKey(shard, number, start, len(ids) + len(failed), last=extent is not None)
    return CommittedBlock(key, summary, len(ids), failed, 10, 1, None, extent=extent)


BLOCKS = [
    block(FIRST, 0, ["a", "b"], ["torn", "lost"], Extent(700, 100, 200, 1, ShardEnd(1000))),
    block(SECOND, 0, ["c", "a", "a"], ["torn"], Extent(900, 100, 0, 0, ShardEnd(1000)), targets=2),
    block(THIRD, 0, [], ["empty"], Extent(0, 0, 0, 0, ShardEnd(0, "it is empty"))),
]


def of(blocks: Sequence[CommittedBlock], with_ids: bool = True) -> AtlasRecord:
    found = AtlasRecord(with_ids)
    for each in blocks:
        found.add(each)
    return found


def merged(parts: Sequence[AtlasRecord]) -> AtlasRecord:
    found = AtlasRecord(with_ids=True)
    for part in parts:
        found.merge(pickle.loads(pickle.dumps(part)))  # noqa: S301 - as it travels between workers
    return found


def facts(found: AtlasRecord) -> object:
    return (
        found.counts,
        dict(sorted(found.accounts.items())),
        found.failures().to_pylist(),
        found.duplicate_ids(),
        found.failed_fraction,
        found.broken_files,
    )


def test_it_is_the_same_in_any_order_and_grouping() -> None:
    expected = facts(of(BLOCKS))
    for order in itertools.permutations(BLOCKS):
        assert facts(of(order)) == expected
        for cut in range(len(order) + 1):
            assert facts(merged([of(order[:cut]), AtlasRecord(True), of(order[cut:])])) == expected


def test_failures_are_those_of_all_blocks_in_order() -> None:
    failures = [failure for each in BLOCKS for failure in each.failures]
    assert of(BLOCKS).failures().equals(failures_table(failures))
    assert of([]).failures().equals(failures_table([]))


def test_lost_records_are_estimated_and_count_as_failed() -> None:
    found = of(BLOCKS)
    # Of the first file 800 bytes hold three records, so 200 hold 0.75: one, which the gap is.
    assert found.unreadable_records_estimated == 1
    assert found.failed_fraction == pytest.approx(4 / 9)
    much = Extent(500, 0, 2500, 1, ShardEnd(3000))
    found = of([block(FIRST, 0, ["a", "b"], ["lost"], much)])
    assert found.unreadable_records_estimated == 10  # of 250 bytes each
    assert (found.counts.records_read, found.counts.failed_records) == (3, 1)
    assert found.failed_fraction == pytest.approx(10 / 12)


def test_duplicate_ids_are_counted_once_an_example() -> None:
    assert of(BLOCKS).duplicate_ids() == 2  # two more of "a"; a map more is not an example more
    assert of(BLOCKS, with_ids=False).duplicate_ids() == 0


def test_more_ids_than_memory_should_hold_are_not_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(record_module, "MOST_IDS", 4)
    assert of(BLOCKS[:1]).duplicate_ids() == 0
    for order in itertools.permutations(BLOCKS):
        assert of(order).duplicate_ids() is None
        assert merged([of(order[:1]), of(order[1:])]).duplicate_ids() is None


def test_what_does_not_add_up_is_named() -> None:
    found = of(BLOCKS)
    assert list(found.imbalances((FIRST, SECOND, THIRD))) == []
    other = Shard("/data/d.tfrecord", 5)
    assert list(found.imbalances((FIRST, other))) == ["/data/d.tfrecord: no block accounts for it"]
    short = of([block(FIRST, 0, ["a"], (), Extent(900, 0, 0, 0, ShardEnd(1000)))])
    assert list(short.imbalances((FIRST,))) == [
        "/data/a.tfrecord: 900 explained + 0 failed + 0 unreadable = 900, where the file has 1000"
    ]


def test_broken_files_are_listed() -> None:
    assert of(BLOCKS).broken_files == {"/data/c.tfrecord": "it is empty"}


def test_the_first_warnings_are_the_same_in_any_order() -> None:
    blocks = [
        dataclasses.replace(
            block(shard, number, ["x"] * 6),
            warnings=tuple(ImageWarning(8 * number + row, "torn") for row in range(1, 6)),
        )
        for shard in (FIRST, SECOND)
        for number in range(2)
    ]
    expected = [
        (FIRST.path, ImageWarning(record, "torn")) for record in [*range(1, 6), *range(9, 14)]
    ]
    for order in itertools.permutations(blocks):
        for found in (of(order), merged([of(order[:1]), of(order[1:])])):
            assert found.warnings == expected
            assert found.counts.warned_images == 20
