"""Statistics of single maps against slow float64 references written from their definitions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from transforms.codec import encode
from transforms.statistics.columns import UNIFORM_SHARES
from transforms.statistics.maps import MapKind, MapStatistics, gini_from_codes
from transforms.statistics.peak_windows import overlap_shares
from transforms.statistics.places import box_mask

Maps = npt.NDArray[np.float32]

REGIONS = ("border_energy", "corner_energy", "center_energy")


def compute(
    statistics: MapStatistics,
    maps: Maps,
    places: Mapping[str, npt.NDArray[Any]] | None = None,
    jit_compile: bool = False,
) -> dict[str, Any]:
    given = {name: tf.constant(place) for name, place in (places or {}).items()}
    compiled = tf.function(statistics.compute, jit_compile=jit_compile)
    return {name: value.numpy() for name, value in compiled(tf.constant(maps), given).items()}


def share(low: float, high: float, index: int, side: int) -> float:
    """Which share of pixel `index` lies between two places of a side of length 1."""
    return max(0.0, min(high, (index + 1) / side) - max(low, index / side)) * side


def rectangle_energy(mass: npt.NDArray[np.float64], rectangle: Sequence[float]) -> float:
    """Mass in [top, left, bottom, right], pixels counting with the share of their area inside."""
    top, left, bottom, right = rectangle
    height, width = mass.shape
    return sum(
        float(mass[y, x]) * share(top, bottom, y, height) * share(left, right, x, width)
        for y in range(height)
        for x in range(width)
    )


def reference(one_map: Maps, grid: tuple[int, int]) -> dict[str, Any]:
    """Every statistic of one image's map, pixel by pixel."""
    values = one_map.astype(np.float64)
    mass = values / values.sum()
    height, width = mass.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    entropy = -sum(mass[p] * math.log(mass[p]) for p in pixels if mass[p] > 0)
    centroid_y = sum(mass[y, x] * (y + 0.5) / height for y, x in pixels)
    centroid_x = sum(mass[y, x] * (x + 0.5) / width for y, x in pixels)
    variance = sum(
        mass[y, x]
        * (((y + 0.5) / height - centroid_y) ** 2 + ((x + 0.5) / width - centroid_x) ** 2)
        for y, x in pixels
    )
    peak_y, peak_x = max(pixels, key=lambda p: (values[p], -p[0], -p[1]))
    corners = [(y, x, y + 0.25, x + 0.25) for y in (0, 0.75) for x in (0, 0.75)]
    rows, columns = grid
    return {
        "entropy": entropy / math.log(height * width),
        "spread": math.sqrt(variance),
        "centroid_y": centroid_y,
        "centroid_x": centroid_x,
        "peak_y": (peak_y + 0.5) / height,
        "peak_x": (peak_x + 0.5) / width,
        "border_energy": 1 - rectangle_energy(mass, (1 / 8, 1 / 8, 7 / 8, 7 / 8)),
        "corner_energy": max(rectangle_energy(mass, corner) for corner in corners),
        "center_energy": rectangle_energy(mass, (1 / 4, 1 / 4, 3 / 4, 3 / 4)),
        "sketch": np.array(
            [
                [
                    rectangle_energy(
                        mass, (i / rows, j / columns, (i + 1) / rows, (j + 1) / columns)
                    )
                    for j in range(columns)
                ]
                for i in range(rows)
            ]
        ),
    }


def reference_gini(one_map: npt.NDArray[Any]) -> float:
    ordered = sorted(one_map.astype(np.float64).ravel().tolist())
    n = len(ordered)
    weighted = sum(rank * value for rank, value in enumerate(ordered, start=1))
    return float(2 * weighted / (n * sum(ordered)) - (n + 1) / n)


