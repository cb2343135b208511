"""Work that goes on while its caller goes on, bounded, its results in the order they were asked."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

Result = TypeVar("Result")
Place = TypeVar("Place")


class _Pending(NamedTuple, Generic[Result, Place]):
    future: concurrent.futures.Future[Result]
    place: Place
    size: int


class PendingResults(Generic[Result, Place]):
    """Results that threads compute, each with the place where it belongs.

    Args:
      threads: How many are computed at once.
      name: Of the threads.
      most: How many may be pending while the caller goes on, at least 1.
      most_bytes: What they may hold together, unless it is one alone; None for any number.

    >>> pending = PendingResults[int, str](threads=2, name="squares", most=1)
    >>> for number in range(3):
    ...     pending.submit(lambda number=number: number**2, place=f"place {number}")
    ...     print(list(pending.surplus()))
    []
    [(0, 'place 0')]
    [(1, 'place 1')]
    >>> list(pending.rest())
    [(4, 'place 2')]
    """

    def __init__(self, threads: int, name: str, most: int, most_bytes: int | None = None) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, name)
        self._most = most
        self._most_bytes = most_bytes
        self._pending: collections.deque[_Pending[Result, Place]] = collections.deque()

    def submit(self, compute: Callable[[], Result], place: Place, size: int = 0) -> None:
        """Begins to compute a result.

        Args:
          compute: Called by a thread.
          place: Where the result belongs.
          size: Bytes held until it is computed.
        """
        self._pending.append(_Pending(self._pool.submit(compute), place, size))

    def surplus(self) -> Iterator[tuple[Result, Place]]:
        """Waits for the oldest results, until no more are pending than may be.

        An exception is raised where its result would have come.
        """
        while len(self._pending) > self._most or self._is_too_large():
            yield self._oldest()

    def rest(self) -> Iterator[tuple[Result, Place]]:
        """Waits for all results."""
        while self._pending:
            yield self._oldest()

    def forget(self) -> None:
        """Drops all results; what has not begun never does."""
        while self._pending:
            self._pending.popleft().future.cancel()

    def close(self) -> None:
        """Waits for what has begun; nothing can be submitted any more."""
        self._pool.shutdown(wait=True)

    def _is_too_large(self) -> bool:
        held = sum(each.size for each in self._pending)
        return self._most_bytes is not None and len(self._pending) > 1 and held > self._most_bytes

    def _oldest(self) -> tuple[Result, Place]:
        oldest = self._pending.popleft()
        return oldest.future.result(), oldest.place
