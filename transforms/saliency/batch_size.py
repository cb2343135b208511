"""Which batch size `auto` is."""

from __future__ import annotations

import math

_CACHED_BYTES = 8 << 20
"""About what a mini-batch may hold before it leaves a CPU's caches: on CPUs, networks for
224 x 224 images were fastest at 8 examples, and at 32 up to twice as slow."""

_ACTIVATIONS_PER_INPUT = 8
"""Rough ratio of a convolutional network's live activations to its input."""

_SMALLEST, _LARGEST = 8, 64


def choose_batch_size(input_shape: tuple[int, ...], fixed: int | None) -> int:
    """The batch size for a model's input; the same for the same model, so runs are repeatable.

    Args:
      input_shape: Of one input, without the batch axis.
      fixed: The only batch size the model takes; None if it takes any.

    Returns:
      A power of two from 8 to 64, or the fixed size.

    >>> choose_batch_size((224, 224, 3), None), choose_batch_size((64, 64, 3), None)
    (8, 16)
    """
    if fixed is not None:
        return fixed
    bytes_an_example = 4 * math.prod(input_shape) * _ACTIVATIONS_PER_INPUT
    fitting = _CACHED_BYTES // bytes_an_example or 1
    return min(_LARGEST, max(_SMALLEST, 1 << (fitting.bit_length() - 1)))
