"""Beam's state sampler looks often while a run waits for the ends of its bundles."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.runners.worker import statesampler

from pipeline.runners.sampling import PERIOD_MS, bundles_end_promptly

BEAMS = statesampler.DEFAULT_SAMPLING_PERIOD_MS
SEEN: list[int] = []


def _see(_: bytes) -> None:
    SEEN.append(statesampler.get_current_tracker().sampling_period_ms)


def test_bundles_are_sampled_often_in_the_body_alone() -> None:
    SEEN.clear()
    with bundles_end_promptly(), beam.Pipeline("FnApiRunner") as pipeline:
        _ = pipeline | beam.Impulse() | beam.Map(_see)
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = pipeline | beam.Impulse() | beam.Map(_see)
    assert SEEN == [PERIOD_MS, BEAMS]
    assert PERIOD_MS < BEAMS
