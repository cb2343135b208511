"""Screens proposals by a few images of half a: which of them are worth an experiment.

A place of any class can be proposed (`pipeline.audit.shortcuts.proposals`), and most are nothing.
So a few images that the model recognises are masked by their mean colour alone. That is cheap, and
half b, where the experiment is, has no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.confirm.effects import FEWEST_RECOGNISED
from pipeline.confirm.experiment import Predict, Subject, measure_masking
from pipeline.confirm.interventions import FILLS

SCREENING_IMAGES = 30
"""Of a class, and of the others: each, four times masked, and at most 330 images are shown to the
model per place."""

WORTH_TRYING = 0.3
"""Of the median margin: what masking takes beyond masking elsewhere, if more is worth trying."""

OWN_PLACE = 2.0
"""By how many times more a place has to take of its class than of other classes. What all lose
there, as where objects stand in the middle of photographs, is nothing that one is known by; nor
is what each loses at its peaks, where all classes are small things."""

_FILL = "mean"


def is_worth_trying(
    subjects: Sequence[Subject],
    others: Sequence[Subject],
    target: int,
    predict: Predict,
    generator_of: Callable[[str], np.random.Generator],
) -> bool:
    """Whether masking takes a good part of the margin, and so of this class alone.

    Args:
      subjects: Images of half a that the model recognises; fewer than 10 say nothing.
      others: Such images of other classes, with the same place, or where their own maps peak.
      target: The class.
      predict: The model.
      generator_of: Randomness of an example, by its id.
    """
    if len(subjects) < FEWEST_RECOGNISED:
        return False
    taken, margin = _taken(subjects, [target] * len(subjects), predict, generator_of)
    if margin <= 0 or taken < WORTH_TRYING * margin:
        return False
    if not others:
        return True
    of_others = predict(np.stack([each.image for each in others])).argmax(axis=-1).tolist()
    return taken >= OWN_PLACE * _taken(others, of_others, predict, generator_of)[0]


def _taken(
    subjects: Sequence[Subject],
    targets: Sequence[int],
    predict: Predict,
    generator_of: Callable[[str], np.random.Generator],
) -> tuple[float, float]:
    """What masking takes of the margin beyond masking elsewhere, the mean; the median margin."""
    measured = [  # The image as its own donor, which the mean colour has no use for.
        measure_masking(
            [each], [each.image], target, predict, generator_of, fills={_FILL: FILLS[_FILL]}
        )
        for each, target in zip(subjects, targets, strict=True)
    ]
    taken = float(np.mean([each.drops - each.control_drops for each in measured]))
    return taken, float(np.median([each.margins for each in measured]))
