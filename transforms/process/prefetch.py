"""Works ahead of a consumer in threads, by a bounded number of items."""

from __future__ import annotations

import collections
import concurrent.futures
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _End:
    """What the producer puts last: that it has finished, or why it broke off."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetched(items: Iterable[Item], depth: int = 1) -> Generator[Item, None, None]:
    """Yields `items` in order while a thread makes up to `depth` more of them.

    An exception of the producer is raised where its item would have come. Closing the generator
    stops the producer at its next item.

    >>> list(prefetched(range(3)))
    [0, 1, 2]
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, not {depth}")
    ready: queue.Queue[Item | _End] = queue.Queue()
    # The queue itself is unbounded; the semaphore is taken before an item is made, so that no
    # finished item waits in the producer's hands beyond the depth.
    free = threading.Semaphore(depth)
    stopped = threading.Event()

    def produce() -> None:
        try:
            iterator = iter(items)
            while True:
                free.acquire()
                if stopped.is_set():
                    break
                try:
                    item = next(iterator)
                except StopIteration:
                    break
                ready.put(item)
            ready.put(_End())
        except (
            BaseException
        ) as error:  # Any error belongs to the consumer, who is in another thread.
            ready.put(_End(error))

    producer = threading.Thread(target=produce, name="prefetch", daemon=True)
    producer.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            free.release()
            yield item
    finally:
        stopped.set()
        free.release()
        producer.join()


def computed_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    pool: concurrent.futures.Executor,
    ahead: int,
) -> Generator[Result, None, None]:
    """Yields the results of `function` in the order of `items`, while a pool computes later ones.

    Items are made in the caller's thread, each no sooner than there is a place for it. An
    exception is raised where its result would have come; what has not begun by then never does.

    Args:
      function: Called in the pool.
      items: What to call it with.
      pool: Who calls it.
      ahead: Items that may be computed or wait for it, at least 1.
    """
    if ahead < 1:
        raise ValueError(f"ahead must be at least 1, not {ahead}")
    begun: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    try:
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) == ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()
