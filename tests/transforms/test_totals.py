from __future__ import annotations

import dataclasses
import itertools
import math

import pyarrow as pa

from transforms.elements import BlockKey, CommittedBlock, Failure, Shard
from transforms.totals import RunTotals, merge_totals


def _block(number: int, examples: int, failed: int, busy: tuple[float, float] | None) -> RunTotals:
    failure = Failure("a", 0, None, "read", "CorruptRecord", "damaged")
    key = BlockKey(Shard("/a", 1), number, number * 10, examples + failed, last=False)
    table = pa.table({"target": pa.array([0] * examples)})
    return RunTotals.of(
        CommittedBlock(key, table, examples, (failure,) * failed, 100, number << 62, busy)
    )


def test_totals_reconcile_in_every_order() -> None:
    parts = [
        _block(0, 7, 3, (10.0, 12.0)),
        _block(1, 10, 0, None),
        _block(2, 0, 2, (11.0, 15.0)),
        RunTotals(),
    ]
    merged = {merge_totals(order) for order in itertools.permutations(parts)}
    assert len(merged) == 1
    totals = merged.pop()
    assert totals.records_read == totals.explained_examples + totals.failed_records == 22
    assert (totals.blocks, totals.blocks_made, totals.map_bytes) == (3, 2, 300)
    # Only what this run made counts for its pace: 7 examples in 5 seconds.
    assert totals.examples_per_second == 7 / 5
    assert totals.failed_fraction == 5 / 22


def test_merging_totals_merges_totals_of_totals() -> None:
    parts = [_block(number, number, 1, (float(number), number + 1.0)) for number in range(5)]
    halves = [merge_totals(parts[:2]), merge_totals(parts[2:])]
    assert merge_totals(halves) == merge_totals(parts)


def test_nothing_has_no_pace() -> None:
    assert RunTotals().examples_per_second is None
    assert RunTotals().failed_fraction == 0.0
    assert math.isinf(dataclasses.asdict(RunTotals())["begun"])