def heavy_tailed(shape: tuple[int, ...], seed: int = 0) -> Maps:
    generator = np.random.default_rng(seed)
    return np.asarray(generator.lognormal(0, 2, shape).astype(np.float32))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    ("shape", "grid"),
    [((16, 16), (4, 4)), ((13, 9), (3, 5)), ((5, 6), (7, 8)), ((1, 4), (2, 2)), ((24, 11), (6, 4))],
)
def test_images_against_the_definitions(
    shape: tuple[int, int], grid: tuple[int, int], jit_compile: bool
) -> None:
    maps = heavy_tailed((3, *shape))
    results = compute(MapStatistics(shape, grid), maps, jit_compile=jit_compile)
    assert results["sketch"].dtype == np.int32
    for number, one_map in enumerate(maps):
        expected = reference(one_map, grid)
        sketch = expected.pop("sketch")
        np.testing.assert_allclose(results["sketch"][number] / 2**24, sketch, atol=2e-6)
        for name, value in expected.items():
            assert results[name].dtype == np.float32
            assert results[name][number] == pytest.approx(value, abs=1e-5), name


def test_large_images_against_the_definitions() -> None:
    maps = heavy_tailed((1, 224, 224), seed=3)
    results = compute(MapStatistics((224, 224), (8, 8)), maps)
    expected = reference(maps[0], (1, 1))
    expected.pop("sketch")
    for name, value in expected.items():
        assert results[name][0] == pytest.approx(value, abs=1e-5), name
    cells = maps[0].astype(np.float64).reshape(8, 28, 8, 28).sum(axis=(1, 3)) / maps.sum()
    np.testing.assert_allclose(results["sketch"][0] / 2**24, cells, atol=2e-6)


@pytest.mark.parametrize("side", [2, 8, 28, 63])
def test_uniform_map(side: int) -> None:
    maps = np.full((1, side, side), 0.3, np.float32)
    results = compute(MapStatistics((side, side), (7, 7)), maps)
    assert results["entropy"][0] == pytest.approx(1, abs=1e-6)
    assert results["spread"][0] == pytest.approx(math.sqrt((1 - side**-2) / 6), abs=1e-6)
    assert results["centroid_y"][0] == pytest.approx(0.5, abs=1e-6)
    assert results["peak_y"][0] == results["peak_x"][0] == pytest.approx(0.5 / side)
    for name, energy in UNIFORM_SHARES.items():
        assert results[name][0] == pytest.approx(energy, abs=1e-6), name
    np.testing.assert_allclose(results["sketch"][0], 2**24 / 49, rtol=1e-5)
    assert gini_from_codes(encode(maps, "uint8")[0])[0] == pytest.approx(0, abs=1e-7)


def test_single_bright_pixel() -> None:
    maps = np.zeros((2, 16, 16), np.float32)
    maps[0, 0, 14] = 5e-3
    maps[1, 7, 8] = 5e30
    results = compute(MapStatistics((16, 16), (4, 4)), maps)
    np.testing.assert_array_equal(results["entropy"], [0, 0])
    np.testing.assert_array_equal(results["spread"], [0, 0])
    np.testing.assert_array_equal(results["border_energy"], [1, 0])
    np.testing.assert_array_equal(results["corner_energy"], [1, 0])
    np.testing.assert_array_equal(results["center_energy"], [0, 1])
    np.testing.assert_array_equal(results["peak_y"], [0.5 / 16, 7.5 / 16])
    np.testing.assert_array_equal(results["peak_x"], [14.5 / 16, 8.5 / 16])
    np.testing.assert_allclose(results["centroid_x"], [14.5 / 16, 8.5 / 16], atol=1e-7)
    assert results["sketch"][0, 0, 3] == results["sketch"][1, 1, 2] == 2**24
    assert results["sketch"].sum() == 2**25
    np.testing.assert_allclose(
        gini_from_codes(encode(maps, "uint8")[0]), 1 - 1 / 256, rtol=0, atol=1e-7
    )


