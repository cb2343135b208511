from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from transforms.saliency.perturbing.random_numbers import normal_numbers, random_key

KEY = random_key(3, 1, "an example")


@pytest.mark.parametrize("count", [1, 2, 7, 64, 1001])
def test_normal_numbers_are_those_of_box_and_muller(count: int) -> None:
    pairs = (count + 1) // 2
    drawn = tf.raw_ops.StatelessRandomUniformV2(
        shape=[2 * pairs], key=KEY[:1], counter=KEY[1:], alg=1
    )
    first, second = np.asarray(drawn, np.float64).reshape(2, pairs)
    distances = np.sqrt(-2 * np.log(1 - first))
    directions = np.exp(2j * np.pi * second)
    expected = np.concatenate([distances * directions.real, distances * directions.imag])[:count]
    found = normal_numbers(tf.constant(KEY), count)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_normal_numbers_are_normal_and_uncorrelated() -> None:
    count = 200_000
    found = np.asarray(normal_numbers(tf.constant(KEY), count), np.float64)
    assert np.isfinite(found).all()
    assert scipy.stats.kstest(found, "norm").pvalue > 0.01
    # Of each pair, of neighbours, and of the squares, which share a distance: 4 / sqrt(n).
    cosines, sines = found.reshape(2, -1)
    for first, second in ((cosines, sines), (found[:-1], found[1:]), (cosines**2, sines**2)):
        assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(first))


def test_the_largest_uniform_number_is_no_infinity(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = np.nextafter(np.float32(1), np.float32(0))
    for value in (largest, np.float32(0)):
        monkeypatch.setattr(
            "transforms.saliency.perturbing.random_numbers.uniform_numbers",
            lambda _, count, value=value: tf.fill([count], value),
        )
        assert np.isfinite(normal_numbers(tf.constant(KEY), 5)).all()
