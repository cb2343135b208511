"""Whether an atlas can be judged, and another one be its baseline."""

from __future__ import annotations

from pipeline.atlas import Atlas
from transforms.errors import ConfigurationError, RunError


def check_finished(atlas: Atlas) -> None:
    """Refuses an atlas that is not whole.

    Raises:
      RunError: It is incomplete, or its run has failed.
    """
    status = atlas.manifest["status"]
    if status == "complete":
        return
    why = {
        "incomplete": "is incomplete: complete it with saliency-atlas run CONFIG --resume",
        "failed": "has failed: more is broken than failures allows, mend it and run --resume",
    }
    raise RunError(f"the atlas {atlas.path} {why[status]}")


def check_same_maps(atlas: Atlas, baseline: Atlas) -> None:
    """Refuses a baseline whose figures mean something else.

    Raises:
      ConfigurationError: Its grid, method or reducer is another one.
    """
    ours, theirs = (
        {
            "statistics.sketch": each.manifest["map_format"]["sketch_shape"],
            "explain.method": each.manifest["settings"]["explain"]["method"],
            "explain.reducer": each.manifest["settings"]["explain"].get("reducer"),
        }
        for each in (atlas, baseline)
    )
    for key, value in ours.items():
        if theirs[key] != value:
            raise ConfigurationError(
                f"the baseline {baseline.path} has {key} {theirs[key]}, the atlas {value}: their "
                "maps do not compare; give a baseline made with the same one"
            )