def test_half_plane() -> None:
    maps = np.zeros((1, 32, 32), np.float32)
    maps[:, :, 16:] = 2
    results = compute(MapStatistics((32, 32), (2, 2)), maps)
    assert results["entropy"][0] == pytest.approx(math.log(512) / math.log(1024), abs=1e-6)
    assert results["centroid_x"][0] == pytest.approx(0.75, abs=1e-6)
    variance = (1 - 32**-2) / 12 + (0.25 - 32**-2) / 12
    assert results["spread"][0] == pytest.approx(math.sqrt(variance), abs=1e-6)
    # Of the frame, half is bright, on half of the area; corners are 1/16 each; of the centre, half.
    assert results["border_energy"][0] == pytest.approx(7 / 16, abs=1e-6)
    assert results["corner_energy"][0] == pytest.approx(1 / 8, abs=1e-6)
    assert results["center_energy"][0] == pytest.approx(1 / 4, abs=1e-6)
    np.testing.assert_array_equal(results["sketch"][0], [[0, 2**23], [0, 2**23]])
    gini = gini_from_codes(encode(maps, "uint8")[0])[0]
    assert gini == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("corner", [(0, 0), (0, 15), (15, 0), (15, 15)])
def test_every_corner_counts(corner: tuple[int, int]) -> None:
    maps = np.zeros((1, 16, 16), np.float32)
    maps[0][corner] = 1
    assert compute(MapStatistics((16, 16)), maps)["corner_energy"][0] == 1


def test_spread_far_from_the_centre_does_not_cancel() -> None:
    maps = np.zeros((1, 224, 224), np.float32)
    maps[0, 223, 222:] = 1
    spread = compute(MapStatistics((224, 224)), maps)["spread"][0]
    assert spread == pytest.approx(0.5 / 224, rel=1e-4)


