from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import pytest

from transforms.saliency.batch_size import (
    BatchSizeChoice,
    measure_batch_sizes,
    starting_batch_size,
)


@dataclasses.dataclass
class FakeDevice:
    """Takes the seconds an example that are given by size, else 1; full at `full`."""

    seconds: Mapping[int, float]
    full: int = 1 << 20
    compiling: float = 0.0
    calls: list[int] = dataclasses.field(default_factory=list)
    now: float = 0.0

    def __call__(self, size: int) -> float | None:
        self.now += self.compiling if size not in self.calls else 0.0
        self.now += size * self.seconds.get(size, 1.0)
        self.calls.append(size)
        return None if size >= self.full else size * self.seconds.get(size, 1.0)

    def choose(self, budget: Callable[[float], float] = lambda _: 1e9) -> BatchSizeChoice:
        return measure_batch_sizes(self, 8, budget, lambda: self.now)


def test_the_fastest_size_is_taken() -> None:
    for fastest in (1, 4, 16, 64):
        choice = FakeDevice({fastest: 0.5}).choose()
        assert choice.size == fastest
        assert choice.examples_per_second[fastest] == 2.0
        assert choice.examples_per_second[8] == 1.0


def test_the_smaller_of_almost_equals_is_taken() -> None:
    device = FakeDevice({4: 0.509, 32: 0.5, 64: 0.505})
    assert device.choose().size == 4
    device = FakeDevice({4: 0.511, 32: 0.5, 64: 0.505})
    assert device.choose().size == 32


def test_the_start_stays_unless_another_is_clearly_faster() -> None:
    assert FakeDevice({4: 0.96, 16: 0.96}).choose().size == 8
    assert FakeDevice({16: 0.94}).choose().size == 16


@pytest.mark.parametrize("examples", [0, 10, 40, 100, 400, 4000])
def test_the_budget_is_kept(examples: int) -> None:
    device = FakeDevice(dict.fromkeys((1 << n for n in range(12)), 0.02))
    choice = device.choose(lambda seconds: examples * seconds)
    warming_up = 8 * 0.02  # the run would have to do that, too
    assert device.now - warming_up <= max(examples, 8) * 0.02
    assert choice.size == 8


def test_two_percent_of_two_thousand_images_measure_other_sizes() -> None:
    device = FakeDevice({})
    choice = device.choose(lambda seconds: 0.02 * 2000 * seconds)
    assert len(choice.examples_per_second) > 1
    assert device.now - 8 <= 40


def test_compiling_is_on_the_budget() -> None:
    free = FakeDevice({}).choose(lambda _: 500.0)
    dear = FakeDevice({}, compiling=300.0).choose(lambda _: 500.0)
    assert len(dear.examples_per_second) == 3
    assert len(free.examples_per_second) > 3


def test_sizes_that_do_not_fit_into_memory_end_the_growth() -> None:
    device = FakeDevice({16: 0.5, 32: 0.1}, full=32)
    choice = device.choose()
    assert choice.size == 16
    assert max(device.calls) == 32
    assert 32 not in choice.examples_per_second


def test_a_start_that_does_not_fit_is_halved() -> None:
    choice = FakeDevice({}, full=4).choose()
    assert choice.size == 2
    assert set(choice.examples_per_second) == {1, 2}


def test_where_nothing_can_be_run_the_start_stays() -> None:
    choice = FakeDevice({}, full=1).choose()
    assert (choice.size, choice.examples_per_second) == (8, {})


def test_the_start_follows_the_input() -> None:
    assert starting_batch_size((448, 448, 3)) == 8
    assert starting_batch_size((224, 224, 3)) == 8
    assert starting_batch_size((64, 64, 3)) == 16
    assert starting_batch_size((16,)) == 64
