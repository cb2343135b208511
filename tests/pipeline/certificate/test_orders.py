"""Areas under curves of a score, against closed forms and a slow version of the definition."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.certificate.orders import (
    STEPS,
    areas,
    cell_masses,
    emptied,
    ordering,
    random_ranks,
    ranks_of,
)


def slow_areas(
    inputs: npt.NDArray[np.float64], order: list[int], score: object
) -> tuple[float, float]:
    """Of one image (H, W, C) whose cells are its pixels, by the definition."""
    height, width, channels = inputs.shape
    mean = inputs.mean(axis=(0, 1))
    curves: tuple[list[float], list[float]] = ([], [])
    for step in range(STEPS + 1):
        gone = {*order[: round(step * height * width / STEPS)]}
        for curve, taken in zip(curves, (True, False), strict=True):
            changed = inputs.copy()
            for place in range(height * width):
                if (place in gone) == taken:
                    changed[place // width, place % width] = mean
            curve.append(score(changed))  # type: ignore[operator]
    assert channels == 3
    first, second = (
        sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / STEPS for curve in curves
    )
    return first, second


def test_areas_equal_the_definition_in_uneven_batches() -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(5, 6, 7, 3))
    weights = generator.normal(size=(6, 7, 3))
    maps = generator.random((5, 6, 7))

    def one(image: npt.NDArray[np.float64]) -> float:
        return float(np.tanh((image * weights).sum()))

    ranks = ranks_of(cell_masses(maps))
    found = areas(inputs, (6, 7), ranks, lambda batch, _: np.array([one(x) for x in batch]), 2)

    for number in range(5):
        order = np.argsort(-maps[number].reshape(-1), kind="stable").tolist()
        expected = slow_areas(inputs[number], order, one)
        np.testing.assert_allclose(
            (found.deletion[number], found.insertion[number]), expected, rtol=1e-12
        )


def test_a_map_that_names_the_only_place_that_matters_is_the_best_there_is() -> None:
    image = np.zeros((1, 10, 10, 1))
    image[0, 3, 4] = 1.0
    mean = 0.01
    ranks = ranks_of(cell_masses(image[..., 0]))

    found = areas(image, (10, 10), ranks, lambda batch, _: batch[:, 3, 4, 0], 4)

    assert found.deletion[0] == pytest.approx((0.5 * (1 + mean) + 9 * mean) / 10)
    assert found.insertion[0] == pytest.approx((0.5 * (1 + mean) + 9) / 10)


def test_scores_are_told_which_examples_they_are_of() -> None:
    seen: list[int] = []

    def score(batch: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]) -> object:
        seen.extend(rows.tolist())
        return np.zeros(len(batch))

    areas(np.zeros((5, 4)), (4,), ranks_of(np.ones((5, 4))), score, 2)  # type: ignore[arg-type]

    assert sorted(set(seen)) == [0, 1, 2, 3, 4]
    assert len(seen) == 5 * 2 * STEPS


def test_what_is_taken_away_becomes_a_mean() -> None:
    image = np.arange(24.0).reshape(2, 2, 2, 3)
    series = np.arange(12.0).reshape(2, 3, 2)
    table = np.array([[1.0, 10.0], [3.0, 30.0]])

    np.testing.assert_array_equal(emptied(image, (2, 2))[0, 0, 0], image[0].mean(axis=(0, 1)))
    np.testing.assert_array_equal(emptied(series, (3, 2))[1, 2], series[1].mean(axis=0))
    np.testing.assert_array_equal(emptied(table, (2,)), [[2.0, 20.0], [2.0, 20.0]])


def test_big_maps_are_taken_in_cells_of_whole_places() -> None:
    maps = np.random.default_rng(1).random((2, 30, 57))

    masses = cell_masses(maps)

    assert masses.shape == (2, 28, 28)
    np.testing.assert_allclose(masses.sum(axis=(1, 2)), maps.sum(axis=(1, 2)))
    rows, columns = np.arange(30) * 28 // 30, np.arange(57) * 28 // 57
    slow = sum(
        maps[1, r, c] for r in range(30) for c in range(57) if (rows[r], columns[c]) == (5, 9)
    )
    assert masses[1, 5, 9] == pytest.approx(slow)


def test_random_orders_depend_on_the_id_alone() -> None:
    together = random_ranks(("a", "b"), 50)

    np.testing.assert_array_equal(random_ranks(("b",), 50)[0], together[1])
    assert sorted(together[0].tolist()) == list(range(50))
    assert (together[0] != together[1]).any()


def test_gains_have_a_sign() -> None:
    low, high = np.full(4, 0.2), np.full(4, 0.6)

    assert ordering(low, high, better=-1).gain.value == pytest.approx(0.4)
    assert ordering(low, high, better=1).gain.value == pytest.approx(-0.4)


def test_examples_without_a_score_are_left_out() -> None:
    by_map, at_random = np.array([0.2, np.nan, 0.4, 0.9]), np.array([0.5, 0.5, 0.7, np.inf])

    found = ordering(by_map, at_random, better=-1)

    assert (found.by_map, found.at_random) == pytest.approx((0.3, 0.6))
    assert found.gain.value == pytest.approx(0.3)
    none = ordering(by_map[1:2], at_random[1:2], better=1)
    assert (none.by_map, none.at_random, none.gain.value) == (None, None, None)
