"""Keeps the garbage collector off what is loaded and stays."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def existing_objects_uncollected() -> Iterator[None]:
    """Leaves what exists out of garbage collection while the body runs.

    TensorFlow, Beam and a model are half a million objects. Building a Beam graph allocates enough
    for several full collections, each of which would visit all of them: a quarter of a second of
    the half that a run costs beside its blocks.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
