"""Experiments on properties, with models that are known functions of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from scipy.ndimage import gaussian_filter

from pipeline.audit.shortcuts.gate import describe
from pipeline.audit.shortcuts.properties import ALIKE
from pipeline.audit.shortcuts.shortcut import Shortcut
from pipeline.confirm.counterparts import find_counterpart, likely_counterparts
from pipeline.confirm.effects import judge_property
from pipeline.confirm.experiment import Predict
from pipeline.confirm.property_changes import Images
from pipeline.confirm.property_experiment import try_property
from transforms.formats.images.properties import input_properties

TARGET, SIDE = 1, 24


def _same(images: Images) -> Images:
    return images


CHANGES: dict[str, Callable[[Images], Images]] = {
    "luminance": lambda x: x * np.float32(0.6),
    "contrast": lambda x: x.mean((1, 2), keepdims=True) / 2 + x / 2,
    "saturation": lambda x: x * np.array([1.25, 1.0, 0.75], np.float32),
    "sharpness": lambda x: gaussian_filter(x, (0, 1.2, 1.2, 0)),
}
"""Of each property, what the class's images have and those of others have not."""


def images_of(seed: int, count: int, change: Callable[[Images], Images] = _same) -> Images:
    random = np.random.default_rng(seed)
    tone = gaussian_filter(random.normal(size=(count, SIDE, SIDE, 1)), (0, 0.7, 0.7, 0))
    tint = 8 * random.normal(size=(count, 1, 1, 3))
    level = 110 + 10 * random.normal(size=(count, 1, 1, 1))
    changed: Images = np.clip(change((level + 60 * tone + tint).astype(np.float32)), 0, 255)
    return changed


