"""Inputs as the loaders that people train with make them: Keras's, and those around Pillow."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from PIL import Image

from transforms.formats.images.decoding import InputDecoder
from transforms.formats.source import InputSpec

SIZES = [(150, 200), (200, 150), (97, 231), (180, 180)]
SHAPE = (64, 56)


def photograph(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Noise with as much at each scale as photographs have, and hard edges."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3))
    for step in (64, 32, 16, 8, 4, 2, 1):
        coarse = random.normal(0, 14, (height // step + 2, width // step + 2, 3))
        fine = coarse.repeat(step, axis=0).repeat(step, axis=1)
        pixels += fine[:height, :width]
    return np.clip(pixels + 128, 0, 255).astype(np.uint8)


def jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def png(pixels: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def decode(data: bytes, **keys: Any) -> npt.NDArray[np.float32]:
    (decoded,), (fault,) = InputDecoder(InputSpec("image", (*SHAPE, 3), **keys)).decode([data])
    assert fault is None
    found: npt.NDArray[np.float32] = decoded.astype(np.float32)
    return found


def torchvision_like(
    data: bytes, resampling: Image.Resampling, short: int, kept: int
) -> npt.NDArray[np.uint8]:
    """Compose([Resize(short), CenterCrop(kept)]), written from torchvision's documentation."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    if width <= height:
        size = short, int(short * height / width)
    else:
        size = int(short * width / height), short
    image = image.resize(size, resampling)
    left, top = round((image.size[0] - kept) / 2), round((image.size[1] - kept) / 2)
    return np.asarray(image.crop((left, top, left + kept, top + kept)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("resize", "resampling"),
    [
        ("nearest", Image.Resampling.NEAREST),
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
        ("lanczos3", Image.Resampling.LANCZOS),
        ("area", Image.Resampling.BOX),
    ],
)
def test_pillow_gives_its_very_bytes(
    size: tuple[int, int], resize: Any, resampling: Image.Resampling
) -> None:
    data = jpeg(photograph(*size))
    stretched = Image.open(io.BytesIO(data)).resize(SHAPE[::-1], resampling)
    decoded = decode(data, resize=resize, decoder="pillow")
    np.testing.assert_array_equal(decoded, np.asarray(stretched))
    spec = InputSpec(
        "image", (56, 56, 3), resize=resize, fit="shorter_side", crop=0.875, decoder="pillow"
    )
    (decoded,), _ = InputDecoder(spec).decode([data])
    np.testing.assert_array_equal(decoded, torchvision_like(data, resampling, 64, 56))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resize", ["nearest", "bilinear", "lanczos3"])
@pytest.mark.parametrize("keep_aspect_ratio", [False, True])
def test_keras_load_img(
    size: tuple[int, int], resize: Any, keep_aspect_ratio: bool, tmp_path: Path
) -> None:
    import keras

    path = tmp_path / "image.png"
    path.write_bytes(png(photograph(*size)))
    method = "lanczos" if resize == "lanczos3" else resize
    loaded = keras.utils.load_img(
        path, target_size=SHAPE, interpolation=method, keep_aspect_ratio=keep_aspect_ratio
    )
    fit = "crop" if keep_aspect_ratio else "stretch"
    decoded = decode(path.read_bytes(), resize=resize, fit=fit, decoder="pillow")
    np.testing.assert_array_equal(decoded, np.asarray(loaded))


@pytest.mark.parametrize("resize", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_keras_image_dataset_from_directory(resize: Any, fit: Any, tmp_path: Path) -> None:
    import keras

    folder = tmp_path / "one"
    folder.mkdir()
    (tmp_path / "two").mkdir()
    files = [jpeg(photograph(*size)) for size in SIZES]
    for number, data in enumerate(files):
        (folder / f"{number}.jpg").write_bytes(data)
    dataset = keras.utils.image_dataset_from_directory(
        tmp_path,
        image_size=SHAPE,
        interpolation=resize,
        crop_to_aspect_ratio=fit == "crop",
        pad_to_aspect_ratio=fit == "pad",
        shuffle=False,
        verbose=False,
    )
    ((images, _),) = list(dataset)
    spec = InputSpec("image", (*SHAPE, 3), resize=resize, fit=fit)
    decoded, faults = InputDecoder(spec).decode(files)
    assert faults == [None] * len(files)
    # Keras hands a model the overshoots of cubic and windowed-sinc kernels; here they are clipped.
    np.testing.assert_allclose(decoded, np.clip(images.numpy(), 0, 255), atol=2e-3)


@pytest.mark.parametrize("resize", ["bilinear", "bicubic", "lanczos3"])
def test_antialias_is_that_of_tensorflow_and_near_pillows(resize: Any) -> None:
    pixels = photograph(300, 420)
    smoothed = tf.image.resize(pixels, SHAPE, method=resize, antialias=True)
    decoded = decode(png(pixels), resize=resize, antialias=True)
    np.testing.assert_allclose(decoded, np.clip(smoothed, 0, 255), atol=1e-3)
    by_pillow = decode(png(pixels), resize=resize, decoder="pillow")
    unsmoothed = decode(png(pixels), resize=resize)
    assert np.abs(decoded - by_pillow).mean() < 0.35
    assert np.abs(unsmoothed - by_pillow).mean() > 5


def test_each_kind_of_image_may_be_turned_and_fitted_by_pillow() -> None:
    pixels = photograph(40, 60)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        spec = InputSpec("image", (*SHAPE, channels), decoder="pillow")
        for source in (pixels, grey):
            (decoded,), (fault,) = InputDecoder(spec).decode([png(source)])
            assert fault is None
            expected = Image.fromarray(source).convert(mode).resize(SHAPE[::-1], 2)
            np.testing.assert_array_equal(decoded, np.asarray(expected).reshape(*SHAPE, channels))


def test_pillow_refuses_what_it_would_cut() -> None:
    deep = photograph(20, 20).astype(np.uint16)[..., 0] * 200
    _, (fault,) = InputDecoder(InputSpec("image", (8, 8, 3), decoder="pillow")).decode([png(deep)])
    assert fault is not None
    assert "16 bits a channel, which Pillow cuts" in str(fault)


def test_what_a_fit_makes_more_of_is_limited() -> None:
    strip = png(np.zeros((2, 1000, 3), np.uint8))
    spec = InputSpec("image", (64, 64, 3), fit="shorter_side", max_pixels=30_000)
    _, (fault,) = InputDecoder(spec).decode([strip])
    assert fault is not None
    assert str(fault) == (
        "the image declares 2 x 1000 pixels that source.input.fit makes more of, more than "
        "limits.max_pixels (30000)"
    )
    for fit in ("crop", "pad"):
        _, (fault,) = InputDecoder(InputSpec("image", (64, 64, 3), fit=fit)).decode([strip])
        assert fault is None
