"""Whether images are shrunk without being smoothed, which not every training did."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from transforms.formats.images.files.headers import read_header
from transforms.formats.images.geometry import Placement
from transforms.formats.source import UNSMOOTHED_RESIZES, InputSpec

_MUCH = 1.5  # pixels to one


def shrinking_doubt(inputs: Iterable[Any], spec: InputSpec) -> Iterator[str]:
    """Yields what to say where images shrink by more than 1.5, in the median, unsmoothed.

    Args:
      inputs: Of the first examples, as they are stored.
      spec: How they are fitted to the model.
    """
    smoothed = spec.antialias or spec.decoder == "pillow" or spec.resize in UNSMOOTHED_RESIZES
    if spec.kind != "image" or smoothed:
        return
    shrinkages = []
    for data in inputs:
        try:
            header = read_header(data) if isinstance(data, bytes) else None
        except ValueError:  # a failure of its own
            continue
        if header is not None and header.pixels:
            shrinkages.append(Placement.of(spec, header.height, header.width).shrinkage)
    if shrinkages and statistics.median(shrinkages) > _MUCH:
        yield (
            f"images are shrunk to 1/{statistics.median(shrinkages):.1f} of their sides (median of "
            "the first) and not smoothed, as tf.image.resize does it; a model that was trained "
            "with Pillow or torchvision has seen other images: set source.input.decoder: pillow, "
            "or source.input.antialias: true"
        )
