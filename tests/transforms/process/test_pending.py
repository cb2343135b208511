"""Results that are waited for in order, no more of them at a time than may be."""

from __future__ import annotations

import threading

import pytest

from transforms.process.pending import PendingResults

SECONDS = 30.0


def test_results_come_in_order_with_their_places_whoever_is_first() -> None:
    pending = PendingResults[str, int](threads=2, name="test", most=1)
    second_is_done = threading.Event()

    def first() -> str:
        assert second_is_done.wait(SECONDS)
        return "first"

    def second() -> str:
        second_is_done.set()
        return "second"

    pending.submit(first, 1)
    assert list(pending.surplus()) == []
    pending.submit(second, 2)
    assert list(pending.surplus()) == [("first", 1)]
    assert list(pending.rest()) == [("second", 2)]
    pending.close()


def test_as_many_go_on_as_may_be_pending() -> None:
    pending = PendingResults[int, int](threads=3, name="test", most=3)
    together = threading.Barrier(3)
    for place in range(3):
        pending.submit(lambda: together.wait(SECONDS), place)
        assert list(pending.surplus()) == []
    assert [place for _, place in pending.rest()] == [0, 1, 2]


@pytest.mark.parametrize(("sizes", "finished"), [([6, 4], 0), ([6, 5], 1), ([4, 4, 11], 2)])
def test_what_is_held_is_bounded_but_for_one_alone(sizes: list[int], finished: int) -> None:
    pending = PendingResults[None, int](threads=1, name="test", most=9, most_bytes=10)
    found = []
    for place, size in enumerate(sizes):
        pending.submit(lambda: None, place, size)
        found += [place for _, place in pending.surplus()]
    assert found == list(range(finished))


def test_an_error_comes_where_its_result_would_have() -> None:
    pending = PendingResults[float, int](threads=1, name="test", most=1)
    pending.submit(lambda: 1.0, 1)
    pending.submit(lambda: 1 / 0, 2)
    assert list(pending.surplus()) == [(1.0, 1)]
    with pytest.raises(ZeroDivisionError):
        list(pending.rest())


def test_what_is_forgotten_never_comes_nor_begins() -> None:
    pending = PendingResults[str, int](threads=1, name="test", most=1)
    released = threading.Event()
    begun: list[int] = []

    def second() -> str:
        begun.append(2)
        return "second"

    pending.submit(lambda: str(released.wait(SECONDS)), 1)
    pending.submit(second, 2)
    pending.forget()
    released.set()
    pending.submit(lambda: "after", 3)
    assert list(pending.rest()) == [("after", 3)]
    assert begun == []