def looks_at(name: str) -> Predict:
    """Two classes, halfway between changed and unchanged images by a property: a margin of 2."""
    changed, usual = (
        float(np.median(input_properties(images_of(3, 40, each))[name]))
        for each in (CHANGES[name], _same)
    )
    middle, half = (changed + usual) / 2, (changed - usual) / 2

    def predict(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        seen = (input_properties(images)[name] - middle) / half
        return np.stack([-seen, seen], axis=1).astype(np.float32)

    return predict


def finding(name: str) -> Shortcut:
    return Shortcut.model_validate(
        {
            "class": TARGET, "class_name": "dog", "indicator": "property", "statistic": name,
            "n": 140, "q": None, "effect": 4.2, "presence": 0.9, "region": None, "area": None,
            "verdict": "candidate", "mask": None, "transplant": None,
        }
    )  # fmt: skip


def classes_of(images: Mapping[int, Images]) -> pa.Table:
    """The columns of an atlas's table of classes that are read."""
    found = {number: input_properties(each) for number, each in images.items()}
    columns = {
        f"{name}_{part}": [
            float(getattr(np, part)(each[name])) if len(each[name]) else None
            for each in found.values()
        ]
        for name in CHANGES
        for part in ("mean", "std")
    }
    names = [["cat", "dog", "owl"][number] for number in images]
    return pa.table({"class": [*images], "class_name": names, **columns})


def tried(
    name: str,
    predict: Predict,
    *,
    count: int = 60,
    own: Images | None = None,
    others: Images | None = None,
    stands_out: bool = True,
) -> Shortcut:
    own = images_of(1, count, CHANGES[name]) if own is None else own
    images = {0: images_of(2, count) if others is None else others, TARGET: own}

    def images_by(classes: Sequence[int]) -> dict[int, Images]:
        return {number: images[number] for number in classes}

    return try_property(
        finding(name),
        classes_of(images),
        images_by,
        predict,
        stands_out=stands_out,
        min_effect=0.1,
        confidence=0.95,
    )


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_property_that_a_model_looks_at_is_used_and_portable(name: str) -> None:
    found = tried(name, looks_at(name), stands_out=False)
    assert found.verdict == "portable"
    assert (found.counterpart, found.counterpart_name) == (0, "cat")
    assert describe(found).startswith(f"portable: it is told from cat by the {name} of its images")
    assert found.counterpart_distance is not None
    assert found.counterpart_distance < ALIKE
    mask, transplant = found.mask, found.transplant
    assert mask is not None
    assert transplant is not None
    # From one side of the middle to the other.
    assert mask.n == transplant.n == 60
    assert mask.drop == pytest.approx(2 * mask.margin, rel=0.2)
    assert mask.flips > 0.85
    assert transplant.moved > 0.85
    ways = {"luminance": {"gain", "offset"}, "contrast": {"spread"}, "saturation": {"colours"}}
    assert mask.by_fill is not None
    assert set(mask.by_fill) == ways.get(name, {"focus"})


@pytest.mark.parametrize("name", ["saturation", "sharpness"])
def test_a_property_that_a_model_does_not_look_at_is_cleared(name: str) -> None:
    def predict(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        seen = images.mean(axis=(1, 2))[:, 1] / 255  # Green, which neither of them changes.
        return np.stack([np.zeros_like(seen), seen], axis=1).astype(np.float32)

    found = tried(name, predict)
    assert found.verdict == "cleared"
    assert found.mask is not None
    assert found.mask.flips == 0


def test_a_property_is_used_only_by_a_complete_exchange_between_classes_that_are_alike() -> None:
    found = tried("luminance", looks_at("luminance"))
    mask, transplant = found.mask, found.transplant
    assert mask is not None
    assert transplant is not None

    def verdict(distance: float = ALIKE, **changed: float) -> str:
        taken = {key: value for key, value in changed.items() if key in type(mask).model_fields}
        given = {key: value for key, value in changed.items() if key not in taken}
        return judge_property(
            mask.model_copy(update=taken), transplant.model_copy(update=given), distance, 0.1, 0.95
        )

    assert verdict() == "portable"
    assert verdict(distance=ALIKE + 0.01) == "candidate"
    assert verdict(flips=0.84) == "candidate"
    assert verdict(moved=0.84) == "candidate"
    assert verdict(control_flips=0.51 * mask.flips) == "candidate"
    assert verdict(control_moved=0.51 * transplant.moved) == "candidate"
    assert verdict(n=49) == "candidate"
    assert verdict(low=0.02, high=0.09) == "cleared"


def test_too_few_images_decide_nothing_and_one_is_not_tried() -> None:
    found = tried("luminance", looks_at("luminance"), count=49)
    assert found.mask is not None
    assert found.mask.n == 49
    assert found.verdict == "candidate"
    # A single image has a distance from others, but no effect has an interval.
    for images in (images_of(2, 1), np.zeros((0, SIDE, SIDE, 3), np.float32)):
        assert tried("luminance", looks_at("luminance"), others=images).mask is None


def test_what_no_change_brings_there_is_not_tried() -> None:
    flat: Images = np.full((60, SIDE, SIDE, 3), 110, np.float32)
    for stands_out in (True, False):
        found = tried("contrast", looks_at("contrast"), own=flat, stands_out=stands_out)
        assert found.untried is not None
        assert found.untried.startswith("each other class differs from it in more than that")
        assert found == finding("contrast").not_tried(found.untried)


def test_images_without_finite_outputs_are_left_out() -> None:
    """Of one image of the class, and of one of the counterpart, the model puts out NaN."""
    seen = looks_at("luminance")
    calls = iter(range(100))

    def predict(images: Images) -> npt.NDArray[np.float32]:
        outputs = seen(images)
        outputs[next(calls) % 2] = np.nan
        return outputs

    found = tried("luminance", predict)
    assert found.mask is not None
    assert found.transplant is not None
    assert found.mask.n == found.transplant.n == 58
    assert found.verdict == tried("luminance", seen).verdict


def test_a_counterpart_is_alike_in_all_but_the_property() -> None:
    own = images_of(1, 60, CHANGES["saturation"])
    images = {0: images_of(2, 60, CHANGES["contrast"]), TARGET: own, 2: images_of(2, 60)}
    others = {number: images[number] for number in (0, 2)}
    number, distance = find_counterpart("saturation", own, others)
    assert number == 2
    assert distance < ALIKE
    assert find_counterpart("saturation", own, {0: others[0]}) == (None, np.inf)
    # Without anything to exchange, or any images, there is none.
    assert find_counterpart("saturation", own, {2: own.copy()}) == (None, np.inf)
    assert find_counterpart("saturation", own, {2: own[:0]}) == (None, np.inf)
    classes = classes_of(images)
    assert likely_counterparts(classes, "saturation", TARGET) == [2]
    assert likely_counterparts(classes, "luminance", TARGET) == []  # None differs in it.
    assert likely_counterparts(classes, "contrast", TARGET) == [0]
