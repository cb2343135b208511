from __future__ import annotations

import concurrent.futures
import math
import threading
from collections.abc import Callable

import pytest

from transforms.process import memory
from transforms.saliency.batching.size import measure_batch_sizes
from transforms.saliency.batching.timing import BatchTimer

MIB = 1 << 20


class FullError(Exception):
    """Raised by a device that is full."""


def make_trial(
    run: Callable[[int], object], *, at_once: int = 2, on_host: bool = False
) -> BatchTimer:
    return BatchTimer(
        run,
        lambda _: 0.0,
        refusals=(FullError,),
        pool=concurrent.futures.ThreadPoolExecutor(at_once),
        at_once=at_once,
        on_host=on_host,
    )


class FakeHost:
    """A host on which each example takes 10 MiB while it is explained."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
        self.held, self.peak = 500 * MIB, 500 * MIB
        monkeypatch.setattr(memory, "resident_bytes", lambda: self.held)
        monkeypatch.setattr(memory, "peak_bytes", lambda: self.peak)
        monkeypatch.setattr(memory, "free_bytes", lambda: free)
        self.sizes: list[int] = []

    def run(self, size: int) -> None:
        self.sizes.append(size)
        self.peak = max(self.peak, self.held + 2 * size * 10 * MIB)

    def trial(self, *, on_host: bool = True) -> BatchTimer:
        return make_trial(self.run, on_host=on_host)


def test_a_size_that_would_fill_more_than_half_of_the_free_memory_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host = FakeHost(monkeypatch, free=1280 * MIB)  # half of it holds two mini-batches of 32
    trial = host.trial()
    assert trial.seconds(8) is not None
    assert trial.seconds(32) is not None
    with caplog.at_level("INFO"):
        assert trial.seconds(33) is None
    assert host.sizes == [8, 8, 32, 32]
    assert "of 33 are not tried: they may take 0.7 GB, of 1.3 GB that are free" in caplog.text


def test_an_older_peak_makes_it_careful_until_larger_mini_batches_have_shown_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = FakeHost(monkeypatch, free=1280 * MIB)
    host.peak += 400 * MIB  # of loading the model: the first examples may have taken all of it
    trial = host.trial()
    assert trial.seconds(8) is not None
    assert trial.seconds(26) is None
    assert trial.seconds(12) is not None
    assert trial.seconds(18) is not None
    assert trial.seconds(26) is not None


def test_what_a_gpu_holds_it_says_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    host = FakeHost(monkeypatch, free=0)
    trial = host.trial(on_host=False)
    assert trial.seconds(8) is not None
    assert trial.seconds(512) is not None


def test_a_refusal_is_none_and_any_other_error_is_raised() -> None:
    def run(size: int) -> None:
        raise FullError if size > 8 else RuntimeError("a bug")

    trial = make_trial(run)
    assert trial.seconds(16) is None
    with pytest.raises(RuntimeError, match="a bug"):
        trial.seconds(8)


def test_as_many_run_at_the_same_time_as_in_a_run_and_one_that_fails_fails_all() -> None:
    together = threading.Barrier(3, timeout=60)
    counting = threading.Lock()
    count = 0

    def run(size: int) -> None:
        nonlocal count
        with counting:
            count += 1
            last = count % 3 == 0
        together.wait()
        if last and size > 8:
            raise FullError

    trial = make_trial(run, at_once=3)
    assert trial.seconds(8) is not None
    assert trial.seconds(16) is None
    assert count == 6


@pytest.mark.parametrize(("free", "largest"), [(1280, 32), (1279, 16), (319, 4), (1 << 20, 256)])
def test_a_search_tries_no_size_that_memory_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, free: int, largest: int
) -> None:
    host = FakeHost(monkeypatch, free=free * MIB)  # half of it is for two mini-batches
    seconds = iter(range(1 << 20))
    measure_batch_sizes(host.trial(), 8, 1e9, math.inf, lambda: float(next(seconds)))
    # The first size is run whatever it takes, as nothing is known before.
    assert max(set(host.sizes) - {8}) == largest
