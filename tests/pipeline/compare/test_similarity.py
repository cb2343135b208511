"""How alike two maps are, against scipy's ranks and a top decile written from its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from pipeline.compare.similarity import similarity
from transforms.codec import StoredCodec, encode


def slow_overlap(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """By sorting places by their magnitude, largest first; of equal ones the first in row order."""
    tops = []
    for each in (first, second):
        magnitudes = np.abs(each.reshape(-1).astype(np.float64)).tolist()
        order = sorted(range(len(magnitudes)), key=lambda place: (-magnitudes[place], place))
        tops.append(set(order[: -(-len(order) // 10)]))
    return len(tops[0] & tops[1]) / len(tops[0])


def maps(seed: int, shape: tuple[int, ...], *, signed: bool) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    drawn = random.gamma(0.7, 1.0, shape)
    signs = random.choice([-1, 1], shape) if signed else 1
    return (drawn * signs).astype(np.float32)


@pytest.mark.parametrize(
    ("codecs", "signed"),
    [
        (("uint8", "uint8"), (False, False)),
        (("int8", "int8"), (True, True)),
        (("int8", "uint8"), (True, False)),
        (("float16", "uint8"), (False, False)),
        (("float32", "float16"), (True, True)),
        (("float32", "int8"), (False, True)),
    ],
)
@pytest.mark.parametrize("shape", [(11, 9, 7), (3, 20), (2, 5, 4, 3), (700, 21, 20)])
def test_it_is_scipys_correlation_and_the_definitions_overlap(
    codecs: tuple[StoredCodec, StoredCodec], signed: tuple[bool, bool], shape: tuple[int, ...]
) -> None:
    stored = []
    for number, (codec, has_sign) in enumerate(zip(codecs, signed, strict=True)):
        drawn = maps(number, shape, signed=has_sign) + maps(9, shape, signed=False) * has_sign
        stored.append(encode(np.abs(drawn) if not has_sign else drawn, codec, signed=has_sign)[0])
    found = similarity(stored[0], stored[1], signed=all(signed))
    for row in {0, 1, shape[0] // 2, shape[0] - 1}:
        flat = [each[row].reshape(-1).astype(np.float64) for each in stored]
        ranked = flat if all(signed) else [np.abs(each) for each in flat]
        assert found.spearman[row] == pytest.approx(stats.spearmanr(*ranked)[0], abs=1e-12)
        assert found.overlap[row] == slow_overlap(*flat)


def test_it_is_the_same_for_each_pair_whichever_others_are_there() -> None:
    ours, theirs = (encode(maps(n, (40, 224, 64), signed=False), "uint8")[0] for n in (0, 1))
    together = similarity(ours, theirs, signed=False)
    for row in (0, 17, 18, 19, 39):
        alone = similarity(ours[row : row + 1], theirs[row : row + 1], signed=False)
        assert alone.spearman[0] == together.spearman[row]
        assert alone.overlap[0] == together.overlap[row]


def test_equal_and_reversed_maps_have_the_ends_of_the_range() -> None:
    ramp = np.arange(100, dtype=np.uint8).reshape(1, 10, 10)
    assert similarity(ramp, ramp, signed=False) == (np.array([1.0]), np.array([1.0]))
    assert similarity(ramp, 99 - ramp, signed=False) == (np.array([-1.0]), np.array([0.0]))


def test_of_equal_codes_the_first_places_are_the_top() -> None:
    ours, theirs = np.zeros((2, 1, 4, 5), np.uint8)
    ours[0, 3] = 7  # five at the maximum, of which the first two are the top decile of 20
    theirs[0, 3, 1:3] = 9
    assert similarity(ours, theirs, signed=False).overlap.tolist() == [0.5]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float32])
def test_a_map_that_is_the_same_everywhere_is_undefined(dtype: Any) -> None:
    ramp = np.arange(40, dtype=dtype).reshape(2, 20)
    flat = np.stack([ramp[0], np.full(20, 5, dtype)])
    for found in similarity(ramp, flat, signed=False):
        assert np.isnan(found).tolist() == [False, True]


def test_maps_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be met place by place"):
        similarity(np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 5), np.uint8), signed=False)


def test_no_pairs_are_no_error() -> None:
    nothing = np.zeros((0, 4, 4), np.uint8)
    assert similarity(nothing, nothing, signed=False).spearman.shape == (0,)
