"""Live progress of a run, on any runner: what is committed is counted from outside.

Runners give their metrics at the end, if at all; the files of committed blocks are there at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID
    from rich.status import Status

CountCommitted = Callable[[], tuple[int, int]]
"""Gives (blocks, records) committed so far, those of earlier runs too."""

Announce = Callable[[str], None]
"""Is told which step begins, such as `loading the model`."""

_COUNTING_SHARE = 0.1  # of the time at most, however long it takes to list a bucket


class Progress:
    """Shows how far a run is: a bar on a terminal, a line now and then elsewhere.

    Attributes:
      stream: Where to; None shows nothing.
      interval: Seconds between two counts.
      line_interval: Seconds between two lines where there is no terminal.
      clock: Gives seconds; only differences count.
    """

    def __init__(
        self,
        stream: TextIO | None,
        *,
        interval: float = 1.0,
        line_interval: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = stream
        self.interval = interval
        self.line_interval = line_interval
        self.clock = clock
        self._spinner: Status | None = None

    @contextlib.contextmanager
    def starting(self, step: str) -> Iterator[None]:
        """Turns a spinner on a terminal while the body runs, with the step that it is at.

        Args:
          step: The first; `announce` tells of others.
        """
        if self.stream is None or not self.stream.isatty():
            yield
            return
        with _spinner(self.stream, step) as spinner:
            self._spinner = spinner
            try:
                yield
            finally:
                self._spinner = None

    def announce(self, step: str) -> None:
        """Shows another step, where a spinner turns."""
        if self._spinner is not None:
            self._spinner.update(f"{step} ...")

    @contextlib.contextmanager
    def watching(self, count_committed: CountCommitted, total: int | None) -> Iterator[None]:
        """Counts in a thread while the body runs, and once more when it has ended.

        Args:
          count_committed: Called in that thread. An OSError of it skips one count.
          total: Records to expect, those of earlier runs too, as an estimate; None where there
            is none.
        """
        if self.stream is None:
            yield
            return
        with contextlib.ExitStack() as stack:
            display: _BarDisplay | LineDisplay
            if self.stream.isatty():
                display = stack.enter_context(_bar_display(self.stream))
            else:
                display = LineDisplay(self.stream, self.line_interval)
            watch = Watch(count_committed, total, display.show, self.clock)
            stack.enter_context(self._counting_in_a_thread(watch))
            yield

    def pause_after(self, counting: float) -> float:
        """Seconds until the next count, after one that took `counting` seconds."""
        return max(self.interval, counting * (1 - _COUNTING_SHARE) / _COUNTING_SHARE)

    @contextlib.contextmanager
    def _counting_in_a_thread(self, watch: Watch) -> Iterator[None]:
        stopped = threading.Event()

        def count_until_stopped() -> None:
            pause = 0.0
            while not stopped.wait(pause):
                started = self.clock()
                watch.count()
                pause = self.pause_after(self.clock() - started)

        thread = threading.Thread(target=count_until_stopped, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
            watch.count(final=True)


class Watch:
    """Turns counts into a pace and a time left.

    Args:
      count_committed: Gives (blocks, records).
      total: Records to expect, or None.
      show: Is given each `ProgressSnapshot`.
      clock: Gives seconds.
    """

    def __init__(
        self,
        count_committed: CountCommitted,
        total: int | None,
        show: Callable[[ProgressSnapshot], None],
        clock: Callable[[], float],
    ) -> None:
        self._count_committed = count_committed
        self._total = total
        self._show = show
        self._clock = clock
        self._started = clock()
        self._records_before: int | None = None

    def count(self, final: bool = False) -> None:
        """Counts once and shows where the run is."""
        try:
            blocks, records = self._count_committed()
        except OSError:  # A listing failed, not the run; the next one is a second away.
            return
        if self._records_before is None:  # What earlier runs committed says nothing of the pace.
            self._records_before = records
        seconds = self._clock() - self._started
        rate = (records - self._records_before) / seconds if seconds > 0 else 0.0
        self._show(ProgressSnapshot(blocks, records, self._total, seconds, rate, final))


@dataclasses.dataclass(frozen=True)
class ProgressSnapshot:
    """Where a run is.

    Attributes:
      blocks: Committed so far.
      records: Committed so far.
      total: Records to expect, or None.
      seconds: Since the watch began.
      rate: Records a second since then.
      final: Whether this is the last count.
    """

    blocks: int
    records: int
    total: int | None
    seconds: float
    rate: float
    final: bool = False

    def __str__(self) -> str:
        """One line, such as `120 of about 400 records, 3 blocks, 12.0 records/s, 0:23 left`."""
        unfinished = self.total is not None and not self.final
        of_total = f" of about {self.total:,}" if unfinished else ""
        blocks = "1 block" if self.blocks == 1 else f"{self.blocks:,} blocks"
        parts = [f"{self.records:,}{of_total} records", blocks]
        if self.rate > 0 and not self.final:  # the manifest has the run's rate, start-up left out
            parts.append(f"{self.rate:.1f} records/s")
            if self.total is not None and self.records < self.total:
                left = (self.total - self.records) / self.rate
                parts.append(f"{describe_seconds(left)} left")
        return ", ".join(parts)


def unheard(_: str) -> None:
    """An `Announce` for whoever shows nothing."""


class CountingWithinBlocks:
    """Counts what is explained of blocks that are not committed yet, too.

    Only where this process explains all blocks, each once: it knows of its own work alone. No more
    than what will be committed is counted, so the last count is that of committed blocks.

    Args:
      committed: Counts committed blocks, and their records.
      explained: Gives how many examples this process has explained so far.
      is_new: Whether nothing is committed yet, so that it need not be counted.
    """

    def __init__(
        self, committed: CountCommitted, explained: Callable[[], int], *, is_new: bool
    ) -> None:
        self._committed = committed
        self._explained = explained
        self._explained_before = explained()
        self._records_before = 0 if is_new else committed()[1]

    def __call__(self) -> tuple[int, int]:
        """Blocks committed, and records explained."""
        blocks, records = self._committed()
        own = self._explained() - self._explained_before
        return blocks, max(records, self._records_before + own)


def describe_seconds(seconds: float) -> str:
    """A span of time as a clock shows it.

    >>> describe_seconds(75), describe_seconds(3675)
    ('1:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class LineDisplay:
    """Prints a line when the last is old enough, and the final one.

    Args:
      stream: Where to.
      interval: Seconds between two lines.
    """

    def __init__(self, stream: TextIO, interval: float) -> None:
        self._stream = stream
        self._interval = interval
        self._printed_at = 0.0

    def show(self, snapshot: ProgressSnapshot) -> None:
        """Prints the line if it is due."""
        if snapshot.final or snapshot.seconds - self._printed_at >= self._interval:
            self._printed_at = snapshot.seconds
            print(snapshot, file=self._stream, flush=True)


class _BarDisplay:
    """Moves a bar."""

    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def show(self, snapshot: ProgressSnapshot) -> None:
        self._bar.update(
            self._task,
            completed=snapshot.records,
            total=snapshot.total,
            description=str(snapshot),
        )


@contextlib.contextmanager
def _spinner(stream: TextIO, step: str) -> Iterator[Status]:
    from rich.console import Console

    with contextlib.ExitStack() as stack:
        try:
            # Of its own, as start-up holds back what libraries write to standard error.
            number = os.dup(stream.fileno())
        except (OSError, ValueError):  # It is no file.
            shown = stream
        else:
            shown = stack.enter_context(os.fdopen(number, "w"))
        yield stack.enter_context(Console(file=shown).status(f"{step} ..."))


@contextlib.contextmanager
def _bar_display(stream: TextIO) -> Iterator[_BarDisplay]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(file=stream)) as bar:
        yield _BarDisplay(bar, bar.add_task("starting", total=None))
