"""Whether an atlas can be judged, and another one be its baseline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pipeline.atlas import Atlas
from pipeline.audit.statistics import statistic
from pipeline.config.audit_section import GateSection
from transforms.errors import ConfigurationError, RunError
from transforms.statistics.columns import POINTING_HIT, region_energy


def input_kind(atlas: Atlas) -> str | None:
    """`image` or `tensor`; None where the atlas does not say."""
    kind: str | None = atlas.manifest["config"].get("source", {}).get("input", {}).get("kind")
    return kind


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
      ConfigurationError: Its own audit, in its folder `audit`, has not passed; or its inputs, grid,
        method or reducer are other ones.
    """
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
      ConfigurationError: Its inputs, grid, method or reducer are other ones.
    """
    ours, theirs = (
        {
            "source.input.kind": input_kind(each),
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


def other_statistics(atlas: Atlas, baseline: Atlas) -> set[str]:
    """Statistics of single maps that are called the same in both and mean something else.

    Energies of regions that the two configurations define differently; and whether the peak hits,
    where one of them has masks of the examples and the other has boxes.
    """
    ours, theirs = (
        each.manifest["settings"].get("statistics", {}).get("regions", {})
        for each in (atlas, baseline)
    )
    found = {region_energy(name) for name in ours.keys() & theirs if ours[name] != theirs[name]}
    masks = {each.manifest["map_format"].get("with_masks", False) for each in (atlas, baseline)}
    return found | ({POINTING_HIT} if len(masks) > 1 else set())


def check_same_statistics(atlas: Atlas, baseline: Atlas, gates: Iterable[GateSection]) -> None:
    """Refuses gates that compare what only its name has in common.

    Raises:
      ConfigurationError: A gate is about another region, or another kind of place, there.
    """
    others = other_statistics(atlas, baseline)
    for gate in gates:
        if gate.needs_baseline and statistic(gate.statistic).of in others:
            raise ConfigurationError(
                f"gate {gate.title!r}: {gate.statistic} is about another place in the baseline "
                f"{baseline.path}: give one made with the same statistics.regions, and the same "
                "source.features.mask or boxes"
            )
