"""Which proposals are worth an experiment; what masking takes where some images have a mark."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.confirm.effects import judge, mask_effect, transplant_effect
from pipeline.confirm.experiment import Subject, measure_masking, measure_transplants
from pipeline.confirm.interventions import Image, Mask
from pipeline.confirm.screening import screen

SIDE = 16
MARK = np.zeros((SIDE, SIDE), bool)
MARK[:4, 12:] = True
ELSEWHERE = np.zeros((SIDE, SIDE), bool)
ELSEWHERE[8:12, 4:8] = True


def generator_of(example_id: str) -> np.random.Generator:
    return np.random.default_rng(int(example_id))


def predict(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Two classes: how bright the mark's place is, in units of 255, against 0.4."""
    seen = images[:, MARK].mean(axis=(1, 2)) / 255
    found: npt.NDArray[np.float32] = np.stack([np.full_like(seen, 0.4), seen], 1)
    return found


def subjects(count: int, marked: int, mask: Mask) -> list[Subject]:
    """Dark images, the first of them with a white mark."""
    images = np.zeros((count, SIDE, SIDE, 3), np.float32)
    images[:marked, MARK] = 255
    return [Subject(str(number), image, mask) for number, image in enumerate(images)]


def test_what_masking_takes_of_a_few_images() -> None:
    """Of a margin of 0.6 the mark is 1; the mean colour keeps its share of the image."""
    found = screen(subjects(30, 30, MARK), 1, predict, generator_of)
    assert found is not None
    assert (found.taken, found.margin) == pytest.approx((1 - MARK.mean(), 0.6))
    beside = screen(subjects(30, 30, ELSEWHERE), 1, predict, generator_of)
    assert beside is not None
    assert beside.taken <= 0  # what it is compared with meets the mark at times


def test_too_few_images_say_nothing() -> None:
    assert screen(subjects(9, 9, MARK), 1, predict, generator_of) is None


def test_a_mark_in_half_of_the_images_is_seen_at_its_size_in_those() -> None:
    """Marked images have a margin of 0.6, of which the mask takes all that is above -0.4."""
    dark: list[Image] = [np.zeros((SIDE, SIDE, 3), np.float32)] * 60
    experiment = (subjects(60, 30, MARK), dark, 1, predict, generator_of)
    mask = mask_effect(measure_masking(*experiment), 0.95)
    assert (mask.n, mask.recognised, mask.flips_of) == (60, 30, 30)
    assert mask.margin == pytest.approx(0.6)
    mean = 1 - MARK.mean()  # the mean colour keeps the mark's share of the brightness
    assert mask.by_fill is not None
    assert mask.by_fill["mean"] == pytest.approx(mean / 0.6)
    assert mask.by_fill["donor"] == pytest.approx(1 / 0.6)
    assert mask.share == pytest.approx(np.mean(list(mask.by_fill.values())) / 2)
    assert mask.flips == pytest.approx(2 / 3)  # a blur leaves much of a mark as large as this one
    assert mask.control_flips == 0
    transplant = transplant_effect(measure_transplants(*experiment), 0.95)
    assert transplant.moved == 0.5
    assert judge("place", mask, transplant, 0.1, 0.95) == "portable"
