"""All indicators of an atlas of images: of places, of what repeats, of properties."""

from __future__ import annotations

from pipeline.audit.shortcuts.halves import Evidence
from pipeline.audit.shortcuts.place import indicate_places
from pipeline.audit.shortcuts.properties import indicate_properties
from pipeline.audit.shortcuts.repeat import indicate_repeats
from pipeline.audit.shortcuts.scores import Scores


def indicators(evidence: Evidence) -> list[Scores]:
    """Those that the atlas has columns and classes for.

    Raises:
      ConfigurationError: It has no table of folds.
    """
    folds = evidence.folds
    found: list[Scores] = [
        indicate_places(folds),
        indicate_repeats(folds),
        *indicate_properties(evidence),
    ]
    return [each for each in found if len(each.targets)]
