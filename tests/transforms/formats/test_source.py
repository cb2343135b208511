from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from transforms.errors import ConfigurationError
from transforms.formats.features import Features
from transforms.formats.source import ChannelScale, InputSpec, SourceSpec


def test_specifications_are_hashable_and_picklable() -> None:
    source = SourceSpec("tfrecord", Features("image", id="id"), class_names=("cat", "dog"))
    spec = InputSpec("image", (8, 8, 3), scale=ChannelScale((1.0, 2.0, 3.0), (1.0, 1.0, 1.0)))
    for value in (source, spec):
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own
        assert hash(value) == hash(pickle.loads(pickle.dumps(value)))  # noqa: S301 - our own


def test_named_leaves_out_what_is_not_configured() -> None:
    assert Features("image", boxes="bbox").named() == {"input": "image", "boxes": "bbox"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "video"}, r"source.input.kind is 'video'; give one of image, tensor"),
        ({"shape": ()}, r"source.input.shape is \[\]"),
        ({"shape": (8, 0, 3)}, r"source.input.shape is \[8, 0, 3\].*at least 1"),
        ({"shape": (8, 8)}, r"\[8, 8\]; for images give \[height, width, channels\]"),
        ({"shape": (8, 8, 2)}, r"with 1, 3 or 4 channels"),
        (
            {"shape": (3, 8, 9)},
            r"\[3, 8, 9\], which looks like channels first; set source.input.ch",
        ),
        ({"kind": "tensor", "shape": (4, 5, 6)}, r"or last if the channels do come last"),
        ({"channels": "middle"}, r"source.input.channels is 'middle'; give one of first, last"),
        ({"channels": "first"}, r"give \[channels, height, width\] with 1, 3 or 4 channels"),
        ({"kind": "tensor", "shape": (9,), "channels": "first"}, r"only images have channels"),
        ({"kind": "tensor", "shape": (2, 2, 2, 2)}, r"give \[W\], \[T, W\] or \[H, W, C\]"),
        ({"dtype": "float33"}, r"source.input.dtype is 'float33', which NumPy does not know"),
        ({"dtype": "object"}, r"give a boolean, integer or floating-point type"),
        ({"dtype": "complex64"}, r"give a boolean, integer or floating-point type"),
        ({"crop": 0.0}, r"source.input.crop is 0.0"),
        ({"crop": 1.5}, r"source.input.crop is 1.5"),
        ({"crop": float("nan")}, r"source.input.crop is nan"),
        ({"kind": "tensor", "shape": (4,), "crop": 0.5}, r"only images are cropped"),
        ({"kind": "tensor", "shape": (4,), "resize": "area"}, r"only images are resized"),
        ({"resize": "lanczos"}, r"give one of bilinear, bicubic, area, nearest, lanczos3"),
        ({"scale": "zscore"}, r"source.input.scale is 'zscore'; give one of none, unit, symmetric"),
        ({"scale": ChannelScale((0.0,), (1.0,))}, r"has 1 channels.*\[8, 8, 3\] has 3"),
    ],
)
def test_input_spec_refuses(arguments: dict[str, Any], message: str) -> None:
    valid: dict[str, Any] = {"kind": "image", "shape": (8, 8, 3)}
    with pytest.raises(ConfigurationError, match=message):
        InputSpec(**{**valid, **arguments})


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((1.0,), (1.0, 2.0), "1 means and 2 standard deviations"),
        ((), (), "0 means and 0 standard deviations"),
        ((1.0,), (0.0,), "must be above 0"),
        ((1.0,), (-1.0,), "must be above 0"),
        ((float("nan"),), (1.0,), "must be finite"),
    ],
)
def test_channel_scale_refuses(
    mean: tuple[float, ...], std: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ChannelScale(mean, std)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "csv"}, "source.format is 'csv'; give one of tfrecord, parquet"),
        ({"compression": "lz4"}, "source.compression is 'lz4'"),
        ({"format": "parquet", "compression": "gzip"}, "for TFRecord files"),
    ],
)
def test_source_spec_refuses(arguments: dict[str, Any], message: str) -> None:
    valid: dict[str, Any] = {"format": "tfrecord", "features": Features("image")}
    with pytest.raises(ConfigurationError, match=message):
        SourceSpec(**{**valid, **arguments})


def test_features_refuse_an_empty_name() -> None:
    with pytest.raises(ConfigurationError, match=r"source\.features\.label is empty"):
        Features("image", label="")


@pytest.mark.parametrize(
    ("name", "expected"), [("int16", "<i2"), (">i2", ">i2"), ("uint8", "|u1"), ("bool", "|b1")]
)
def test_raw_bytes_are_little_endian_unless_said(name: str, expected: str) -> None:
    spec = InputSpec("tensor", (2, 3), dtype=name)
    assert spec.raw_dtype == np.dtype(expected)
    assert spec.elements == 6
