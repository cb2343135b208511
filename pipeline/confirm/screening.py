"""Screens proposals by a few images of half a: which of them are worth an experiment.

A place of any class can be proposed (`pipeline.audit.shortcuts.proposals`), and most are nothing.
So a few images that the model recognises are masked by their mean colour alone. That is cheap, and
half b, where the experiment is, has no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.audit.shortcuts.trying import FEWEST_RECOGNISED, Screened
from pipeline.confirm.experiment import Predict, Subject, measure_masking
from pipeline.confirm.interventions import FILLS

SCREENING_IMAGES = 30
"""Of a class: each, four times masked, and at most 150 images are shown to the model per place."""

_FILL = "mean"


def screen(
    subjects: Sequence[Subject],
    target: int,
    predict: Predict,
    generator_of: Callable[[str], np.random.Generator],
) -> Screened | None:
    """What masking takes of the margin.

    Args:
      subjects: Images of half a that the model recognises; fewer than 10 say nothing.
      target: The class.
      predict: The model.
      generator_of: Randomness of an example, by its id.
    """
    if len(subjects) < FEWEST_RECOGNISED:
        return None
    images = [each.image for each in subjects]  # As donors, which the mean colour has no use for.
    measured = measure_masking(
        subjects, images, target, predict, generator_of, fills={_FILL: FILLS[_FILL]}
    )
    if len(measured.margins) < FEWEST_RECOGNISED:
        return None
    taken = float((measured.drops - measured.control_drops).mean())
    return Screened(taken, float(np.median(measured.margins)))
