"""The experiment on a property of whole images: two classes exchange what is usual in them.

A model knows a class by a property if that alone decides between it and a class that is alike in
all else, its counterpart (`counterparts`): with what is usual there, images of the class are taken
for others, and images of the counterpart, with what is usual in the class, for the class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.audit.shortcuts.properties import ALIKE
from pipeline.audit.shortcuts.shortcut import Shortcut
from pipeline.confirm.counterparts import find_counterpart, likely_counterparts
from pipeline.confirm.effects import judge_property, mask_effect, transplant_effect
from pipeline.confirm.experiment import (
    FEWEST_MEASURED,
    NOT_FINITE,
    MaskMeasurements,
    Predict,
    TransplantMeasurements,
    few_images,
    finite,
    margins_of,
)
from pipeline.confirm.property_changes import Images, Way, ways_to

ImagesOf = Callable[[Sequence[int]], Mapping[int, Images]]
"""Images (N, H, W, C) of each of some classes; of one without any there are 0."""


def try_property(
    finding: Shortcut,
    classes: pa.Table,
    images_of: ImagesOf,
    predict: Predict,
    *,
    stands_out: bool,
    min_effect: float,
    confidence: float,
) -> Shortcut:
    """Looks for a counterpart, exchanges the property, and judges what the model makes of it.

    Args:
      finding: The candidate, a property that can be changed.
      classes: `statistics/classes.parquet`.
      images_of: Images of classes.
      predict: The model.
      stands_out: Whether it is a candidate without an experiment; what is not is of interest only
        with a counterpart that is alike.
      min_effect: `audit.min_effect`, a share of the class's median margin.
      confidence: Of the intervals.

    Returns:
      The finding with what was found; with the reason where no class differs in little else, there
      are fewer than two images of either, or no change makes the property what it is in the other.
    """
    name, target = finding.statistic, finding.class_number
    likely = likely_counterparts(classes, name, target)
    images = images_of([target, *likely])
    own = images[target]
    others = {number: images[number] for number in likely}
    counterpart, distance = find_counterpart(name, own, others) if len(own) else (None, np.inf)
    if counterpart is None or not (stands_out or distance <= ALIKE):
        return finding.not_tried(
            "each other class differs from it in more than that, cannot be given as much of it, or "
            "has no images to try"
        )
    count = min(len(own), len(others[counterpart]))
    if count < FEWEST_MEASURED:
        return finding.not_tried(few_images(len(own), len(others[counterpart])))
    measured = _exchange(finding, own[:count], others[counterpart][:count], predict)
    if measured is None:
        return finding.not_tried("no change of its images brings it to what it is in another class")
    if min(len(measured[0].margins), len(measured[1].rises)) < FEWEST_MEASURED:
        return finding.not_tried(NOT_FINITE)
    tried = mask_effect(measured[0], confidence), transplant_effect(measured[1], confidence)
    names = dict(zip(*(classes[each].to_pylist() for each in ("class", "class_name")), strict=True))
    found: dict[str, object] = {
        "mask": tried[0],
        "transplant": tried[1],
        "counterpart": counterpart,
        "counterpart_name": names[counterpart],
        "counterpart_distance": distance,
    }
    if finding.verdict == "candidate":
        found["verdict"] = judge_property(*tried, distance, min_effect, confidence)
    return finding.model_copy(update=found)


def _exchange(
    finding: Shortcut, own: Images, others: Images, predict: Predict
) -> tuple[MaskMeasurements, TransplantMeasurements] | None:
    """Gives images of two classes each other's property; None where no change does."""
    name, target = finding.statistic, finding.class_number
    taking = [way for way in ways_to(name, own, others) if way.reaches]
    if not taking:
        return None
    names = [way.name for way in taking]
    giving = [way for way in ways_to(name, others, own) if way.name in names]
    return (
        measure_taking(own, taking, target, predict),
        measure_giving(others, giving, target, predict),
    )


def measure_taking(
    images: Images, ways: Sequence[Way], target: int, predict: Predict
) -> MaskMeasurements:
    """Brings the property of a class's images to what is usual in its counterpart.

    Args:
      images: (N, H, W, C) of the class.
      ways: Of changing it, each with its controls.
      target: The class.
      predict: The model.
    """
    outputs = predict(images)
    margins, predicted = margins_of(outputs, target), outputs.argmax(axis=-1)
    drops, flips = [], []
    for way in ways:
        changed = _predict_changed(images, way, predict)
        drops.append([margins - margins_of(each, target) for each in changed])
        flips.append([each.argmax(axis=-1) != predicted for each in changed])
    drop, flip = (np.moveaxis(np.array(each), -1, 0) for each in (drops, flips))
    return finite(
        MaskMeasurements(
            margins,
            drop[:, :, 0],
            drop[:, :, 1:].mean(axis=-1),
            flip[:, :, 0],
            flip[:, :, 1:].mean(axis=-1),
            tuple(way.name for way in ways),
        )
    )


def measure_giving(
    images: Images, ways: Sequence[Way], target: int, predict: Predict
) -> TransplantMeasurements:
    """Brings the property of the counterpart's images to what is usual in the class.

    Args:
      images: (N, H, W, C) of the counterpart.
      ways: Of changing it, each with its controls; figures are their mean.
      target: The class.
      predict: The model.
    """
    outputs = predict(images)
    margins, was_other = margins_of(outputs, target), outputs.argmax(axis=-1) != target
    rises, moves = [], []
    for way in ways:
        changed = _predict_changed(images, way, predict)
        rises.append([margins_of(each, target) - margins for each in changed])
        moves.append([was_other & (each.argmax(axis=-1) == target) for each in changed])
    rise, moved = np.mean(rises, axis=0), np.mean(moves, axis=0)
    return finite(
        TransplantMeasurements(rise[0], rise[1:].mean(axis=0), moved[0], moved[1:].mean(axis=0))
    )


def _predict_changed(images: Images, way: Way, predict: Predict) -> list[npt.NDArray[np.float32]]:
    """What the model makes of images changed in one way, then by each control."""
    return [predict(way.step(images)), *(predict(each(images)) for each in way.controls(images))]