def test_peak_is_the_first_of_equals_in_row_order() -> None:
    maps = np.zeros((3, 9, 300), np.float32)
    maps[0, [2, 5, 5], [250, 3, 280]] = 4
    maps[1, 4, [299, 17, 151]] = 4
    maps[2] = 7
    results = compute(MapStatistics((9, 300)), maps)
    np.testing.assert_allclose(results["peak_y"], [2.5 / 9, 4.5 / 9, 0.5 / 9], rtol=1e-6)
    np.testing.assert_allclose(results["peak_x"], [250.5 / 300, 17.5 / 300, 0.5 / 300], rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("kind", ["image", "time_series", "tabular"])
def test_undefined_maps_are_nan_and_spoil_no_other(kind: MapKind, jit_compile: bool) -> None:
    shape = (17,) if kind == "tabular" else (17, 12)
    maps = heavy_tailed((5, *shape))
    statistics = MapStatistics(shape, (4, 4), kind=kind)
    before = compute(statistics, maps, jit_compile=jit_compile)
    maps[1] = 0
    maps[2].flat[5] = np.nan
    maps[3].flat[3] = np.inf
    after = compute(statistics, maps, jit_compile=jit_compile)
    np.testing.assert_array_equal(np.isnan(after["peak_x"]), [False, True, True, True, False])
    assert not after["sketch"][1:4].any()
    for name, values in after.items():
        np.testing.assert_array_equal(values[[0, 4]], before[name][[0, 4]])
        if name != "sketch":
            assert np.isnan(values[1:4]).all(), name


def test_time_series_have_no_regions() -> None:
    maps = heavy_tailed((2, 20, 3))
    results = compute(MapStatistics((20, 3), (5, 4), kind="time_series"), maps)
    for name in REGIONS:
        assert np.isnan(results[name]).all()
    for number, one_map in enumerate(maps):
        expected = reference(one_map, (5, 4))
        np.testing.assert_allclose(
            results["sketch"][number] / 2**24, expected.pop("sketch"), atol=2e-6
        )
        for name, value in expected.items():
            if name not in REGIONS:
                assert results[name][number] == pytest.approx(value, abs=1e-5), name


def test_tabular_maps_are_their_own_sketch() -> None:
    maps = np.array([[1, 0, 4, 3], [0, 0, 0, 2]], np.float32)
    statistics = MapStatistics((4,), (2, 3), kind="tabular")
    assert statistics.sketch_shape == (4,)
    results = compute(statistics, maps)
    np.testing.assert_array_equal(
        results["sketch"], np.array([[2**21, 0, 2**23, 3 * 2**21], [0, 0, 0, 2**24]])
    )
    np.testing.assert_allclose(results["peak_x"], [2 / 3, 1], rtol=1e-6)
    surprise = -sum(p * math.log(p) for p in (1 / 8, 4 / 8, 3 / 8))
    np.testing.assert_allclose(results["entropy"], [surprise / math.log(4), 0], atol=1e-6)
    for name in ("spread", "centroid_y", "centroid_x", "peak_y", *REGIONS):
        assert np.isnan(results[name]).all(), name


def test_wide_tabular_maps_are_pooled_to_the_grids_cells() -> None:
    maps = np.array([[1, 2, 3, 4, 5, 1]], np.float32)
    statistics = MapStatistics((6,), (2, 2), kind="tabular")
    assert statistics.sketch_shape == (4,)
    sketch = compute(statistics, maps)["sketch"][0]
    np.testing.assert_allclose(sketch / 2**24 * 16, [2, 4, 6.5, 3.5], atol=1e-5)


@pytest.mark.parametrize(("shape", "kind"), [((1, 1), "image"), ((1,), "tabular")])
def test_one_position_has_no_entropy(shape: tuple[int, ...], kind: MapKind) -> None:
    results = compute(MapStatistics(shape, (2, 2), kind=kind), np.ones((1, *shape), np.float32))
    assert np.isnan(results["entropy"][0])
    assert results["peak_x"][0] == (0.5 if kind == "image" else 0)
    assert results["sketch"].sum() == 2**24
    assert gini_from_codes(np.full((1, *shape), 255, np.uint8))[0] == 0


def test_box_statistics() -> None:
    maps = np.ones((4, 4, 8), np.float32)
    maps[0, 1, 2] = 9
    maps[1, 3, 7] = 9
    boxes = [
        np.array([[0.25, 0.25, 0.5, 0.5], [0.25, 0.3, 0.75, 0.5]], np.float32),
        np.array([[0, 0, 0.25, 1]], np.float32),
        np.zeros((0, 4), np.float32),
        np.array([[0.5, 0.26, 0.51, 0.27]], np.float32),
    ]
    mask = box_mask(boxes, (4, 8))
    statistics = MapStatistics((4, 8), with_boxes=True)
    results = compute(statistics, maps, {"box_energy": mask})
    np.testing.assert_allclose(results["box_energy"][:2], [12 / 40, 8 / 40], rtol=1e-6)
    np.testing.assert_array_equal(results["pointing_hit"][:2], [1, 0])
    # No box, or none with a pixel's centre: nothing to hit.
    assert np.isnan(results["box_energy"][2:]).all()
    assert np.isnan(results["pointing_hit"][2:]).all()


def test_masks_and_regions() -> None:
    maps = np.ones((3, 2, 4), np.float32)
    maps[0, 0, 1] = 9
    maps[2] = 0
    masks = np.zeros((3, 2, 4), bool)
    masks[0, 0, :2] = masks[2] = True
    shares = np.zeros((2, 2, 2, 4), np.float32)
    shares[:, 0, 0] = 1, 1, 0, 0  # the left half of the first row
    shares[0, 1, :, 3] = 0.5  # half of the last column
    shares[1, 1, :, 3] = 1  # of another image it is all of it
    views = np.array([0, 1, 0], np.int32)
    statistics = MapStatistics((2, 4), with_masks=True, regions=["left", "right"])
    results = compute(statistics, maps, {"mask_energy": masks, "regions": shares, "view": views})
    nan = np.nan
    np.testing.assert_allclose(results["mask_energy"], [10 / 16, nan, nan], rtol=1e-6)
    np.testing.assert_array_equal(results["pointing_hit"], [1, nan, nan])
    np.testing.assert_allclose(results["left_energy"], [10 / 16, 2 / 8, nan], rtol=1e-6)
    np.testing.assert_allclose(results["right_energy"], [1 / 16, 2 / 8, nan], rtol=1e-6)


def test_the_peak_is_to_hit_the_mask_where_there_are_boxes_too() -> None:
    maps = np.ones((2, 2, 2), np.float32)
    maps[:, 1, 1] = 2
    boxes, masks = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    boxes[:, 1, 1] = True
    masks[0, 0, 0] = True
    statistics = MapStatistics((2, 2), with_boxes=True, with_masks=True)
    results = compute(statistics, maps, {"box_energy": boxes, "mask_energy": masks})
    np.testing.assert_allclose(results["box_energy"], [0.4, 0.4], rtol=1e-6)
    np.testing.assert_allclose(results["mask_energy"], [0.2, np.nan], rtol=1e-6)
    np.testing.assert_array_equal(results["pointing_hit"], [0, np.nan])


def test_gini_of_decoded_maps_is_exact() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (3, 20, 30)).astype(np.uint8)
    codes[1] //= 20
    expected = [reference_gini(np.square(one_map / 255)) for one_map in codes]
    np.testing.assert_allclose(gini_from_codes(codes), expected, atol=1e-7)


