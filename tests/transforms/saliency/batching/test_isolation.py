"""Isolation with a fake program: every example but the guilty ones, at its own place."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.saliency.attribution import Arrays, Results
from transforms.saliency.batching.isolation import Errors, IsolatingRunner


class BadExample(Exception):  # noqa: N818 - as a model would raise it
    pass


class NoMemory(Exception):  # noqa: N818
    pass


ERRORS = Errors((BadExample,), (NoMemory,), str)


class Program:
    """Gives each row's value and its place; refuses bad values, and too large batches."""

    def __init__(self, bad: Collection[int] = (), fits: int = 1000) -> None:
        self.bad = set(bad)
        self.fits = fits
        self.sizes: list[int] = []

    def __call__(self, size: int, arrays: Arrays) -> Results:
        (values,) = arrays
        assert 1 <= len(values) <= size
        self.sizes.append(size)
        if size > self.fits:
            raise NoMemory(f"{size} are too many")
        if self.bad.intersection(values.tolist()):
            raise BadExample("a bad value")
        return {"value": values * 10, "place": np.arange(len(values))}


@given(
    count=st.integers(1, 40),
    size=st.integers(1, 17),
    fits=st.integers(1, 20),
    bad=st.sets(st.integers(0, 39)),
)
def test_only_bad_examples_fail_and_all_others_keep_their_place(
    count: int, size: int, fits: int, bad: set[int]
) -> None:
    program = Program(bad, fits)
    runner = IsolatingRunner(program, size, ERRORS)
    results, faults = runner.run((np.arange(count),))
    assert [row for row, fault in enumerate(faults) if fault] == sorted(bad & set(range(count)))
    assert {fault.error for fault in faults if fault} <= {"ModelError"}
    good = [row for row, fault in enumerate(faults) if fault is None]
    assert (results is None) == (not good)
    if results is not None:
        assert results["value"][good].tolist() == [10 * row for row in good]
        if size <= fits:
            assert results["place"][good].tolist() == [row % size for row in good]
    expected = size
    while expected > fits:
        expected //= 2
    assert runner.batch_size == expected


def test_bisecting_takes_few_runs() -> None:
    program = Program({77})
    IsolatingRunner(program, 128, ERRORS).run((np.arange(128),))
    assert len(program.sizes) == 1 + 2 * 7
    assert set(program.sizes) == {128}


def test_the_smaller_size_is_remembered_and_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    program = Program(fits=3)
    runner = IsolatingRunner(program, 16, ERRORS)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            results, faults = runner.run((np.arange(16),))
            assert results is not None
            assert results["value"].tolist() == list(range(0, 160, 10))
            assert faults == [None] * 16
    assert program.sizes == [16, 8, 4] + [2] * 16
    assert [runner.claim_halvings(), runner.claim_halvings()] == [3, 0]
    assert len(caplog.records) == 3
    assert "a mini-batch of 16 does not fit into memory (16 are too many): 8" in caplog.text


def test_an_example_that_does_not_fit_alone_is_a_failure_naming_the_memory() -> None:
    results, faults = IsolatingRunner(Program(fits=0), 4, ERRORS).run((np.arange(2),))
    assert results is None
    for fault in faults:
        assert fault is not None
        assert fault.error == "OutOfMemory"
        assert "not enough memory" in str(fault)


def test_bugs_propagate() -> None:
    def broken(size: int, arrays: Arrays) -> Results:
        raise TypeError(f"a bug with {size} of {len(arrays)}")

    with pytest.raises(TypeError, match="a bug"):
        IsolatingRunner(broken, 4, ERRORS).run((np.arange(2),))


def test_a_failure_of_a_combination_costs_no_example() -> None:
    """An operator over the whole batch may refuse two examples together, and neither alone."""

    def no_pairs(_: int, arrays: Arrays) -> Results:
        if {1, 2} <= set(arrays[0].tolist()):
            raise BadExample("1 and 2")
        return {"value": arrays[0]}

    results, faults = IsolatingRunner(no_pairs, 4, ERRORS).run((np.arange(4),))
    assert faults == [None] * 4
    assert results is not None
    assert results["value"].tolist() == [0, 1, 2, 3]


def test_mini_batches_take_turns_once_memory_was_short() -> None:
    another = threading.Event()
    inside: list[int] = []

    class Watched(Program):
        """Waits a moment for another mini-batch to come in beside it."""

        def __call__(self, size: int, arrays: Arrays) -> Results:
            inside.append(size)
            if len(inside) > 1:
                another.set()
            another.wait(0.1)
            inside.pop()
            return super().__call__(size, arrays)

    runner = IsolatingRunner(Watched(fits=2), 4, ERRORS)
    runner.run((np.arange(4),))  # alone, it finds out
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(runner.run, [(np.arange(2),)] * 2))
    assert all(faults == [None] * 2 for _, faults in found)
    assert runner.batch_size == 2
    assert not another.is_set()
