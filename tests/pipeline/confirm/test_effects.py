"""Experiments on models whose answer is known, and the verdicts on them."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.audit.shortcuts.shortcut import MaskEffect, Shortcut, TransplantEffect
from pipeline.confirm.confirm import try_on_model
from pipeline.confirm.effects import (
    judge,
    mask_effect,
    sign_flip_p,
    transplant_effect,
)
from pipeline.confirm.experiment import (
    NOT_FINITE,
    Predict,
    Subject,
    margins_of,
    measure_masking,
    measure_transplants,
)
from pipeline.confirm.interventions import Image, Mask

SIDE = 16
MARK = np.zeros((SIDE, SIDE), bool)
MARK[:4, 12:] = True


def generator_of(example_id: str) -> np.random.Generator:
    return np.random.default_rng(int(example_id))


def sees(mask: Mask, gain: float = 1.0, first: float = 0.2) -> Predict:
    """Two classes: the brightness of a place, in units of 255, against a constant."""

    def predict(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        seen = images[:, mask].mean(axis=(1, 2)) / 255
        scores: npt.NDArray[np.float32] = np.stack([np.full_like(seen, first), seen], 1)
        scores *= np.float32(gain)
        return scores

    return predict


def make(count: int, is_marked: bool, seed: int) -> list[Image]:
    generator = np.random.default_rng(seed)
    images = generator.uniform(0, 60, (count, SIDE, SIDE, 3)).astype(np.float32)
    if is_marked:
        images[:, MARK] = 255
    return list(images)


def experiment(predict: Predict, count: int = 60) -> tuple[MaskEffect, TransplantEffect]:
    subjects = [
        Subject(str(number), image, MARK) for number, image in enumerate(make(count, True, 1))
    ]
    others = make(count, False, 2)
    masking = measure_masking(subjects, others, 1, predict, generator_of)
    transplants = measure_transplants(subjects, others, 1, predict, generator_of)
    return mask_effect(masking, 0.95), transplant_effect(transplants, 0.95)


def test_a_model_that_looks_at_the_mark_uses_it_and_the_mark_is_portable() -> None:
    mask, transplant = experiment(sees(MARK))
    # The margin is 1 - 0.2. Masked by the image's mean or another image it falls to about
    # 0.12 - 0.2 and less, masked elsewhere not at all.
    assert mask.margin == pytest.approx(0.8)
    assert mask.control_drop == pytest.approx(0, abs=1e-6)
    assert mask.drop == pytest.approx(0.8, abs=0.2)
    assert mask.by_fill is not None
    assert mask.by_fill["donor"] == pytest.approx((1 - 30 / 255) / 0.8, abs=0.01)
    assert mask.p == pytest.approx(1e-4)
    assert (transplant.moved, transplant.control_moved) == (1.0, 0.0)
    assert transplant.rise == pytest.approx(1 - 30 / 255, abs=0.01)
    assert judge("place", mask, transplant, 0.1, 0.95) == "portable"
    as_elsewhere = mask.model_copy(update={"control_flips": 0.51 * mask.flips})
    assert judge("place", as_elsewhere, transplant, 0.1, 0.95) == "candidate"
    still = transplant.model_copy(update={"low": 0.0})
    assert judge("place", mask, still, 0.1, 0.95) == "used"
    assert judge("repeat", mask, transplant, 0.1, 0.95) == "portable"
    assert judge("repeat", mask, still, 0.1, 0.95) == "candidate"


def test_a_model_that_looks_elsewhere_clears_the_mark() -> None:
    centre = np.zeros((SIDE, SIDE), bool)
    centre[6:10, 2:6] = True
    mask, transplant = experiment(sees(centre, first=-0.1))
    assert mask.drop == pytest.approx(0, abs=1e-6)
    assert mask.high is not None
    assert mask.high < 0.1
    assert judge("place", mask, transplant, 0.1, 0.95) == "cleared"


def test_an_effect_does_not_depend_on_the_scale_of_outputs() -> None:
    small, large = experiment(sees(MARK))[0], experiment(sees(MARK, gain=1000))[0]
    assert large.share == pytest.approx(small.share, rel=1e-4)
    assert large.drop == pytest.approx(1000 * small.drop, rel=1e-4)


def test_too_few_images_decide_nothing() -> None:
    mask, transplant = experiment(sees(MARK), count=49)
    assert mask.low is not None
    assert mask.low > 0.1
    assert judge("place", mask, transplant, 0.1, 0.95) == "candidate"


def test_a_class_without_a_margin_is_not_judged() -> None:
    mask, transplant = experiment(sees(MARK, first=2))
    assert mask.margin == 0  # not one of its images is recognised
    assert (mask.share, mask.low, mask.by_fill) == (None, None, None)
    assert judge("place", mask, transplant, 0.1, 0.95) == "candidate"


def test_a_flip_is_a_change_of_the_predicted_class() -> None:
    mask, _ = experiment(sees(MARK))
    assert mask.flips == pytest.approx(2 / 3, abs=0.35)  # the blur keeps some of the brightness
    assert mask.control_flips == 0


def test_a_verdict_is_possible_at_any_confidence() -> None:
    """The p value of 9,999 draws is never below 1 / 10,000."""
    mask, transplant = experiment(sees(MARK))
    assert (mask.p, transplant.p) == (1e-4, 1e-4)
    assert judge("place", mask, transplant, 0.1, 0.99999) == "portable"
    assert (
        judge("place", mask.model_copy(update={"p": 2e-4}), transplant, 0.1, 0.9999) == "candidate"
    )


@pytest.mark.parametrize("row", [0, 2, 5, 9])
def test_an_image_without_finite_outputs_is_left_out(
    row: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Of one image the model puts out NaN: as it is, masked there, elsewhere, by another fill."""
    calls = itertools.count()

    def predict(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        outputs = sees(MARK)(images)
        if next(calls) == 7:
            outputs[row] = np.nan
        return outputs

    mask, _ = experiment(predict)
    alone = make(60, True, 1)
    assert len(alone) == 60
    assert mask.n == 59
    assert "1 of 60 images are left out of an experiment" in caplog.text
    assert mask.share == pytest.approx(experiment(sees(MARK))[0].share, abs=0.02)
    assert MaskEffect.model_validate_json(mask.model_dump_json()) == mask


def test_what_is_never_finite_is_not_tried() -> None:
    def predict(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        outputs = sees(MARK)(images)
        outputs[1:] = np.nan
        return outputs

    subjects = [Subject(str(n), image, MARK) for n, image in enumerate(make(60, True, 1))]
    finding = Shortcut.model_validate(
        {
            "class": 1, "class_name": None, "indicator": "place", "statistic": "S1", "n": 60,
            "q": None, "effect": 2.0, "presence": 1.0, "region": None, "area": None,
            "verdict": "candidate", "mask": None, "transplant": None,
        }
    )  # fmt: skip
    bounds = {"min_effect": 0.1, "confidence": 0.95}
    found = try_on_model(finding, subjects, make(60, False, 2), predict, **bounds)
    assert found == finding.not_tried(NOT_FINITE)
    few = try_on_model(finding, subjects, make(1, False, 2), sees(MARK), **bounds)
    assert few.untried == (
        "60 of its images and 1 of other classes had no part in finding it, and it takes 2 of each"
    )


def test_the_sign_flip_test_is_exact_where_all_signs_can_be_tried() -> None:
    differences = np.array([0.3, -0.1, 0.5, 0.2, 0.7, -0.2])
    means = [np.mean(differences * signs) for signs in itertools.product([1, -1], repeat=6)]
    expected = np.mean([mean >= differences.mean() - 1e-12 for mean in means])
    assert sign_flip_p(differences) == pytest.approx(expected)


def test_the_sign_flip_test_holds_its_level() -> None:
    generator = np.random.default_rng(3)
    p = np.array([sign_flip_p(generator.standard_t(3, 8)) for _ in range(400)])
    assert 0.025 <= np.mean(p <= 0.05) <= 0.08


def test_a_margin_is_to_the_largest_other_output() -> None:
    outputs = np.array([[1, 5, 3], [9, 2, 8]], np.float32)
    assert margins_of(outputs, 1).tolist() == [2, -7]
    assert margins_of(outputs, 0).tolist() == [-4, 1]
