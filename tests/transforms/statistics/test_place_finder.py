"""Places of a mini-batch's examples, in the pixels of the model's input."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from transforms.elements import Examples
from transforms.formats.images.decoding import InputDecoder
from transforms.formats.images.geometry import Placement
from transforms.formats.source import InputSpec
from transforms.statistics.places import PlaceFinder, box_mask, separated
from transforms.statistics.regions import Region


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def examples(
    sizes: list[tuple[int, int]],
    masks: tuple[bytes | None, ...] | None = None,
    boxes: tuple[npt.NDArray[np.float32], ...] | None = None,
) -> Examples:
    count = len(sizes)
    return Examples(
        records=np.arange(count),
        ids=tuple(map(str, range(count))),
        inputs=tuple(png(np.zeros((*size, 3), np.uint8)) for size in sizes),
        labels=np.zeros(count, np.int32),
        boxes=boxes,
        masks=masks,
    )


def finder(spec: InputSpec, *regions: Region) -> PlaceFinder:
    return PlaceFinder(InputDecoder(spec, threads=1), spec, regions)


def test_masks_of_any_size_are_scaled_to_the_nearest_pixel() -> None:
    spec = InputSpec("image", (4, 4, 3))
    inside = np.array([[1, 0], [0, 0]], np.uint8)
    fine = np.kron(inside, np.ones((10, 6), np.uint8))
    batch = examples([(8, 8)] * 4, (png(inside), png(fine), None, b"mask"))
    (masks,), faults = finder(spec).find(batch)
    expected = np.zeros((4, 4), bool)
    expected[:2, :2] = True
    np.testing.assert_array_equal(masks[0], expected)
    np.testing.assert_array_equal(masks[1], expected)
    assert not masks[2:].any()
    assert faults[:3] == [None] * 3
    assert faults[3] is not None
    assert (faults[3].stage, faults[3].error) == ("decode", "UndecodableMask")
    assert str(faults[3]).startswith("the mask (source.features.mask) cannot be decoded: it is")


def test_a_mask_may_have_no_more_pixels_than_an_image() -> None:
    spec = InputSpec("image", (4, 4, 3), max_pixels=16)
    large = png(np.ones((4, 5), np.uint8))
    _, (fault,) = finder(spec).find(examples([(4, 4)], (large,)))
    assert "declares 4 x 5 pixels, more than limits.max_pixels (16)" in str(fault)


def test_each_image_has_its_own_crop() -> None:
    spec = InputSpec("image", (4, 4, 3), fit="crop")
    top = Region("top", ((0.0, 0.0, 0.25, 1.0),))
    mask = png(np.array([[1], [0], [0], [0]], np.uint8))
    box = np.array([[0.0, 0.0, 0.25, 1.0]], np.float32)
    sizes = [(8, 8), (16, 8), (8, 16)]  # of the second the middle half is kept
    batch = examples(sizes, (mask,) * 3, (box,) * 3)
    found, _ = finder(spec, top).find(batch)
    boxes, masks, shares, views = separated(found)
    for rows in (boxes, masks, shares[views, 0]):
        assert rows[0].sum() == rows[2].sum() == 4
        assert rows[1].sum() == 0


def test_images_that_are_seen_alike_share_what_lies_in_regions() -> None:
    spec = InputSpec("image", (4, 4, 3), fit="pad")
    regions = Region("top", ((0.0, 0.0, 0.5, 1.0),)), Region("left", ((0.0, 0.0, 1.0, 0.5),))
    sizes = [(8, 8), (16, 8), (4, 4), (32, 16), (8, 8)]
    (shares,), _ = finder(spec, *regions).find(examples(sizes))
    of_views, views = separated([shares])
    assert of_views.shape == (2, 2, 4, 4)
    assert of_views.dtype == np.float32
    assert views.tolist() == [0, 1, 0, 1, 0]
    for size, view in zip(sizes, views, strict=True):
        placed = Placement.of(spec, *size).view
        for region, found in zip(regions, of_views[view], strict=True):
            np.testing.assert_array_equal(found, placed.shares(region.cells))


def test_nothing_is_looked_for_where_nothing_is_asked_for() -> None:
    assert finder(InputSpec("image", (4, 4, 3))).find(examples([(4, 4)])) == ((), [None])


def test_box_mask_holds_pixels_by_their_centres() -> None:
    generator = np.random.default_rng(1)
    boxes = []
    for count in range(5):
        low, high = np.sort(generator.random((2, count, 2)), axis=0)
        boxes.append(np.concatenate([low, high], axis=1).astype(np.float32))
    mask = box_mask(boxes, (11, 7))
    for inside, example_boxes in zip(mask, boxes, strict=True):
        for y in range(11):
            for x in range(7):
                centre_y, centre_x = (y + 0.5) / 11, (x + 0.5) / 7
                expected = any(
                    ymin <= centre_y <= ymax and xmin <= centre_x <= xmax
                    for ymin, xmin, ymax, xmax in example_boxes
                )
                assert inside[y, x] == expected


def test_bounds_belong_to_the_box() -> None:
    boxes = [np.array([[0.25, 0.25, 0.75, 0.75]], np.float32)]
    assert box_mask(boxes, (2, 2)).all()
    assert box_mask(boxes, (4, 2)).sum() == 4
