from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from transforms.saliency.batch_size import measure_batch_sizes, starting_batch_size


@dataclasses.dataclass
class FakeDevice:
    """Takes the seconds an example that are given by size, else 1; full at `full`."""

    seconds: Mapping[int, float]
    full: int = 1 << 20
    calls: list[int] = dataclasses.field(default_factory=list)

    def __call__(self, size: int) -> float | None:
        self.calls.append(size)
        return None if size >= self.full else size * self.seconds.get(size, 1.0)

    @property
    def spent(self) -> float:
        """Seconds of all calls but the first, which the run would have to make as well."""
        return sum(size * self.seconds.get(size, 1.0) for size in self.calls[1:])


def test_the_fastest_size_is_taken() -> None:
    for fastest in (1, 4, 16, 64):
        choice = measure_batch_sizes(FakeDevice({fastest: 0.5}), 8, lambda _: 1e9)
        assert choice.size == fastest
        assert choice.examples_per_second[fastest] == 2.0
        assert choice.examples_per_second[8] == 1.0


def test_the_smaller_of_almost_equals_is_taken() -> None:
    device = FakeDevice({4: 0.509, 32: 0.5, 64: 0.505})
    assert measure_batch_sizes(device, 8, lambda _: 1e9).size == 4
    device = FakeDevice({4: 0.511, 32: 0.5, 64: 0.505})
    assert measure_batch_sizes(device, 8, lambda _: 1e9).size == 32


def test_the_start_stays_unless_another_is_clearly_faster() -> None:
    assert measure_batch_sizes(FakeDevice({4: 0.96, 16: 0.96}), 8, lambda _: 1e9).size == 8
    assert measure_batch_sizes(FakeDevice({16: 0.94}), 8, lambda _: 1e9).size == 16


@pytest.mark.parametrize("examples", [0, 10, 40, 100, 400, 4000])
def test_the_budget_is_kept(examples: int) -> None:
    device = FakeDevice({8: 0.02})
    choice = measure_batch_sizes(device, 8, lambda seconds: examples * seconds)
    assert device.calls[:2] == [8, 8]
    # Nothing beside the start is tried for longer than it would take at the best speed.
    spent_beside = sum(size * 0.02 for size in device.calls[1:])
    assert spent_beside <= max(examples, 8) * 0.02
    assert choice.size == 8


def test_two_percent_of_two_thousand_images_measure_other_sizes() -> None:
    device = FakeDevice({})
    choice = measure_batch_sizes(device, 8, lambda seconds: 0.02 * 2000 * seconds)
    assert len(choice.examples_per_second) > 1
    assert device.spent <= 40


def test_sizes_that_do_not_fit_into_memory_end_the_growth() -> None:
    device = FakeDevice({16: 0.5, 32: 0.1}, full=32)
    choice = measure_batch_sizes(device, 8, lambda _: 1e9)
    assert choice.size == 16
    assert max(device.calls) == 32
    assert 32 not in choice.examples_per_second


def test_a_start_that_does_not_fit_is_halved() -> None:
    choice = measure_batch_sizes(FakeDevice({}, full=4), 8, lambda _: 1e9)
    assert choice.size == 2
    assert set(choice.examples_per_second) == {1, 2}


def test_where_nothing_can_be_run_the_start_stays() -> None:
    choice = measure_batch_sizes(FakeDevice({}, full=1), 8, lambda _: 1e9)
    assert (choice.size, choice.examples_per_second) == (8, {})


def test_the_start_follows_the_input() -> None:
    assert starting_batch_size((448, 448, 3)) == 8
    assert starting_batch_size((224, 224, 3)) == 8
    assert starting_batch_size((64, 64, 3)) == 16
    assert starting_batch_size((16,)) == 64
