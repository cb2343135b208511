"""The experiment: a class's images masked and its patches pasted, each against controls.

Everything is measured as the *margin* of a class: its output less the largest other one. What is
stored of an image are paired differences, which `effects` turns into intervals and a verdict.
An image for which the model puts out what is not finite, as it is or changed, is left out.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.confirm.interventions import FILLS, Fill, Image, Mask, paste, shifts_elsewhere

Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""(N, H, W, C) decoded images in 0..255 -> (N, classes) outputs."""

_LOGGER = logging.getLogger(__name__)

FEWEST_MEASURED = 2
"""Fewer differences have no deviation."""

NOT_FINITE = "what the model puts out for its images, as they are or changed, is not finite"
"""Why a class is not tried."""

CONTROLS = 3
"""Places elsewhere that each masked image is compared with."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """An image of the experiment.

    Attributes:
      example_id: Which; it seeds the choice of controls.
      image: (H, W, C) float32 as decoded, 0..255.
      mask: (H, W) bool, the place in question in this image.
    """

    example_id: str
    image: Image
    mask: Mask


@dataclasses.dataclass(frozen=True)
class MaskMeasurements:
    """What masking did to N images of a class.

    Attributes:
      margins: (N,) float64, the class's margin in the images as they are.
      drops: (N, fills) by how much it fell with the place masked.
      control_drops: (N, fills) by how much it fell with as many pixels masked elsewhere, the mean
        of the controls.
      flips: (N, fills) bool, whether the predicted class changed.
      control_flips: (N, fills) float64, in what share of the controls it changed.
      names: Of the fills.
    """

    margins: npt.NDArray[np.float64]
    drops: npt.NDArray[np.float64]
    control_drops: npt.NDArray[np.float64]
    flips: npt.NDArray[np.bool_]
    control_flips: npt.NDArray[np.float64]
    names: tuple[str, ...] = tuple(FILLS)


@dataclasses.dataclass(frozen=True)
class TransplantMeasurements:
    """What pasting a class's patch did to N images of other classes.

    Attributes:
      rises: (N,) float64, by how much the class's margin rose with the patch from the place.
      control_rises: (N,) by how much it rose with a patch from elsewhere in the same source, pasted
        to the same place.
      moved: (N,) whether the image was then taken for the class, 0 or 1; a mean over ways of
        changing it.
      control_moved: (N,) the same with the patch from elsewhere.
    """

    rises: npt.NDArray[np.float64]
    control_rises: npt.NDArray[np.float64]
    moved: npt.NDArray[np.float64]
    control_moved: npt.NDArray[np.float64]


def measure_masking(
    subjects: Sequence[Subject],
    donors: Sequence[Image],
    target: int,
    predict: Predict,
    generator_of: Callable[[str], np.random.Generator],
    *,
    fills: Mapping[str, Fill] = FILLS,
) -> MaskMeasurements:
    """Masks the place in every image, and as many pixels elsewhere.

    Args:
      subjects: N images of the class.
      donors: N images of other classes, to fill masks from.
      target: The class.
      predict: The model.
      generator_of: Randomness of an example, by its id.
      fills: What masks are filled with.
    """
    found = [
        _mask_one(subject, donor, target, predict, generator_of(subject.example_id), fills=fills)
        for subject, donor in zip(subjects, donors, strict=True)
    ]
    margins, drops, control_drops, flips, control_flips = zip(*found, strict=True)
    return finite(
        MaskMeasurements(
            np.stack(margins),
            np.stack(drops),
            np.stack(control_drops),
            np.stack(flips),
            np.stack(control_flips),
            tuple(fills),
        )
    )


def _mask_one(
    subject: Subject,
    donor: Image,
    target: int,
    predict: Predict,
    generator: np.random.Generator,
    *,
    fills: Mapping[str, Fill],
) -> tuple[npt.NDArray[np.generic], ...]:
    image, mask = subject.image, subject.mask
    shifts = shifts_elsewhere(mask, CONTROLS, generator)
    changed = [image]
    for fill in fills.values():
        filling = fill(image, donor)
        changed.append(paste(image, mask, filling))
        changed += [paste(image, shift.of_mask(mask), filling) for shift in shifts]
    outputs = predict(np.stack(changed))
    margins, predicted = margins_of(outputs, target), outputs.argmax(axis=-1)
    shape = (len(fills), 1 + CONTROLS)
    drops = margins[0] - margins[1:].reshape(shape)
    flips = (predicted[1:] != predicted[0]).reshape(shape)
    return (
        margins[0],
        drops[:, 0],
        drops[:, 1:].mean(axis=1),
        flips[:, 0],
        flips[:, 1:].mean(axis=1),
    )


def measure_transplants(
    sources: Sequence[Subject],
    hosts: Sequence[Image],
    target: int,
    predict: Predict,
    generator_of: Callable[[str], np.random.Generator],
) -> TransplantMeasurements:
    """Pastes the place of the class's images into images of other classes.

    Args:
      sources: N images of the class, each with its place.
      hosts: N images of other classes.
      target: The class.
      predict: The model.
      generator_of: Randomness of an example, by its id.
    """
    rows = []
    for source, host in zip(sources, hosts, strict=True):
        (shift,) = shifts_elsewhere(source.mask, 1, generator_of(source.example_id))
        pasted = paste(host, source.mask, source.image)
        control = paste(host, source.mask, shift.back(source.image))
        outputs = predict(np.stack([host, pasted, control]))
        margins, predicted = margins_of(outputs, target), outputs.argmax(axis=-1)
        was_other = predicted[0] != target
        rows.append(
            (
                margins[1] - margins[0],
                margins[2] - margins[0],
                was_other and predicted[1] == target,
                was_other and predicted[2] == target,
            )
        )
    columns = zip(*rows, strict=True)
    return finite(TransplantMeasurements(*(np.array(values, np.float64) for values in columns)))


def few_images(own: int, others: int) -> str:
    """Why a class is not tried of which, or of others, there are so few images to try.

    Args:
      own: How many images of the class there are.
      others: How many of others.
    """
    return (
        f"{own} of its images and {others} of other classes had no part in finding it, and it "
        f"takes {FEWEST_MEASURED} of each"
    )


Measurements = TypeVar("Measurements", MaskMeasurements, TransplantMeasurements)


def finite(measured: Measurements) -> Measurements:
    """Without the images of which a margin, or its change, is not finite.

    A model that divides by an image's own contrast has nothing to divide by where that was masked.
    One such image would make every mean undefined, and with it the verdict.

    Args:
      measured: Of N images.
    """
    arrays: dict[str, Any] = {
        name: values for name, values in vars(measured).items() if isinstance(values, np.ndarray)
    }
    known = np.all(
        [np.isfinite(each).reshape(len(each), -1).all(axis=1) for each in arrays.values()], axis=0
    )
    if known.all():
        return measured
    _LOGGER.warning(
        "%d of %d images are left out of an experiment: what the model puts out for them, as they "
        "are or changed, is not finite",
        int((~known).sum()),
        len(known),
    )
    return dataclasses.replace(measured, **{name: each[known] for name, each in arrays.items()})


def margins_of(outputs: npt.NDArray[np.float32], target: int) -> npt.NDArray[np.float64]:
    """The output of a class less the largest other one.

    Args:
      outputs: (N, classes), at least 2 of them.
      target: The class.

    Returns:
      (N,).

    >>> margins_of(np.array([[1, 5, 3]], np.float32), 1).tolist()
    [2.0]
    """
    others = np.delete(outputs, target, axis=-1).max(axis=-1)
    margins: npt.NDArray[np.float64] = outputs[:, target].astype(np.float64) - others
    return margins
