from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable

import pyarrow as pa

from transforms.elements import BlockKey, CommittedBlock, Failure, Shard
from transforms.store.outcome.counts import RunCounts


def merge_counts(parts: Iterable[RunCounts]) -> RunCounts:
    return functools.reduce(RunCounts.merge, parts, RunCounts())


def _block(
    number: int, examples: int, failed: int, time_span: tuple[float, float] | None
) -> RunCounts:
    failure = Failure("a", 0, None, "read", "CorruptRecord", "damaged")
    key = BlockKey(Shard("/a", 1), number, number * 10, examples + failed, last=False)
    table = pa.table({"target": pa.array([0] * examples)})
    return RunCounts.of(
        CommittedBlock(key, table, examples, (failure,) * failed, 100, number << 62, time_span)
    )


def test_counts_reconcile_in_every_order() -> None:
    parts = [
        _block(0, 7, 3, (10.0, 12.0)),
        _block(1, 10, 0, None),
        _block(2, 0, 2, (11.0, 15.0)),
        RunCounts(),
    ]
    merged = {merge_counts(order) for order in itertools.permutations(parts)}
    assert len(merged) == 1
    counts = merged.pop()
    assert counts.records_read == counts.explained_examples + counts.failed_records == 22
    assert (counts.blocks, counts.blocks_made, counts.map_bytes) == (3, 2, 300)
    # Only what this run made counts for its pace: 7 examples in 5 seconds.
    assert counts.examples_per_second == 7 / 5


def test_merging_counts_merges_counts_of_counts() -> None:
    parts = [_block(number, number, 1, (float(number), number + 1.0)) for number in range(5)]
    halves = [merge_counts(parts[:2]), merge_counts(parts[2:])]
    assert merge_counts(halves) == merge_counts(parts)


def test_nothing_has_no_pace() -> None:
    assert RunCounts().examples_per_second is None
    assert math.isinf(dataclasses.asdict(RunCounts())["begun"])
