"""What `plan` estimates: its arithmetic, and that it measures a block. Never how long it takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from small_dataset import BLOCK_SIZE, MakeConfig

from pipeline.commands.plan import Measurement, plan, predict
from transforms.storage import LocalStorage

BLOCK = Measurement(
    records=100,
    block_records=100,
    explained=80,
    seconds=5.0,
    input_bytes=1000,
    table_bytes=600,
    file_bytes=400,
    peak_bytes=1_000_000,
    means={},
)


def test_a_run_is_many_blocks_after_one_start() -> None:
    estimate = predict(BLOCK, examples=1000, start_up=3.0)
    assert estimate.seconds == 3 + 50
    assert estimate.examples_per_second == 16
    assert estimate.map_bytes == 4000


@pytest.mark.parametrize(("examples", "blocks_more"), [(100, 0), (101, 1), (400, 3), (10**6, 3)])
def test_the_next_two_blocks_and_the_last_are_held_too(examples: int, blocks_more: int) -> None:
    estimate = predict(BLOCK, examples, start_up=0.0)
    assert estimate.memory_bytes == 1_000_000 + blocks_more * 2000


def test_a_block_cut_short_stands_for_a_whole_one() -> None:
    short = dataclasses.replace(BLOCK, block_records=400)
    estimate = predict(short, examples=400, start_up=0.0)
    assert estimate.memory_bytes == 1_000_000 + 3 * 2000
    assert estimate.map_bytes == 1600


def test_fewer_examples_than_a_block_need_no_more_than_was_measured() -> None:
    assert predict(BLOCK, examples=50, start_up=0.0).memory_bytes == 1_000_000


def test_the_plan_is_that_of_a_measured_block(
    make_config: MakeConfig, finished_atlas: Path, tmp_path: Path
) -> None:
    made = plan(make_config(), LocalStorage())
    assert made.examples_estimated == 40
    assert made.memory_bytes_estimated is not None
    assert made.seconds_estimated is not None
    assert made.examples_per_second is not None
    assert not (tmp_path / "atlas").exists()
    path = next((finished_atlas / "maps").glob("data-0-*")) / "block-00000.parquet"
    # The first block is the one that is measured: 8 records, one of which failed.
    assert made.map_bytes_estimated == pytest.approx(
        40 * path.stat().st_size / BLOCK_SIZE, rel=0.02
    )
