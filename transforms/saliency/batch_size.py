"""Which batch size `auto` is: what is fastest on the first examples, in a little of the run's time.

    start -> 2 start, start / 2, 4 start, start / 4, ... while the time allowed for it lasts

The start stays unless another size is faster by more than the 5 % that such short measurements
are off. Then, of the sizes within 2 % of the fastest, the smallest is taken: it needs the least
memory, and wastes the least on the last mini-batch of a block.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping

_CACHED_BYTES = 8 << 20
"""About what a mini-batch may hold before it leaves a CPU's caches: on CPUs, networks for
224 x 224 images were fastest at 8 examples, and at 32 up to twice as slow."""

_ACTIVATIONS_PER_INPUT = 8
"""Rough ratio of a convolutional network's live activations to its input."""

_SMALLEST, _LARGEST = 8, 64

_TOLERANCE = 0.02
_UNCERTAINTY = 0.05  # of what a few calls take; the start is where experience has it
_FEWEST_CALLS, _MOST_CALLS = 2, 5  # of one size, the first of them to warm up
_SHARE = 0.5  # of what is left, for one size
_STEPS = 5  # doublings and halvings from the start


def starting_batch_size(input_shape: tuple[int, ...]) -> int:
    """The size to begin with, and to stay at where nothing can be measured.

    Args:
      input_shape: Of one input, without the batch axis.

    Returns:
      A power of two from 8 to 64.

    >>> starting_batch_size((224, 224, 3)), starting_batch_size((64, 64, 3))
    (8, 16)
    """
    bytes_an_example = 4 * math.prod(input_shape) * _ACTIVATIONS_PER_INPUT
    fitting = _CACHED_BYTES // bytes_an_example or 1
    return min(_LARGEST, max(_SMALLEST, 1 << (fitting.bit_length() - 1)))


@dataclasses.dataclass(frozen=True)
class BatchSizeChoice:
    """A batch size, and why.

    Attributes:
      size: Examples in a mini-batch.
      examples_per_second: Of each size measured, by size; empty where none was.
    """

    size: int
    examples_per_second: Mapping[int, float]

    def as_dict(self) -> dict[str, float]:
        """The rates as JSON's types, for the manifest."""
        return {str(size): round(rate, 3) for size, rate in self.examples_per_second.items()}


def measure_batch_sizes(
    time_batch: Callable[[int], float | None],
    start: int,
    budget: Callable[[float], float],
    clock: Callable[[], float] = time.perf_counter,
) -> BatchSizeChoice:
    """Measures sizes around `start` until the budget is spent, and takes the best.

    Args:
      time_batch: Runs one mini-batch of a size; returns its seconds, or None where it cannot be
        run, for want of memory most likely: then no larger size is tried.
      start: The first size; halved until it can be run.
      budget: Seconds that measuring may take, given the seconds an example takes at `start`.
      clock: Gives seconds; what compiling for a size takes is on the budget, too.

    Returns:
      What was chosen, and all that was measured; the start where no size can be run.
    """
    wanted = start
    # The first call warms up, as the run would have to: it is not on the budget.
    while time_batch(start) is None or (first := time_batch(start)) is None:
        if start == 1:
            return BatchSizeChoice(wanted, {})
        start //= 2
    seconds_an_example = {start: first / start}
    left = budget(first / start) - first
    limit = math.inf
    for size in (start, *_sizes(start)):
        expected = size * min(seconds_an_example.values())
        calls = min(_MOST_CALLS, int(_SHARE * left / expected))
        if size >= limit or calls < _FEWEST_CALLS:
            continue
        begun = clock()
        timed = [time_batch(size) for _ in range(calls)]
        left -= clock() - begun
        seconds = [each for each in timed if each is not None]
        if len(seconds) < len(timed):
            limit = size
            continue
        fastest = min(seconds[1:]) / size  # The first has warmed up.
        seconds_an_example[size] = min(fastest, seconds_an_example.get(size, fastest))
    best = min(seconds_an_example.values())
    if seconds_an_example[start] <= best * (1 + _UNCERTAINTY):
        chosen = start
    else:
        near = (n for n, each in seconds_an_example.items() if each <= best * (1 + _TOLERANCE))
        chosen = min(near)
    return BatchSizeChoice(
        size=chosen,
        examples_per_second={n: 1 / each for n, each in sorted(seconds_an_example.items())},
    )


def _sizes(start: int) -> Iterator[int]:
    """2 start, start / 2, 4 start, ...; a size below 1 is left out."""
    for step in range(1, _STEPS + 1):
        yield start << step
        if start >> step:
            yield start >> step
