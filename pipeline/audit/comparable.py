"""Whether an atlas can be judged, and another one be its baseline."""

from __future__ import annotations

from typing import Literal

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


def check_reference(atlas: Atlas, other: Atlas) -> None:
    """Refuses an atlas as a reference that is not blessed, or whose maps are of another kind.

    Args:
      atlas: What is audited.
      other: An atlas of `audit.reference`.

    Raises:
      ConfigurationError: It is the atlas itself; its own audit, in its folder `audit`, has not
        passed; or its grid, method or reducer is another one.
    """
    if other.path == atlas.path:
        raise ConfigurationError(
            f"audit.reference: {other.path} is the atlas itself, whose classes cannot be their own "
            "reference: leave it out"
        )
    if other.read_file("audit/BLESSED") is None:
        raise ConfigurationError(
            f"audit.reference: {other.path} has no audit/BLESSED, so its classes are no reference: "
            "audit it first, and name only atlases whose audit passes"
        )
    check_same_maps(atlas, other, "reference")


def check_same_maps(atlas: Atlas, other: Atlas, role: Literal["baseline", "reference"]) -> None:
    """Refuses another atlas whose figures mean something else.

    Args:
      atlas: What is audited.
      other: What it is compared with.
      role: What the other is to it, for the message.

    Raises:
      ConfigurationError: Its grid, method or reducer is another one.
    """
    ours, theirs = (
        {
            "statistics.sketch": each.manifest["map_format"]["sketch_shape"],
            "explain.method": each.manifest["settings"]["explain"]["method"],
            "explain.reducer": each.manifest["settings"]["explain"].get("reducer"),
        }
        for each in (atlas, other)
    )
    for key, value in ours.items():
        if theirs[key] != value:
            raise ConfigurationError(
                f"the {role} {other.path} has {key} {theirs[key]}, the atlas {value}: their "
                f"maps do not compare; give a {role} made with the same one"
            )
