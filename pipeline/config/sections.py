"""The sections of a configuration: every key of the YAML, its default, and what is allowed.

Values are taken as they are, never converted: `"8"` is not 8 and `true` is not 1. Each field's
description completes the sentence "it must be ..." of the message about a wrong value. Which values
a key may have says the library that knows them; here they are only named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

import pydantic
from pydantic import Field

from pipeline.config.section import Count as _Count
from pipeline.config.section import Lenient as _Lenient
from pipeline.config.section import Section
from pipeline.config.section import Text as _Text
from transforms.codec import CodecName
from transforms.errors import alternatives
from transforms.formats.images.thumbnails import LONGEST_SIDE
from transforms.formats.source import (
    MAX_BLOCK_BYTES,
    MAX_PIXELS,
    MAX_RECORD_BYTES,
    SCALED_RANGES,
    Channels,
    Compression,
    Decoder,
    Fit,
    Format,
    InputKind,
    NamedScale,
    Orientation,
    Resize,
)
from transforms.models.loading import ModelOutput
from transforms.saliency.contract.method import Sign
from transforms.saliency.engines.engine import AUTO, Precision, WantedPrecision, engine_names
from transforms.saliency.methods import DEFAULT_METHOD, method_names
from transforms.saliency.reducers import Reducer
from transforms.saliency.scores.operators import OPERATOR_NAMES
from transforms.saliency.scores.targets import NamedTarget
from transforms.statistics.columns import MAPS_COLUMNS, MOST_REGIONS, region_energy

CERTIFIED_ON = 64
"""Examples that a certificate is of where no number is given."""

_Counts = Annotated[tuple[_Count, ...], _Lenient]
_Numbers = Annotated[tuple[float, ...], _Lenient]
_Rectangle = Annotated[tuple[float, float, float, float], _Lenient]
_REGION = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_Module = Annotated[str, Field(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*$")]


def _values(choices: object) -> str:
    """The values of a Literal, as "it must be ..." goes on."""
    return alternatives(get_args(choices))


def _scales() -> str:
    named = [
        f"{name} ({SCALED_RANGES[name]})" if name in SCALED_RANGES else name
        for name in get_args(NamedScale)
    ]
    return ", ".join([*named, "or {mean: [...], std: [...]}"])


class FeaturesSection(Section):
    """Names of features in a tf.train.Example, or of columns; a dot reaches into a struct."""

    id: _Text | None = Field(None, description="the name of a feature, or null for record numbers")
    input: _Text | Annotated[tuple[_Text, ...], _Lenient, Field(min_length=1)] = Field(
        description="the name of the feature that holds the input, or a list of features of one "
        "number each, such as [age, bmi]"
    )
    label: _Text | None = Field(None, description="the name of a feature, or null for no labels")
    boxes: _Text | None = Field(None, description="the name of a feature, or null for no boxes")
    slices: Annotated[tuple[_Text, ...], _Lenient] = Field(
        (), description="a list of names of features, such as [camera, year]"
    )
    mask: _Text | None = Field(None, description="the name of a feature, or null for no masks")


class ChannelScaleSection(Section):
    """`(x - mean) / std` in each channel."""

    mean: _Numbers
    std: _Numbers


class InputSection(Section):
    """What a feature's value is, and what the model takes."""

    kind: InputKind = Field("image", description=_values(InputKind))
    shape: _Counts = Field(
        description="the input's shape without the batch, a list of integers from 1 such as "
        "[224, 224, 3]"
    )
    channels: Channels | None = Field(None, description=f"{_values(Channels)}, or null")
    dtype: _Text = Field("float32", description="the name of a NumPy type, such as float32")
    resize: Resize = Field("bilinear", description=_values(Resize))
    antialias: bool = Field(False, description="true or false")
    fit: Fit = Field("stretch", description=_values(Fit))
    crop: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="the share of each side to keep, above 0 and at most 1, or null"
    )
    orientation: Orientation = Field("stored", description=_values(Orientation))
    decoder: Decoder = Field("tensorflow", description=_values(Decoder))
    scale: NamedScale | ChannelScaleSection = Field("none", description=_scales())


class SourceSection(Section):
    """Where the examples are and how to read them."""

    pattern: _Text | Annotated[tuple[_Text, ...], _Lenient, Field(min_length=1)] = Field(
        description="a glob or a list of globs, such as data/train-*.tfrecord"
    )
    format: Format = Field("tfrecord", description=_values(Format))
    compression: Compression = Field("auto", description=_values(Compression))
    features: FeaturesSection
    classes: _Text | None = Field(
        None, description="the path of a file with a class name a line, or null"
    )
    sample: _Count | None = Field(
        None, description="how many examples to explain, from 1, or null for all"
    )
    input: InputSection

    @property
    def patterns(self) -> tuple[str, ...]:
        """The globs, also where one is given alone."""
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern


class InputsSection(Section):
    """Which of several inputs is explained, and what the others are fed: constants, or features."""

    explained: _Text
    constants: dict[_Text, float] = Field(default_factory=dict)
    features: dict[_Text, _Text] = Field(default_factory=dict)


class ModelSection(Section):
    """Which model is explained."""

    uri: _Text = Field(description="the path of a .keras or .h5 file or of a SavedModel folder")
    output_layer: _Text | int | None = Field(
        None, description="the name or the index of a layer, or null for the last"
    )
    output: ModelOutput = Field("as_is", description=_values(ModelOutput))
    inputs: InputsSection | None = Field(
        None,
        description="{explained: NAME, constants: {NAME: number}, features: {NAME: feature}} for "
        "several inputs, or null",
    )
    signature: _Text | None = Field(
        None, description="the name of a SavedModel's signature, or null for serving_default"
    )
    imports: Annotated[tuple[_Module, ...], _Lenient] = Field(
        (), description="a list of modules such as [package.module]"
    )
    allow_unsafe: bool = Field(False, description="true or false")


