"""What the data is and what the model takes: the two specifications every reader works by."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from transforms.errors import ConfigurationError
from transforms.formats.features import Features
from transforms.formats.sample import Sample

Format: TypeAlias = Literal["tfrecord", "parquet"]
Compression: TypeAlias = Literal["auto", "none", "gzip", "zlib"]
InputKind: TypeAlias = Literal["image", "tensor"]
Resize: TypeAlias = Literal[
    "bilinear", "bicubic", "area", "nearest", "lanczos3", "lanczos5", "gaussian", "mitchellcubic",
    "none",
]  # fmt: skip
Fit: TypeAlias = Literal["stretch", "crop", "pad", "shorter_side"]
Orientation: TypeAlias = Literal["stored", "exif"]
Decoder: TypeAlias = Literal["tensorflow", "pillow"]
NamedScale: TypeAlias = Literal["none", "unit", "symmetric"]
Channels: TypeAlias = Literal["first", "last"]

SCALED_RANGES: Mapping[NamedScale, str] = {"unit": "0..1", "symmetric": "-1..1"}
"""What a scale makes of 0..255."""

IMAGE_RANK = 3
"""An image is (H, W, C), without the batch axis."""

IMAGE_CHANNELS = (1, 3, 4)
"""Channels an image model may take: grey, colour, colour with alpha."""

MAX_RECORD_BYTES = 1 << 27
"""A longer record is taken for damage unless the source says otherwise."""

MAX_BLOCK_BYTES = 1 << 30
"""A block whose records are longer together ends the run unless the source says otherwise."""

MAX_PIXELS = 1 << 26
"""An image that declares more is refused: 67 million, 200 MB once decoded."""

PILLOW_RESIZES: tuple[Resize, ...] = (
    "bilinear", "bicubic", "area", "nearest", "lanczos3", "none",
)  # fmt: skip
"""What Pillow calls BILINEAR, BICUBIC, BOX, NEAREST, LANCZOS; and nothing at all."""

UNSMOOTHED_RESIZES: tuple[Resize, ...] = ("area", "nearest", "none")
"""Resizing that `antialias` does not change."""

_NUMERIC_KINDS = "biuf"


@dataclasses.dataclass(frozen=True)
class SourceSpec:
    """The input files' format and features.

    Attributes:
      format: Of every shard.
      features: What is read of each record.
      compression: Of TFRecord files; `auto` looks at their first bytes, never at their names.
      class_names: Names of the classes in index order, to which string labels are looked up; then
        each has to be there once.
      max_record_bytes: Longer records, and longer values of Parquet columns, are failures.
      max_block_bytes: What the records of a block may hold together, still encoded. Reading a block
        takes up to three times as much.
      sample: Which examples are kept; None keeps all.

    >>> SourceSpec("parquet", Features(input="image.bytes", label="label")).compression
    'auto'
    """

    format: Format
    features: Features
    compression: Compression = "auto"
    class_names: tuple[str, ...] = ()
    max_record_bytes: int = MAX_RECORD_BYTES
    max_block_bytes: int = MAX_BLOCK_BYTES
    sample: Sample | None = None

    def __post_init__(self) -> None:
        _require_choice("source.format", self.format, Format)
        _require_choice("source.compression", self.compression, Compression)
        if self.format != "tfrecord" and self.compression not in ("auto", "none"):
            raise ConfigurationError(
                f"source.compression is {self.compression!r}, which is for TFRecord files; "
                "Parquet files name their own compression, so leave it out"
            )


@dataclasses.dataclass(frozen=True)
class ChannelScale:
    """Standardisation `(x - mean) / std` over the last axis.

    Attributes:
      mean: One number a channel, in the units of the decoded input (0..255 for images).
      std: The same; none is 0.

    >>> scale = ChannelScale(mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
    >>> InputSpec("image", (224, 224, 3), scale=scale).scale.std[0]
    58.4
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ConfigurationError(
                f"source.input.scale has {len(self.mean)} means and {len(self.std)} standard "
                "deviations; give one of each a channel"
            )
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)):
            raise ConfigurationError(
                f"source.input.scale is mean {list(self.mean)}, std {list(self.std)}; "
                "every number must be finite"
            )
        if not all(value > 0 for value in self.std):
            raise ConfigurationError(
                f"source.input.scale.std is {list(self.std)}; every number must be above 0"
            )


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """What the model takes, and how an example's input becomes that.

    Attributes:
      kind: `image` is decoded, cropped and resized; `tensor` is taken as it is.
      shape: Of one example, as the model takes it: (H, W, C) for images; (W,), (T, W) or (H, W, C)
        for tensors; (C, H, W) where channels come first.
      dtype: NumPy name of the elements of raw bytes (kind `tensor`), in little-endian order
        unless it says otherwise.
      resize: Method for images; `none` takes only images that have the shape already.
      antialias: Whether images are smoothed before they shrink.
      fit: How an image of other proportions is resized: `stretch`; `crop`, its largest central
        window of the model's proportions; `pad`, with black on two sides; `shorter_side`, the whole
        of it by the side that is shorter, of which then the centre is kept.
      crop: Central fraction of an image's height and width that is kept, in (0, 1]; None keeps all.
        It is cut before resizing, of the window with `crop`; after it with `shorter_side`.
      orientation: `exif` turns images as their files say; `stored` takes them as they are stored.
      decoder: Who decodes and resizes images: `pillow` gives Pillow's very bytes.
      scale: Applied on the device: `unit` gives 0..1 and `symmetric` -1..1 from 0..255.
      max_pixels: Images that declare more are refused before they are decoded.
      channels: Where a shape of three sizes has the channels; None is `last`, but a shape that
        looks like channels first is refused then.

    >>> InputSpec("image", (224, 224, 3), crop=0.875, scale="symmetric").elements
    150528
    >>> InputSpec("image", (3, 224, 160), channels="first").decoded_shape
    (224, 160, 3)
    """

    kind: InputKind
    shape: tuple[int, ...]
    dtype: str = "float32"
    resize: Resize = "bilinear"
    antialias: bool = False
    fit: Fit = "stretch"
    crop: float | None = None
    orientation: Orientation = "stored"
    decoder: Decoder = "tensorflow"
    scale: NamedScale | ChannelScale = "none"
    max_pixels: int = MAX_PIXELS
    channels: Channels | None = None

    def __post_init__(self) -> None:
        _require_choice("source.input.kind", self.kind, InputKind)
        _require_choice("source.input.resize", self.resize, Resize)
        _require_choice("source.input.fit", self.fit, Fit)
        _require_choice("source.input.orientation", self.orientation, Orientation)
        _require_choice("source.input.decoder", self.decoder, Decoder)
        self._check_channels()
        self._check_shape()
        _numeric_dtype(self.dtype)
        if self.crop is not None and not 0 < self.crop <= 1:
            raise ConfigurationError(
                f"source.input.crop is {self.crop}; give the central fraction to keep, "
                "above 0 and at most 1"
            )
        if self.kind == "tensor":
            self._check_tensor()
        self._check_resizing()
        if isinstance(self.scale, ChannelScale):
            if len(self.scale.mean) != self.decoded_shape[-1]:
                raise ConfigurationError(
                    f"source.input.scale has {len(self.scale.mean)} channels, but "
                    f"source.input.shape {list(self.shape)} has {self.decoded_shape[-1]}"
                )
        else:
            _require_choice("source.input.scale", self.scale, NamedScale)

    @property
    def elements(self) -> int:
        """How many numbers one example has."""
        return math.prod(self.shape)

    @property
    def has_channels(self) -> bool:
        """Whether an axis holds the channels of positions, as an image's does."""
        return len(self.shape) == IMAGE_RANK

    @property
    def decoded_shape(self) -> tuple[int, ...]:
        """The shape with its channels last: what decoding gives, and what maps are made of."""
        if self.channels == "first":
            return (*self.shape[1:], self.shape[0])
        return self.shape

    @property
    def positions(self) -> tuple[int, ...]:
        """Shape of a map with one value per position: an image's without its channels."""
        return self.decoded_shape[:-1] if self.has_channels else self.shape

    @property
    def raw_dtype(self) -> np.dtype[Any]:
        """The element type of raw bytes; little-endian where `dtype` names no byte order."""
        return _numeric_dtype(self.dtype)

    def _check_channels(self) -> None:
        if self.channels is not None:
            _require_choice("source.input.channels", self.channels, Channels)
            if not self.has_channels:
                raise ConfigurationError(
                    f"source.input.channels is {self.channels!r}, but source.input.shape is "
                    f"{list(self.shape)}; only images have channels, so leave it out"
                )
        elif seems_channels_first(self.shape):
            raise ConfigurationError(
                f"source.input.shape is {list(self.shape)}, which looks like channels first; set "
                "source.input.channels: first, or last if the channels do come last"
            )

    def _check_shape(self) -> None:
        shape = list(self.shape)
        if not shape or not all(size > 0 for size in shape):
            raise ConfigurationError(
                f"source.input.shape is {shape}; give one size or more, each at least 1"
            )
        if self.kind == "image":
            if len(shape) != IMAGE_RANK or self.decoded_shape[-1] not in IMAGE_CHANNELS:
                order = (
                    "[channels, height, width]"
                    if self.channels == "first"
                    else "[height, width, channels]"
                )
                raise ConfigurationError(
                    f"source.input.shape is {shape}; for images give {order} with 1, 3 or 4 "
                    "channels"
                )
        elif len(shape) > IMAGE_RANK:
            raise ConfigurationError(
                f"source.input.shape is {shape}; give [W], [T, W] or [H, W, C]"
            )

    def _check_resizing(self) -> None:
        if self.decoder == "pillow" and self.resize not in PILLOW_RESIZES:
            raise ConfigurationError(
                f"source.input.resize is {self.resize!r}, which Pillow does not know; give one of "
                f"{', '.join(PILLOW_RESIZES)}, or leave source.input.decoder out"
            )
        if self.antialias and self.resize in UNSMOOTHED_RESIZES:
            raise ConfigurationError(
                f"source.input.antialias is True, but source.input.resize is {self.resize!r}, "
                "which it does not change, so leave it out"
            )
        if self.antialias and self.decoder == "pillow":
            raise ConfigurationError(
                "source.input.antialias is True, but source.input.decoder is 'pillow', which "
                "always smooths what it shrinks, so leave it out"
            )
        if self.fit != "stretch" and self.resize == "none":
            raise ConfigurationError(
                f"source.input.fit is {self.fit!r}, but source.input.resize is 'none', so leave it "
                "out"
            )

    def _check_tensor(self) -> None:
        if self.crop is not None:
            raise ConfigurationError(
                f"source.input.crop is {self.crop}, but source.input.kind is 'tensor'; "
                "only images are cropped, so leave it out"
            )
        if self.resize not in ("bilinear", "none"):  # bilinear: the default, not a wish
            raise ConfigurationError(
                f"source.input.resize is {self.resize!r}, but source.input.kind is 'tensor'; "
                "only images are resized, so leave it out"
            )
        for key, value, default, what in (
            ("antialias", self.antialias, False, "resized"),
            ("fit", self.fit, "stretch", "resized"),
            ("orientation", self.orientation, "stored", "turned"),
            ("decoder", self.decoder, "tensorflow", "decoded"),
        ):
            if value != default:
                raise ConfigurationError(
                    f"source.input.{key} is {value!r}, but source.input.kind is 'tensor'; "
                    f"only images are {what}, so leave it out"
                )


def seems_channels_first(shape: tuple[int | None, ...]) -> bool:
    """Whether three sizes look like (C, H, W): the first is at most 4, and both others are larger.

    >>> seems_channels_first((3, 224, 224)), seems_channels_first((3, 3, 3))
    (True, False)
    """
    if len(shape) != IMAGE_RANK:
        return False
    first, *others = (0 if size is None else size for size in shape)
    return 0 < first <= max(IMAGE_CHANNELS) < min(others)


def _numeric_dtype(name: str) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(name)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"source.input.dtype is {name!r}, which NumPy does not know; "
            "give a name such as 'float32' or 'uint8'"
        ) from error
    if dtype.kind not in _NUMERIC_KINDS:
        raise ConfigurationError(
            f"source.input.dtype is {name!r}; give a boolean, integer or floating-point type"
        )
    return dtype.newbyteorder("<") if dtype.byteorder == "=" else dtype


def _require_choice(key: str, value: object, choices: Any) -> None:
    allowed = get_args(choices)
    if value not in allowed:
        raise ConfigurationError(f"{key} is {value!r}; give one of {', '.join(allowed)}")
