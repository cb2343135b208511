"""Random numbers by Philox, keyed so that they depend on seed, example and step alone.

    key and counter = the first 192 bits of SHA-256(seed, example id, step)

So the bytes of a map do not depend on the other examples of its mini-batch, on the order of blocks,
on the worker or on the runner. Philox 4x32-10: Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import tensorflow as tf

KEY_WORDS = 3
"""One of 64 bits for Philox's key, two for its counter."""

_PHILOX = 1  # as tf.random.Algorithm numbers it


def random_key(seed: int, step: int, example_id: str = "") -> npt.NDArray[np.uint64]:
    """Key and counter of one step, (3,) uint64; without an id, of all examples together.

    >>> random_key(0, 1, "a") == random_key(0, 1, "b")
    array([False, False, False])
    """
    text = f"{seed}\n{step}\n{example_id}".encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(text).digest()
    return np.frombuffer(digest, "<u8", KEY_WORDS)


def random_keys(seed: int, step: int, ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """`random_key` of each example, (N, 3) uint64."""
    return np.stack([random_key(seed, step, each) for each in ids])


def uniform_numbers(key: tf.Tensor, count: int) -> tf.Tensor:
    """(count,) float32 numbers in [0, 1) for one key, (3,) uint64."""
    import tensorflow as tf

    return tf.raw_ops.StatelessRandomUniformV2(
        shape=[count], key=key[:1], counter=key[1:], alg=_PHILOX, dtype=tf.float32
    )


def normal_numbers(key: tf.Tensor, count: int) -> tf.Tensor:
    """(count,) float32 standard normal numbers for one key, (3,) uint64.

    Two of each two uniform numbers u and v: sqrt(-2 ln(1 - u)) times cos(2 pi v) and times
    sin(2 pi v). Box, Muller 1958, "A note on the generation of random normal deviates". In vector
    operations that takes half as long as TensorFlow's own normal numbers.
    """
    import tensorflow as tf

    pairs = -(-count // 2)
    uniform = uniform_numbers(key, 2 * pairs)
    distances = tf.sqrt(-2.0 * tf.math.log(1.0 - uniform[:pairs]))
    angles = 2.0 * math.pi * uniform[pairs:]
    both = tf.concat([distances * tf.cos(angles), distances * tf.sin(angles)], axis=0)
    return both[:count]
