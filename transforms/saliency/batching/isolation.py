"""Keeps one example from costing its mini-batch, and one mini-batch from costing the run.

A mini-batch that fails for a reason in the data is bisected until the example stands alone. In
each attempt the examples that are left out are replaced by copies of one that is in: every example
keeps its place in a mini-batch of the same size, so its results are the bytes they would have been.

A mini-batch that does not fit into memory is tried again in halves, and so are all after it.

Nothing here knows TensorFlow: what runs, and which errors mean what, is given.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from transforms.errors import DataFault
from transforms.saliency.attribution import Arrays, Results

RunBatch = Callable[[int, Arrays], Results]
"""Runs up to so many examples at once: (batch size, their arrays)."""

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Errors:
    """Which errors a mini-batch may raise without being a bug; any other propagates.

    Attributes:
      of_data: The model refused an example.
      of_memory: The mini-batch did not fit.
      reason: One line of an error.
    """

    of_data: tuple[type[Exception], ...]
    of_memory: tuple[type[Exception], ...]
    reason: Callable[[Exception], str]


class IsolatingRunner:
    """Runs mini-batches, finding out what is wrong with single examples.

    Safe to share between threads, which then share the batch size.

    Args:
      run: Runs one mini-batch.
      batch_size: Examples in one; what memory takes may be fewer from then on.
      errors: What may be raised.
    """

    def __init__(self, run: RunBatch, batch_size: int, errors: Errors) -> None:
        self._run_batch = run
        self._batch_size = batch_size
        self._errors = errors
        self._lock = threading.Lock()
        self._halved = 0
        self._alone = threading.Lock()
        self._crowded = False

    @property
    def batch_size(self) -> int:
        """What a mini-batch holds now."""
        return self._batch_size

    def claim_halvings(self) -> int:
        """How often the size was halved since the last call, so that each is counted once."""
        with self._lock:
            halved, self._halved = self._halved, 0
        return halved

    def run(self, arrays: Arrays) -> tuple[Results | None, list[DataFault | None]]:
        """Runs N examples.

        Args:
          arrays: Each (N, ...), N at least 1.

        Returns:
          Results of all rows, those of faulty ones undefined; None where all are faulty. And a
          fault or None for each row.
        """
        count = len(arrays[0])
        faults: list[DataFault | None] = [None] * count
        results: Results | None = None
        start = 0
        while start < count:
            size = self._batch_size
            rows = range(start, min(start + size, count))
            try:
                for found, found_rows in self._isolate(arrays, rows, rows, size, faults):
                    results = _put(results, found, rows, found_rows, count)
            except self._errors.of_memory as error:
                if size == 1:
                    faults[start] = DataFault(
                        "explain",
                        "OutOfMemory",
                        "there is not enough memory to explain this example even alone: "
                        f"{self._errors.reason(error)}",
                    )
                else:
                    self._halve(size, error)
                    for row in rows:  # the same examples again
                        faults[row] = None
                    continue
            start = rows.stop
        return results, faults

    def _isolate(
        self,
        arrays: Arrays,
        window: range,
        rows: range,
        size: int,
        faults: list[DataFault | None],
    ) -> Iterator[tuple[Results, range]]:
        """Results of the rows of a mini-batch (the window) that have any, and whose they are."""
        try:
            # Once memory was short mini-batches take turns: whether one fits must not depend on
            # what another thread runs at the same moment.
            with self._alone if self._crowded else contextlib.nullcontext():
                results = self._run_batch(size, _only(arrays, window, rows))
            yield results, rows
        except self._errors.of_data as error:
            if len(rows) == 1:
                faults[rows[0]] = DataFault(
                    "explain",
                    "ModelError",
                    f"the model cannot take this example: {self._errors.reason(error)}",
                )
                return
            middle = len(rows) // 2
            for half in (rows[:middle], rows[middle:]):
                yield from self._isolate(arrays, window, half, size, faults)

    def _halve(self, size: int, error: Exception) -> None:
        with self._lock:
            if self._batch_size != size:  # another thread has halved it meanwhile
                return
            self._batch_size = size // 2
            self._crowded = True
            self._halved += 1
        _LOGGER.warning(
            "a mini-batch of %d does not fit into memory (%s): %d at a time from here on",
            size,
            self._errors.reason(error),
            size // 2,
        )


def with_copies(arrays: Arrays, kept: npt.NDArray[np.bool_]) -> Arrays:
    """Arrays with copies of the first row that is kept in place of those that are not.

    Args:
      arrays: Each (N, ...).
      kept: (N,), at least one of them true.
    """
    numbers = np.arange(len(kept))
    places = np.where(kept, numbers, numbers[kept][0])
    return tuple(array[places] for array in arrays)


def _only(arrays: Arrays, window: range, rows: range) -> Arrays:
    """The window's arrays with copies of the first of `rows` in place of all other rows."""
    if rows == window:
        return tuple(array[window.start : window.stop] for array in arrays)
    numbers = np.arange(window.start, window.stop)
    whole = tuple(array[window.start : window.stop] for array in arrays)
    return with_copies(whole, (numbers >= rows.start) & (numbers < rows.stop))


def _put(whole: Results | None, found: Results, window: range, rows: range, count: int) -> Results:
    """Puts some rows of a mini-batch's results where they belong among those of all examples."""
    if len(rows) == count:
        return found
    if whole is None:
        whole = {
            name: np.zeros((count, *values.shape[1:]), values.dtype)
            for name, values in found.items()
        }
    start, stop = rows.start - window.start, rows.stop - window.start
    for name, values in found.items():
        whole[name][rows.start : rows.stop] = values[start:stop]
    return whole
