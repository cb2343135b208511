"""Keys that have an effect on some inputs only.

Elsewhere they are refused where they are given another value than their default, and are neither
recorded nor part of an atlas's
fingerprint: no option is without effect.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from pipeline.config.sections import SourceSection
from transforms.formats.source import UNSMOOTHED_RESIZES

_IMAGE_RANK = 3


@dataclasses.dataclass(frozen=True)
class Condition:
    """When a key has an effect.

    Attributes:
      key: With the sections it is in, such as `limits.max_pixels`.
      holds: Whether it has one on a source.
      otherwise: Why not, after "KEY is VALUE, "; may name {format}, {kind}, {shape} and
        {resize}.
      default_is_harmless: Whether who gives the key its default value asks for nothing that does
        not happen, as `compression: auto` does of Parquet.
      harmless: Another value of which that is true.
    """

    key: str
    holds: Callable[[SourceSection], bool]
    otherwise: str
    default_is_harmless: bool = False
    harmless: object = None

    def refusal(self, value: object, source: SourceSection) -> str:
        """What to say to who has given a value where the key has no effect."""
        why = self.otherwise.format(
            format=source.format,
            kind=source.input.kind,
            shape=list(source.input.shape),
            resize=source.input.resize,
        )
        return f"{self.key} is {value!r}, {why}, so leave it out"


def unmet_conditions(source: SourceSection) -> list[Condition]:
    """The conditions of all keys that have no effect on a source."""
    return [condition for condition in _CONDITIONS if not condition.holds(source)]


def _has_tfrecords(source: SourceSection) -> bool:
    return source.format == "tfrecord"


def _has_images(source: SourceSection) -> bool:
    return source.input.kind == "image"


def _resizes(source: SourceSection) -> bool:
    return not _has_images(source) or source.input.resize != "none"


def _may_smooth(source: SourceSection) -> bool:
    return not _has_images(source) or source.input.resize not in UNSMOOTHED_RESIZES


def _may_leave_unsmoothed(source: SourceSection) -> bool:
    return not _has_images(source) or source.input.decoder != "pillow"


def _has_tensors(source: SourceSection) -> bool:
    return source.input.kind == "tensor"


def _has_one_feature(source: SourceSection) -> bool:
    return isinstance(source.features.input, str)


def _has_channels(source: SourceSection) -> bool:
    return len(source.input.shape) == _IMAGE_RANK


_OF_TENSORS = "but source.input.kind is '{kind}'; "
_OF_SHAPE = "but source.input.shape is {shape}; "
_CONDITIONS = (
    Condition(
        "source.compression",
        _has_tfrecords,
        "which is for TFRecord files; Parquet files name their own compression",
        default_is_harmless=True,
    ),
    Condition(
        "source.input.dtype",
        _has_tensors,
        "but source.input.kind is '{kind}'; encoded images have a type of their own",
    ),
    Condition(
        "source.input.dtype",
        _has_one_feature,
        "but source.features.input is a list, whose features have types of their own",
    ),
    Condition("source.input.resize", _has_images, f"{_OF_TENSORS}only images are resized"),
    Condition("source.input.crop", _has_images, f"{_OF_TENSORS}only images are cropped"),
    Condition(
        "source.input.antialias",
        _has_images,
        f"{_OF_TENSORS}only images are resized",
        default_is_harmless=True,
    ),
    Condition(
        "source.input.antialias",
        _may_smooth,
        "but source.input.resize is '{resize}', which it does not change",
        default_is_harmless=True,
    ),
    Condition(
        "source.input.antialias",
        _may_leave_unsmoothed,
        "but source.input.decoder is 'pillow', which always smooths what it shrinks",
    ),
    Condition(
        "source.input.fit",
        _has_images,
        f"{_OF_TENSORS}only images are resized",
        default_is_harmless=True,
    ),
    Condition(
        "source.input.fit",
        _resizes,
        "but source.input.resize is 'none'",
        default_is_harmless=True,
    ),
    Condition(
        "source.input.orientation",
        _has_images,
        f"{_OF_TENSORS}only images are turned",
        default_is_harmless=True,
    ),
    Condition(
        "source.input.decoder",
        _has_images,
        f"{_OF_TENSORS}only images are decoded",
        default_is_harmless=True,
    ),
    Condition(
        "limits.max_pixels",
        _has_images,
        f"{_OF_TENSORS}only images claim a size",
        default_is_harmless=True,
    ),
    Condition("source.input.channels", _has_channels, f"{_OF_SHAPE}only images have channels"),
    Condition(
        "output.thumbnail",
        _has_images,
        f"{_OF_TENSORS}only images have thumbnails",
        default_is_harmless=True,
    ),
    Condition("source.features.boxes", _has_channels, f"{_OF_SHAPE}boxes lie in images"),
    Condition("source.features.mask", _has_channels, f"{_OF_SHAPE}masks lie in images"),
    Condition(
        "statistics.regions",
        _has_channels,
        f"{_OF_SHAPE}regions lie in images",
        default_is_harmless=True,
    ),
    Condition(
        "explain.reducer",
        _has_channels,
        f"{_OF_SHAPE}only images have channels to reduce",
        harmless="max",
    ),
)
