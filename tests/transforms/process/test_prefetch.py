from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.process.prefetch import computed_ahead, prefetched


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


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_computes_at_once_and_keeps_order(pool: ThreadPoolExecutor) -> None:
    both = threading.Barrier(2)  # is passed only by two at a time

    def square(number: int) -> int:
        both.wait(10)
        return number * number

    assert list(computed_ahead(square, range(4), pool, ahead=3)) == [0, 1, 4, 9]
    assert list(computed_ahead(square, [], pool, ahead=3)) == []


def test_makes_no_item_before_there_is_a_place_for_it(pool: ThreadPoolExecutor) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    computed = computed_ahead(str, items(), pool, ahead=3)
    assert next(computed) == "0"
    assert made == [0, 1, 2]
    assert next(computed) == "1"
    assert made == [0, 1, 2, 3]


def test_an_error_comes_where_its_result_would_have_and_stops_the_rest() -> None:
    begun: list[int] = []

    def check(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise ValueError(f"{number} is one")
        return number

    with ThreadPoolExecutor(1) as one:
        computed = computed_ahead(check, range(100), one, ahead=2)
        assert next(computed) == 0
        with pytest.raises(ValueError, match="1 is one"):
            next(computed)
    assert len(begun) <= 3  # the one that was waiting may have begun


def test_refuses_nothing_ahead(pool: ThreadPoolExecutor) -> None:
    with pytest.raises(ValueError, match="ahead must be at least 1, not 0"):
        next(computed_ahead(str, [1], pool, ahead=0))