def test_gini_before_quantisation_is_close() -> None:
    noise = np.abs(np.random.default_rng(0).standard_normal((4, 224, 224)))
    maps = np.stack([noise[0], noise[1] ** 2, noise[2] * heavy_tailed((224, 224)), noise[3] ** 3])
    maps = maps.astype(np.float32)
    expected = [reference_gini(one_map) for one_map in maps]
    error = np.abs(gini_from_codes(encode(maps, "uint8")[0]) - expected)
    assert error[[0, 1, 3]].max() < 2e-4
    # Tails far heavier than gradients have: many pixels fall below the first level.
    assert 2e-4 < error[2] < 4e-3


def test_gini_of_an_all_zero_map_is_undefined() -> None:
    codes = np.zeros((2, 3, 3), np.uint8)
    codes[1, 0, 0] = 255
    np.testing.assert_array_equal(np.isnan(gini_from_codes(codes)), [True, False])


@pytest.mark.parametrize(("cells", "pixels"), [(4, 16), (8, 28), (28, 8), (5, 7), (1, 3), (3, 1)])
def test_overlap_shares(cells: int, pixels: int) -> None:
    expected = [
        [share(cell / cells, (cell + 1) / cells, pixel, pixels) for pixel in range(pixels)]
        for cell in range(cells)
    ]
    shares = overlap_shares(cells, pixels)
    np.testing.assert_allclose(shares, expected, atol=1e-6)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)


def test_same_values_in_batches_of_any_size() -> None:
    maps = heavy_tailed((3, 32, 32))
    statistics = MapStatistics((32, 32))
    together = statistics.compute(tf.constant(maps))
    for number in range(3):
        alone = statistics.compute(tf.constant(maps[number : number + 1]))
        for name, values in together.items():
            np.testing.assert_allclose(alone[name][0], values[number], rtol=1e-5)


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match=r"kind image has 2 positive sides, not \(5,\)"):
        MapStatistics((5,))
    with pytest.raises(ValueError, match=r"not \(5, 0\)"):
        MapStatistics((5, 0))
    with pytest.raises(ValueError, match=r"positive \(rows, columns\), not \(0, 3\)"):
        MapStatistics((5, 5), (0, 3))
    with pytest.raises(ValueError, match="kind time_series cannot have them"):
        MapStatistics((5, 5), kind="time_series", with_boxes=True)
    with pytest.raises(ValueError, match="kind tabular cannot have them"):
        MapStatistics((5,), kind="tabular", regions=["header"])
    with pytest.raises(ValueError, match=r"needed of \['box_energy'\], not of \[\]"):
        MapStatistics((5, 5), with_boxes=True).compute(tf.ones((1, 5, 5)))
    with pytest.raises(ValueError, match=r"needed of \[\], not of \['box_energy'\]"):
        MapStatistics((5, 5)).compute(tf.ones((1, 5, 5)), {"box_energy": tf.ones((1, 5, 5))})
