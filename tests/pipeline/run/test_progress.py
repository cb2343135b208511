from __future__ import annotations

import io
import re
import threading
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.run.progress import (
    CountingWithinBlocks,
    LineDisplay,
    Progress,
    ProgressSnapshot,
    Watch,
    describe_seconds,
)
from transforms.storage import LocalStorage
from transforms.store.block_file import METADATA_KEY
from transforms.store.blocks import CommittedCounter


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_pace_leaves_out_what_earlier_runs_committed() -> None:
    clock = Clock()
    counts = iter([(10, 5000), (12, 6000), (20, 10_000)])
    shown: list[ProgressSnapshot] = []
    watch = Watch(lambda: next(counts), 10_000, shown.append, clock)
    watch.count()
    clock.seconds = 10.0
    watch.count()
    clock.seconds = 50.0
    watch.count(final=True)
    assert shown == [
        ProgressSnapshot(10, 5000, 10_000, 0.0, 0.0),
        ProgressSnapshot(12, 6000, 10_000, 10.0, 100.0),
        ProgressSnapshot(20, 10_000, 10_000, 50.0, 100.0, final=True),
    ]
    assert [str(snapshot) for snapshot in shown] == [
        "5,000 of about 10,000 records, 10 blocks",
        "6,000 of about 10,000 records, 12 blocks, 100.0 records/s, 0:40 left",
        "10,000 records, 20 blocks",  # its rate is the manifest's to say
    ]


def test_what_is_explained_of_a_block_counts_before_it_is_committed() -> None:
    committed, explained = [(2, 100)], [40]
    count = CountingWithinBlocks(lambda: committed[0], lambda: explained[0], is_new=False)
    assert count() == (2, 100)
    explained[0] = 46  # 6 of a block
    assert count() == (2, 106)
    explained[0], committed[0] = 50, (3, 112)  # it had 12 records, 2 of which failed
    assert count() == (3, 112)


def test_in_a_new_atlas_nothing_is_counted_before_the_run() -> None:
    def fail() -> tuple[int, int]:
        raise AssertionError("an atlas that is not there was listed")

    CountingWithinBlocks(fail, lambda: 0, is_new=True)


def test_a_terminal_shows_the_step_that_a_command_is_at() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    progress.announce("nothing turns yet")
    with progress.starting("importing"):
        progress.announce("loading the model")
    progress.announce("nothing turns any more")
    assert "loading the model ..." in terminal.getvalue()
    assert "nothing turns" not in terminal.getvalue()


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_elsewhere_no_step_is_shown(stream: io.StringIO | None) -> None:
    progress = Progress(stream)
    with progress.starting("importing"):
        progress.announce("loading the model")
    assert stream is None or stream.getvalue() == ""


def test_a_listing_that_fails_is_left_out() -> None:
    def fail() -> tuple[int, int]:
        raise OSError("bucket away")

    shown: list[ProgressSnapshot] = []
    Watch(fail, None, shown.append, Clock()).count(final=True)
    assert shown == []


def test_without_an_estimate_only_what_is_there_is_said() -> None:
    assert str(ProgressSnapshot(3, 12, None, 6.0, 2.0)) == "12 records, 3 blocks, 2.0 records/s"


def test_no_time_is_left_once_the_estimate_is_exceeded() -> None:
    assert str(ProgressSnapshot(3, 12, 10, 6.0, 2.0)) == (
        "12 of about 10 records, 3 blocks, 2.0 records/s"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (75, "1:15"), (3675, "1:01:15")]
)
def test_seconds_are_shown_as_a_clock_does(seconds: float, text: str) -> None:
    assert describe_seconds(seconds) == text


def _watch_until_counted(progress: Progress, times: int) -> int:
    """Keeps a body running until it has been counted, and gives how often it was in the end."""
    enough = threading.Event()
    counted = 0

    def count() -> tuple[int, int]:
        nonlocal counted
        counted += 1
        if counted == times:
            enough.set()
        return counted, 10 * counted

    with progress.watching(count, total=100):
        assert enough.wait(timeout=30)
    return counted


def test_elsewhere_than_on_a_terminal_there_is_a_line_now_and_then() -> None:
    stream = io.StringIO()
    clock = Clock()
    counted = _watch_until_counted(Progress(stream, interval=0.01, clock=clock), times=3)
    # The clock stood still: no line was due but the last.
    assert stream.getvalue() == f"{10 * counted} records, {counted} blocks\n"
    assert counted >= 4


def test_a_line_is_printed_when_the_last_is_old_enough() -> None:
    stream = io.StringIO()
    display = LineDisplay(stream, interval=30.0)
    for seconds in (0.0, 29.0, 31.0, 60.0, 61.0, 62.0):
        display.show(ProgressSnapshot(1, int(seconds), None, seconds, 0.0))
    display.show(ProgressSnapshot(1, 63, None, 63.0, 0.0, final=True))
    assert stream.getvalue().splitlines() == [
        "31 records, 1 block",
        "61 records, 1 block",
        "63 records, 1 block",
    ]


def test_counting_takes_a_tenth_of_the_time_at_most() -> None:
    progress = Progress(None, interval=1.0)
    assert progress.pause_after(0.01) == 1.0
    assert progress.pause_after(2.0) == pytest.approx(18.0)


def test_a_terminal_has_a_bar() -> None:
    terminal = Terminal()
    counted = _watch_until_counted(Progress(terminal, interval=0.01), times=2)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert f"{10 * counted} records, {counted} blocks" in shown.replace("\n", " ")


def test_without_a_stream_nothing_is_counted() -> None:
    def fail() -> tuple[int, int]:
        raise AssertionError("counted")

    with Progress(None).watching(fail, total=None):
        pass


def test_the_thread_ends_with_the_body_also_when_that_fails() -> None:
    stream = io.StringIO()
    with (
        pytest.raises(ZeroDivisionError),
        Progress(stream).watching(lambda: (1, 10), total=None),
    ):
        raise ZeroDivisionError
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
    assert stream.getvalue().startswith("10 records, 1 block")


def test_committed_records_are_counted_from_each_file_once(tmp_path: Path) -> None:
    def commit(shard: str, number: int, records: int) -> None:
        folder = tmp_path / "maps" / shard
        folder.mkdir(parents=True, exist_ok=True)
        metadata = {METADATA_KEY: b'{"block": {"records": %d}}' % records}
        table = pa.table({"record": [1]}).replace_schema_metadata(metadata)
        pq.write_table(table, folder / f"block-{number:05d}.parquet")

    opened = []

    class CountingStorage(LocalStorage):
        def open(self, path: str) -> BinaryIO:
            opened.append(path)
            return super().open(path)

    storage = CountingStorage()
    count = CommittedCounter(str(tmp_path), storage)
    assert count() == (0, 0)
    commit("a", 0, 512)
    commit("a", 1, 13)
    assert count() == (2, 525)
    commit("b", 0, 5)
    assert count() == (3, 530)
    assert len(opened) == 3
