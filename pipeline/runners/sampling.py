"""How often Beam's state sampler looks, as the end of every bundle waits for its next look."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from apache_beam.runners.worker import statesampler

PERIOD_MS = 20
"""A look takes some microseconds, without Python's lock."""


class _OftenLooking(statesampler.StateSampler):
    def __init__(self, prefix: str, counter_factory: Any) -> None:
        super().__init__(prefix, counter_factory, PERIOD_MS)


@contextlib.contextmanager
def bundles_end_promptly() -> Iterator[None]:
    """Has the bundles that this process begins in the body end within `PERIOD_MS`.

    A thread of Beam's looks at what a bundle is busy with, at first often and in the end every
    200 ms, and the bundle ends with its next look. So one that takes seconds, as that of a run
    does, ends 100 ms late on average. Beam has no option for it.
    """
    usual = statesampler.StateSampler
    statesampler.StateSampler = _OftenLooking  # where Beam looks it up
    try:
        yield
    finally:
        statesampler.StateSampler = usual