class ClassTarget(Section):
    """The same class for every example."""

    number: Annotated[int, Field(ge=0)] = Field(alias="class")


class TopTarget(Section):
    """The classes with the highest outputs, each with a map of its own."""

    top: _Count


class CertificateSection(Section):
    """What is tried of the method and the model, before a run begins."""

    samples: Annotated[int, Field(ge=3, le=10_000)] = Field(
        CERTIFIED_ON, description="how many examples to try it on, from 3 to 10,000"
    )


class ExplainSection(Section):
    """Which maps are made of an example, and how."""

    method: _Text | dict[_Text, dict[_Text, Any]] = Field(
        DEFAULT_METHOD,
        description=f"{', '.join(method_names())}, or {{NAME: {{parameter: value}}}}",
    )
    target: NamedTarget | ClassTarget | TopTarget = Field(
        "label",
        description=", ".join(
            [*get_args(NamedTarget), "{class: N} with N from 0", "or {top: N} with N from 1"]
        ),
    )
    operator: Annotated[str, Field(pattern=rf"^({'|'.join(OPERATOR_NAMES)}|[\w.]+:\w+)$")] = Field(
        "classification", description=f'{", ".join(OPERATOR_NAMES)} or "package.module:function"'
    )
    reducer: Reducer | None = Field(
        None, description=f"{', '.join(get_args(Reducer))}, or null for the method's default"
    )
    sign: Sign | None = Field(
        None, description=f"{', '.join(get_args(Sign))}, or null for the method's default"
    )
    layer: _Text | int | None = Field(
        None, description="the name or the index of a layer, or null for the method's default"
    )
    batch_size: Literal["auto"] | _Count = Field(
        "auto", description="auto or an integer of at least 1"
    )
    threads: _Count | None = Field(
        None,
        description="the number of threads of one operation, from 1, or null for TensorFlow's "
        "choice",
    )
    engine: _Text = Field(AUTO, description=alternatives((AUTO, *engine_names())))
    precision: WantedPrecision = Field(
        "float32", description=alternatives((AUTO, *get_args(Precision)))
    )
    certificate: CertificateSection | None = Field(
        None, description="{samples: N} with N from 3, or null for none"
    )


class OutputSection(Section):
    """Where the atlas goes and how maps are stored."""

    path: _Text = Field(description="the path of the folder to make the atlas in")
    codec: CodecName = Field("uint8", description=_values(CodecName))
    block_size: _Count = Field(512, description="an integer of at least 1")
    thumbnail: Annotated[int, Field(ge=16, le=512)] | None = Field(
        LONGEST_SIDE, description="the pixels of the longer side, from 16 to 512, or null for none"
    )


class StatisticsSection(Section):
    """What is computed of each map."""

    sketch: Annotated[tuple[_Count, _Count], _Lenient] = Field(
        (28, 28), description="two integers from 1: the rows and columns of the sketch"
    )
    regions: dict[str, _Text | Annotated[tuple[_Rectangle, ...], _Lenient, Field(min_length=1)]] = (
        Field(
            {},
            description="{NAME: FILE.png} or {NAME: [[y0, x0, y1, x1], ...]} with y0 below y1 and "
            "x0 below x1, all in 0..1",
        )
    )

    @pydantic.model_validator(mode="after")
    def _check_regions(self) -> StatisticsSection:
        problems = [*_region_name_problems(self.regions), *_rectangle_problems(self.regions)]
        if problems:
            raise ValueError("\n".join(problems))
        return self


def _region_name_problems(regions: Iterable[str]) -> Iterator[str]:
    """A line for each region whose name cannot be a column's."""
    names = list(regions)
    if len(names) > MOST_REGIONS:
        yield f"statistics.regions has {len(names)} regions: give {MOST_REGIONS} at most"
    known = {name.lower(): f"the maps table has a column {name}" for name in MAPS_COLUMNS}
    for name in names:
        if not _REGION.fullmatch(name):
            yield (
                f"statistics.regions names {name!r}: give a name of letters, digits and "
                "underscores that begins with a letter, as it is part of a column's name"
            )
        # Databases that read the tables do not tell upper case from lower.
        column = region_energy(name).lower()
        if column in known:
            yield f"statistics.regions names {name!r}, and {known[column]}; give it another name"
        known[column] = f"there is a region {name!r}, too"


def _rectangle_problems(regions: Mapping[str, str | tuple[_Rectangle, ...]]) -> Iterator[str]:
    """A line for each rectangle that is none, or not within the image."""
    for name, rectangles in regions.items():
        for y0, x0, y1, x1 in () if isinstance(rectangles, str) else rectangles:
            if not (0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1):
                yield (
                    f"statistics.regions.{name} has the rectangle {[y0, x0, y1, x1]}: give [y0, "
                    "x0, y1, x1] in 0..1 of the image, y0 below y1 and x0 below x1"
                )


class FailuresSection(Section):
    """How much may go wrong."""

    max_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="a number from 0 to 1"
    )
    max_broken_files: Annotated[int, Field(ge=0)] = Field(0, description="an integer of at least 0")


class LimitsSection(Section):
    """What a record may claim before it is taken for damage or an attack."""

    max_record_bytes: _Count = Field(
        MAX_RECORD_BYTES, description="the bytes of a record or value, an integer of at least 1"
    )
    max_block_bytes: _Count = Field(
        MAX_BLOCK_BYTES, description="the bytes of a block, an integer of at least 1"
    )
    max_pixels: _Count = Field(
        MAX_PIXELS, description="the pixels of an image, an integer of at least 1"
    )
