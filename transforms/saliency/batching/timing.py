"""Timing mini-batches of several sizes: how long they take, and whether memory holds them."""

from __future__ import annotations

import concurrent.futures
import logging
import time
from collections.abc import Callable

from transforms.process import memory

_SHARE_OF_FREE = 0.5  # of the memory that is free; the rest is for blocks, and for neighbours

_LOGGER = logging.getLogger(__name__)


class BatchTimer:
    """Runs mini-batches of any size.

    A GPU says when it is full. A host does not, it kills: there a size is not tried where what the
    sizes before it took lets one expect that it would fill the memory.

    Args:
      run: Runs a mini-batch of a size.
      preparation: Seconds that the first mini-batch of a size may take to compile.
      refusals: What `run` raises where it cannot.
      pool: Who runs them.
      at_once: Mini-batches that a run computes at the same time.
      on_host: Whether they take the host's memory.

    Attributes:
      preparation: Seconds that the first mini-batch of a size may take to compile.
      at_once: Mini-batches that are run at the same time.
    """

    def __init__(
        self,
        run: Callable[[int], object],
        preparation: Callable[[int], float],
        *,
        refusals: tuple[type[Exception], ...],
        pool: concurrent.futures.Executor,
        at_once: int,
        on_host: bool,
    ) -> None:
        self._run = run
        self.preparation = preparation
        self._refusals = refusals
        self.at_once = at_once
        self._on_host = on_host
        self._pool = pool
        self._bytes_a_place: float | None = None  # in the mini-batches that run at once

    def seconds(self, size: int) -> float | None:
        """How long mini-batches of a size take, as many as a run has at once; None if they fail."""
        if not self._may_be_held(size):
            return None
        held = memory.resident_bytes()
        begun = time.perf_counter()
        running = [self._pool.submit(self._run, size) for _ in range(self.at_once)]
        errors = [future.exception() for future in running]
        seconds = time.perf_counter() - begun
        for error in errors:
            if error is not None and not isinstance(error, self._refusals):
                raise error
        if any(errors):
            return None
        # An upper bound: the peak may be older than this.
        taken = (memory.peak_bytes() - held) / size
        self._bytes_a_place = min(self._bytes_a_place or taken, taken)
        return seconds

    def _may_be_held(self, size: int) -> bool:
        if not self._on_host or self._bytes_a_place is None:
            return True
        needed = size * self._bytes_a_place
        free = memory.free_bytes()
        if needed <= _SHARE_OF_FREE * free:
            return True
        _LOGGER.info(
            "mini-batches of %d are not tried: they may take %.1f GB, of %.1f GB that are free",
            size,
            needed / 1e9,
            free / 1e9,
        )
        return False
