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
from typing import Protocol

_ACTIVATIONS_PER_INPUT = 8
"""Rough ratio of a convolutional network's live activations to its input."""

_CPU_BYTES = 40 << 20
"""About what a mini-batch holds where a CPU is fastest: 8 images of 224 x 224, and 64 of 64 x 64.
More leaves the caches, which made 32 images of 224 x 224 up to half as fast on some processors;
fewer do not pay for what every call costs."""

_GPU_BYTES = 320 << 20
"""About what a mini-batch has to hold to occupy a GPU, and any holds: 64 images of 224 x 224."""

_SMALLEST, _LARGEST, _LARGEST_ON_GPU = 8, 64, 512

_TOLERANCE = 0.02
_UNCERTAINTY = 0.05  # of what a few calls take; the start is where experience has it
_FEWEST_CALLS, _MOST_CALLS = 2, 3  # of one size, the first of them to warm up
_SHARE = 0.5  # of what is left, for one size
_STEPS = 5  # doublings and halvings from the start


def starting_batch_size(input_shape: tuple[int, ...], *, on_gpu: bool = False) -> int:
    """The size to begin with, and to stay at where nothing can be measured.

    Args:
      input_shape: The shape of one input, without the batch axis.
      on_gpu: Whether a GPU computes.

    Returns:
      A power of two from 8 to 64; on a GPU, to 512.

    >>> starting_batch_size((224, 224, 3)), starting_batch_size((128, 128, 3))
    (8, 32)
    >>> starting_batch_size((224, 224, 3), on_gpu=True)
    64
    """
    bytes_an_example = 4 * math.prod(input_shape) * _ACTIVATIONS_PER_INPUT
    fitting = (_GPU_BYTES if on_gpu else _CPU_BYTES) / bytes_an_example
    nearest = 1 << max(0, round(math.log2(fitting)))
    return min(_LARGEST_ON_GPU if on_gpu else _LARGEST, max(_SMALLEST, nearest))


@dataclasses.dataclass(frozen=True)
class BatchSizeChoice:
    """A batch size, and why.

    Attributes:
      size: Examples in a mini-batch.
      examples_per_second: The rate of each size measured, by size; empty where none was.
    """

    size: int
    examples_per_second: Mapping[int, float]

    def as_dict(self) -> dict[str, float]:
        """The rates as JSON's types, for the manifest."""
        return {str(size): round(rate, 3) for size, rate in self.examples_per_second.items()}


class Timer(Protocol):
    """Tells how long mini-batches of a size take; `timing.BatchTimer` is one."""

    @property
    def at_once(self) -> int:
        """Mini-batches that are run at the same time: as many as a run computes at once."""

    def preparation(self, size: int) -> float:
        """Seconds that compiling for a size may take, before its first mini-batch."""

    def seconds(self, size: int) -> float | None:
        """Seconds that `at_once` mini-batches of a size take.

        None where they cannot be run, for want of memory most likely: then no larger size is tried.
        """


def fewest_examples(timer: Timer, start: int) -> int:
    """How many examples' time it takes at least to learn something beyond `start`."""
    return int(timer.at_once * start * (1 + _FEWEST_CALLS / _SHARE))


def measure_batch_sizes(
    timer: Timer,
    start: int,
    examples: float,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> BatchSizeChoice:
    """Measures sizes around `start` until the time allowed is spent, and takes the best.

    Args:
      timer: Runs mini-batches.
      start: The first size; halved until it can be run.
      examples: As many examples' time may be spent; less than `fewest_examples` is no use.
      seconds: No more than these.
      clock: Gives seconds.

    Returns:
      What was chosen, and all that was measured; the start where no size can be run.
    """
    wanted = start
    while (first := timer.seconds(start)) is None:  # It warms up, as the run would have to.
        if start == 1:
            return BatchSizeChoice(wanted, {})
        start //= 2
    seconds_an_example = {start: first / (timer.at_once * start)}
    left = min(examples * seconds_an_example[start], seconds) - first
    limit = math.inf
    for size in (start, *_sizes(start)):
        count = timer.at_once * size
        expected = count * min(seconds_an_example.values())
        calls = min(_MOST_CALLS, int((_SHARE * left - timer.preparation(size)) / expected))
        if size <= start and calls < _FEWEST_CALLS:
            break  # Nothing can be compared with the start, or only sizes that are far from it.
        if size >= limit or calls < _FEWEST_CALLS:
            continue
        begun = clock()
        timed = [timer.seconds(size) for _ in range(calls)]
        left -= clock() - begun
        succeeded = [each for each in timed if each is not None]
        if len(succeeded) < len(timed):
            limit = size
            continue
        fastest = min(succeeded[1:]) / count  # The first has warmed up.
        seconds_an_example[size] = min(fastest, seconds_an_example.get(size, fastest))
    return BatchSizeChoice(
        size=_best(seconds_an_example, start),
        examples_per_second={n: 1 / each for n, each in sorted(seconds_an_example.items())},
    )


def _best(seconds_an_example: Mapping[int, float], start: int) -> int:
    best = min(seconds_an_example.values())
    if seconds_an_example[start] <= best * (1 + _UNCERTAINTY):
        return start
    return min(n for n, each in seconds_an_example.items() if each <= best * (1 + _TOLERANCE))


def _sizes(start: int) -> Iterator[int]:
    """2 start, start / 2, 4 start, ...; a size below 1 is left out."""
    for step in range(1, _STEPS + 1):
        yield start << step
        if start >> step:
            yield start >> step
