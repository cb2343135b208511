from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import pytest

from transforms.saliency.batching.size import (
    BatchSizeChoice,
    fewest_examples,
    measure_batch_sizes,
    starting_batch_size,
)


@dataclasses.dataclass
class FakeDevice:
    """Takes the seconds an example that are given by size, else 1; full at `full`.

    Of `at_once` mini-batches in a call.
    """

    seconds_an_example: Mapping[int, float]
    full: int = 1 << 20
    at_once: int = 1
    compiling: float = 0.0
    expected: float = 0.0
    calls: list[int] = dataclasses.field(default_factory=list)
    now: float = 0.0

    def preparation(self, size: int) -> float:
        return 0.0 if size in self.calls else self.expected

    def seconds(self, size: int) -> float | None:
        self.now += self.compiling if size not in self.calls else 0.0
        taken = self.at_once * size * self.seconds_an_example.get(size, 1.0)
        self.now += taken
        self.calls.append(size)
        return None if size >= self.full else taken

    def choose(self, examples: float = 1e9, seconds: float = math.inf) -> BatchSizeChoice:
        return measure_batch_sizes(self, 8, examples, seconds, lambda: self.now)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_the_fastest_size_is_taken(at_once: int) -> None:
    for fastest in (1, 4, 16, 64):
        choice = FakeDevice({fastest: 0.5}, at_once=at_once).choose()
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


@pytest.mark.parametrize("examples", [16, 40, 100, 400, 4000])
@pytest.mark.parametrize("at_once", [1, 2])
def test_the_time_of_no_more_examples_is_spent(examples: int, at_once: int) -> None:
    device = FakeDevice(dict.fromkeys((1 << n for n in range(12)), 0.02), at_once=at_once)
    assert device.choose(examples).size == 8
    assert device.now <= examples * 0.02 + 1e-9


def test_no_more_seconds_are_spent() -> None:
    device = FakeDevice({})
    assert len(device.choose(1e9, 100.0).examples_per_second) > 1
    assert device.now <= 100.0


def test_the_fewest_examples_are_enough_to_try_a_size_more() -> None:
    for at_once in (1, 2, 3):
        device = FakeDevice({}, at_once=at_once)
        fewest = fewest_examples(device, 8)
        assert device.choose(fewest - 1).examples_per_second.keys() == {8}
        assert len(FakeDevice({}, at_once=at_once).choose(fewest).examples_per_second) > 1


def test_two_percent_of_ten_thousand_images_measure_larger_and_smaller_sizes() -> None:
    device = FakeDevice({}, at_once=2)
    choice = device.choose(0.02 * 10_000)
    assert {4, 8, 16} <= choice.examples_per_second.keys()


def test_a_small_budget_is_not_spent_on_sizes_far_from_the_start() -> None:
    device = FakeDevice({1: 0.5, 2: 0.5}, at_once=2)
    choice = device.choose(0.02 * 2000)
    assert choice.examples_per_second.keys() == {8}


def test_compiling_is_on_the_budget() -> None:
    free = FakeDevice({}).choose(500.0)
    dear = FakeDevice({}, compiling=300.0).choose(500.0)
    assert len(dear.examples_per_second) == 3
    assert len(free.examples_per_second) > 3


def test_a_size_is_not_compiled_for_where_that_is_too_dear() -> None:
    device = FakeDevice({16: 0.5}, compiling=300.0, expected=300.0)
    assert device.choose(500.0).examples_per_second.keys() == {8}
    assert set(device.calls) == {8}
    assert device.choose(5000.0).size == 16


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
    assert starting_batch_size((128, 128, 3)) == 32
    assert starting_batch_size((64, 64, 3)) == 64
    assert starting_batch_size((16,)) == 64


def test_a_gpu_starts_with_more() -> None:
    assert starting_batch_size((2048, 2048, 3), on_gpu=True) == 8
    assert starting_batch_size((224, 224, 3), on_gpu=True) == 64
    assert starting_batch_size((64, 64, 3), on_gpu=True) == 512
    assert starting_batch_size((16,), on_gpu=True) == 512
