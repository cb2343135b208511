from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.run.first_look.shrinking import shrinking_doubt
from transforms.formats.source import InputSpec


def image(height: int, width: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


IMAGES = [image(64, 64), image(80, 64), image(10, 10), b"no image"]


def test_the_factor_is_said() -> None:
    (said,) = shrinking_doubt(IMAGES, InputSpec("image", (32, 32, 3)))
    assert said.startswith(
        "images are shrunk to 1/2.0 of their sides (median of the first) and not"
    )
    assert said.endswith("source.input.decoder: pillow, or source.input.antialias: true")


@pytest.mark.parametrize(
    "keys",
    [
        {"antialias": True},
        {"decoder": "pillow"},
        {"resize": "area"},
        {"resize": "nearest"},
        {"shape": (48, 48, 3)},  # to 1/1.3
    ],
)
def test_nothing_is_said_of_what_is_smoothed_or_hardly_shrinks(keys: dict[str, Any]) -> None:
    spec = InputSpec(**{"kind": "image", "shape": (32, 32, 3), **keys})
    assert list(shrinking_doubt(IMAGES, spec)) == []
    assert list(shrinking_doubt(np.zeros((2, 5)), InputSpec("tensor", (5,)))) == []
