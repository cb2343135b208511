"""Regions count pixels by exact area, and go where the image's pixels go."""

from __future__ import annotations

import io
import pickle
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from transforms.formats.images.geometry import Placement
from transforms.formats.images.masks import encode_mask
from transforms.formats.source import Fit, InputSpec
from transforms.statistics.regions import Corners, Region

STRETCHED = InputSpec("image", (6, 9, 3))
FINE = 60  # points of a pixel's side, for the slow reference


def pixel_shares(region: Region, placement: Placement) -> npt.NDArray[np.float32]:
    return placement.view.shares(region.cells)


def counted(
    rectangles: tuple[Corners, ...], height: int, width: int, fine: int = FINE
) -> npt.NDArray[np.float64]:
    """Shares of pixels, by counting points of a fine grid."""
    y = (np.arange(height * fine) + 0.5) / (height * fine)
    x = (np.arange(width * fine) + 0.5) / (width * fine)
    inside = np.zeros((len(y), len(x)), bool)
    for top, left, bottom, right in rectangles:
        inside |= ((y > top) & (y < bottom))[:, None] & ((x > left) & (x < right))
    shares: npt.NDArray[np.float64] = inside.reshape(height, fine, width, fine).mean(axis=(1, 3))
    return shares


@pytest.mark.parametrize(
    "rectangles",
    [
        ((0.0, 0.0, 0.1, 1.0),),
        ((0.25, 0.5, 0.75, 0.75),),
        ((0.1, 0.1, 0.5, 0.6), (0.3, 0.4, 0.9, 0.8)),  # they overlap
        ((0.2, 0.2, 0.4, 0.4), (0.2, 0.4, 0.4, 0.6), (0.2, 0.2, 0.4, 0.4)),  # side by side, twice
        ((0.41, 0.41, 0.42, 0.42),),  # within a pixel
    ],
)
def test_a_union_of_rectangles(rectangles: tuple[Corners, ...]) -> None:
    region = Region("here", rectangles)
    shares = pixel_shares(region, Placement.of(STRETCHED, 33, 21))
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, counted(rectangles, 6, 9), atol=1.5 / FINE)
    corners = np.array(rectangles)
    if len(rectangles) == 1:
        area = float(np.prod(corners[0, 2:] - corners[0, :2]))
        assert region.area_in(STRETCHED) == pytest.approx(area, rel=1e-6)


@pytest.mark.parametrize("size", [(6, 9), (12, 18), (3, 3), (5, 7), (1, 1), (40, 2)])
def test_a_mask_counts_by_area_whatever_its_size(size: tuple[int, int]) -> None:
    inside = np.random.default_rng(2).random(size) < 0.5
    inside[0, 0] = True
    shares = pixel_shares(Region("here", mask=encode_mask(inside)), Placement.of(STRETCHED, 10, 10))
    # Onto a grid that both divide, then means over pixels.
    fine = inside.repeat(6 * 9, axis=0).repeat(6 * 9, axis=1).astype(float)
    fine = fine.reshape(6, 9 * size[0], 9, 6 * size[1])
    np.testing.assert_allclose(shares, fine.mean(axis=(1, 3)), atol=1e-6)


@pytest.mark.parametrize("fit", get_args(Fit))
@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_follow_every_fit_crop_and_turn(fit: Fit, orientation: int) -> None:
    spec = InputSpec("image", (12, 10, 3), fit=fit, crop=0.75, orientation="exif")
    corners = (0.375, 0.5, 0.5, 0.625)
    for size in ((64, 96), (96, 64)):
        placement = Placement.of(spec, *size, orientation)
        shares = pixel_shares(Region("spot", (corners,)), placement)
        ((top, left, bottom, right),) = placement.boxes(np.array([corners], np.float32)).tolist()
        expected = counted(((top, left, bottom, right),), 12, 10, fine=20)
        np.testing.assert_allclose(shares, expected, atol=1.5 / 20)
        mask = np.zeros((64, 64), bool)
        mask[24:32, 32:40] = True
        of_mask = pixel_shares(Region("spot", mask=encode_mask(mask)), placement)
        np.testing.assert_allclose(of_mask, shares, atol=1e-6)


def test_the_padding_is_in_no_region() -> None:
    spec = InputSpec("image", (8, 8, 3), fit="pad")
    everything = Region("all", ((0.0, 0.0, 1.0, 1.0),))
    shares = pixel_shares(everything, Placement.of(spec, 4, 8))
    assert shares.sum(axis=1).tolist() == [0, 0, 8, 8, 8, 8, 0, 0]
    assert everything.area_in(spec) == 1


def test_what_counts_of_a_mask_is_what_it_shows() -> None:
    inside = np.eye(3, dtype=bool)
    grey = io.BytesIO()
    Image.fromarray(inside.astype(np.uint8) * 200).save(grey, "PNG")
    one, other = Region("a", mask=encode_mask(inside)), Region("a", mask=grey.getvalue())
    assert one != other
    assert one.settings == other.settings
    assert one.settings != Region("a", mask=encode_mask(~inside)).settings
    assert Region("a", ((0, 0, 0.5, 1),)).settings == [[0, 0, 0.5, 1]]
    assert len(pickle.dumps(one)) < 400  # the file travels, not its pixels
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own
