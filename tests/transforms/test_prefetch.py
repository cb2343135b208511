from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from transforms.prefetch import prefetched


def test_keeps_order_and_ends() -> None:
    assert list(prefetched(range(100), depth=3)) == list(range(100))
    assert list(prefetched([])) == []


def test_makes_no_more_than_depth_ahead() -> None:
    made: list[int] = []
    reached = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 2:
                reached.set()
            yield number

    ahead = prefetched(items(), depth=2)
    assert next(ahead) == 0
    assert reached.wait(10)
    # One is in the consumer's hands, two wait; a fourth must not have been begun.
    assert made == [0, 1, 2]
    ahead.close()


def test_an_error_comes_where_its_item_would_have() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk has gone")

    ahead = prefetched(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(OSError, match="the disk has gone"):
        next(ahead)


def test_closing_stops_the_producer() -> None:
    threads = threading.active_count()
    ahead = prefetched(iter(int, 1))
    next(ahead)
    ahead.close()
    assert threading.active_count() == threads


def test_refuses_no_depth() -> None:
    with pytest.raises(ValueError, match="depth must be at least 1, not 0"):
        next(prefetched([1], depth=0))
