"""What a run is told: every key of the YAML, its default, and what is allowed.

Values are taken as they are, never converted: `"8"` is not 8 and `true` is not 1. Each field's
description completes the sentence "it must be ..." of the message about a wrong value.

Relative paths are relative to the current working directory, not to the configuration's folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from pipeline.config.yaml_settings import explain_validation_error, read_settings
from transforms.errors import ConfigurationError
from transforms.formats.source import (
    IMAGE_RANK,
    MAX_PIXELS,
    MAX_RECORD_BYTES,
    ChannelScale,
    Features,
    InputSpec,
    SourceSpec,
)
from transforms.saliency.engines.engine import AUTO, engine_names

_Text = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=1)]
_Lenient = Field(
    strict=False
)  # Strictly, a tuple cannot be had from a list; the items stay strict.
_Counts = Annotated[tuple[_Count, ...], _Lenient]
_Numbers = Annotated[tuple[float, ...], _Lenient]
_Scalar = bool | int | float | str


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=False
    )


class FeaturesSection(_Section):
    """Names of features in a tf.train.Example, or of columns; a dot reaches into a struct."""

    id: _Text | None = Field(None, description="the name of a feature, or null for record numbers")
    input: _Text = Field(description="the name of the feature that holds the input")
    label: _Text | None = Field(None, description="the name of a feature, or null for no labels")
    boxes: _Text | None = Field(None, description="the name of a feature, or null for no boxes")


class ChannelScaleSetting(_Section):
    """`(x - mean) / std` in each channel."""

    mean: _Numbers
    std: _Numbers


class InputSection(_Section):
    """What a feature's value is, and what the model takes."""

    kind: Literal["image", "tensor"] = Field("image", description="image or tensor")
    shape: _Counts = Field(
        description="the input's shape without the batch, a list of integers from 1 such as "
        "[224, 224, 3]"
    )
    dtype: _Text = Field("float32", description="the name of a NumPy type, such as float32")
    resize: Literal["bilinear", "bicubic", "area", "none"] = Field(
        "bilinear", description="bilinear, bicubic, area or none"
    )
    crop: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="the share of each side to keep, above 0 and at most 1, or null"
    )
    scale: Literal["none", "unit", "symmetric"] | ChannelScaleSetting = Field(
        "none",
        description="none, unit (0..1), symmetric (-1..1), or {mean: [...], std: [...]}",
    )


class SourceSection(_Section):
    """Where the examples are and how to read them."""

    pattern: _Text | Annotated[tuple[_Text, ...], _Lenient, Field(min_length=1)] = Field(
        description="a glob or a list of globs, such as data/train-*.tfrecord"
    )
    format: Literal["tfrecord", "parquet"] = Field("tfrecord", description="tfrecord or parquet")
    compression: Literal["auto", "none", "gzip", "zlib"] = Field(
        "auto", description="auto, none, gzip or zlib"
    )
    features: FeaturesSection
    classes: _Text | None = Field(
        None, description="the path of a file with a class name a line, or null"
    )
    input: InputSection

    @property
    def patterns(self) -> tuple[str, ...]:
        """The globs, also where one is given alone."""
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern


class ModelSection(_Section):
    """Which model is explained."""

    uri: _Text = Field(description="the path of a .keras or .h5 file or of a SavedModel folder")
    output_layer: _Text | int | None = Field(
        None, description="the name or the index of a layer, or null for the last"
    )
    allow_unsafe: bool = Field(False, description="true or false")


class ClassTarget(_Section):
    """The same class for every example."""

    number: Annotated[int, Field(ge=0)] = Field(alias="class")


class TopTarget(_Section):
    """The classes with the highest outputs, each with a map of its own."""

    top: _Count


class ExplainSection(_Section):
    """Which maps are made of an example, and how."""

    method: Literal["saliency"] = Field("saliency", description="saliency")
    target: Literal["label", "predicted"] | ClassTarget | TopTarget = Field(
        "label", description="label, predicted, {class: N} with N from 0, or {top: N} with N from 1"
    )
    operator: Annotated[str, Field(pattern=r"^(classification|[\w.]+:\w+)$")] = Field(
        "classification", description='classification or "package.module:function"'
    )
    reducer: Literal["max", "mean", "min", "sum", "none"] = Field(
        "max", description="max, mean, min, sum or none"
    )
    batch_size: Literal["auto"] | _Count = Field(
        "auto", description="auto or an integer of at least 1"
    )
    threads: _Count | None = Field(
        None,
        description="the number of threads of one operation, from 1, or null for TensorFlow's "
        "choice",
    )
    engine: _Text = Field("auto", description="auto or the name of an engine, such as openvino")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="float32, bfloat16 or float16"
    )


class OutputSection(_Section):
    """Where the atlas goes and how maps are stored."""

    path: _Text = Field(description="the path of the folder to make the atlas in")
    codec: Literal["uint8", "float16", "float32"] = Field(
        "uint8", description="uint8, float16 or float32"
    )
    block_size: _Count = Field(512, description="an integer of at least 1")


class StatisticsSection(_Section):
    """What is computed of each map."""

    sketch: Annotated[tuple[_Count, _Count], _Lenient] = Field(
        (28, 28), description="two integers from 1: the rows and columns of the sketch"
    )


class FailuresSection(_Section):
    """How much may go wrong."""

    max_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="a number from 0 to 1"
    )


class LimitsSection(_Section):
    """What a record may claim before it is taken for damage or an attack."""

    max_record_bytes: _Count = Field(
        MAX_RECORD_BYTES, description="the bytes of a TFRecord record, an integer of at least 1"
    )
    max_pixels: _Count = Field(
        MAX_PIXELS, description="the pixels of an image, an integer of at least 1"
    )


class Config(_Section):
    """The whole configuration, checked."""

    source: SourceSection
    model: ModelSection
    explain: ExplainSection = ExplainSection.model_validate({})
    output: OutputSection
    statistics: StatisticsSection = StatisticsSection.model_validate({})
    failures: FailuresSection = FailuresSection.model_validate({})
    limits: LimitsSection = LimitsSection.model_validate({})
    runner: dict[Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")], _Scalar | list[_Scalar]] = Field(
        default_factory=dict,
        description="a mapping of Beam's pipeline options, without dashes, to values or lists",
    )

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Config:
        """Checks settings such as `as_dict` gives or a YAML file holds.

        Raises:
          ConfigurationError: With one line a problem.
        """
        try:
            return cls.model_validate(settings)
        except pydantic.ValidationError as error:
            raise ConfigurationError(explain_validation_error(error, cls, settings)) from error

    @pydantic.model_validator(mode="after")
    def _check_keys_together(self) -> Config:
        problems = [*_spec_problems(self), *_source_problems(self.source)]
        if self.explain.target == "label" and self.source.features.label is None:
            problems.append(
                "explain.target is 'label', but source.features.label is null; give the name of "
                "the feature that holds the label, or set explain.target to predicted"
            )
        if self.explain.engine not in (AUTO, *engine_names()):
            problems.append(
                f"explain.engine is {self.explain.engine!r}; it must be "
                f"{', '.join((AUTO, *engine_names()[:-1]))} or {engine_names()[-1]}"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def source_spec(self, class_names: Sequence[str] = ()) -> SourceSpec:
        """What readers need to know.

        Args:
          class_names: The lines of the file `source.classes`.
        """
        source = self.source
        return SourceSpec(
            format=source.format,
            features=Features(**source.features.model_dump()),
            compression=source.compression,
            class_names=tuple(class_names),
            max_record_bytes=self.limits.max_record_bytes,
        )

    def input_spec(self) -> InputSpec:
        """What decoders need to know."""
        spec = self.source.input
        scale = spec.scale
        return InputSpec(
            kind=spec.kind,
            shape=spec.shape,
            dtype=spec.dtype,
            resize=spec.resize,
            crop=spec.crop,
            scale=scale if isinstance(scale, str) else ChannelScale(scale.mean, scale.std),
            max_pixels=self.limits.max_pixels,
        )

    def as_dict(self) -> dict[str, Any]:
        """Every setting, defaults too, as JSON's types; `from_dict` takes it back."""
        settings = self.model_dump(mode="json", by_alias=True)
        # Keys that the kind of input has no use for would be refused.
        for key in ("dtype",) if self.source.input.kind == "image" else ("resize", "crop"):
            del settings["source"]["input"][key]
        return settings

    def fingerprint_settings(self) -> dict[str, Any]:
        """The settings that change the bytes of an atlas, as JSON's types.

        Where the inputs, the model and the atlas are is not among them, nor who runs it: an atlas
        is not begun anew because a bucket was renamed. `explain.batch_size`, `explain.threads` and
        `explain.engine` are not either, as what counts is what they came to in the run, which the
        manifest records. What is in the files of `model.uri` and `source.classes`, and in the
        operator's module, is for the caller to digest.
        """
        settings = self.as_dict()
        return {
            "source": _only(
                settings["source"], "format", "compression", "features", "classes", "input"
            ),
            "model": _only(settings["model"], "output_layer"),
            "explain": _only(
                settings["explain"], "method", "target", "operator", "reducer", "precision"
            ),
            "output": _only(settings["output"], "codec", "block_size"),
            "statistics": settings["statistics"],
            "limits": settings["limits"],
        }


def load_config(path: str, overrides: Sequence[str] = ()) -> Config:
    """Reads and checks a configuration.

    Args:
      path: A YAML file.
      overrides: Settings such as `explain.batch_size=8`, which replace those of the file.

    Raises:
      ConfigurationError: With one line a problem.
    """
    return Config.from_dict(read_settings(path, overrides))


def _only(section: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: section[key] for key in keys}


def _spec_problems(config: Config) -> list[str]:
    problems = []
    for make_spec in (config.source_spec, config.input_spec):
        try:
            make_spec()
        except ConfigurationError as error:
            problems.append(str(error))
    return problems


def _source_problems(source: SourceSection) -> list[str]:
    """What the specs cannot see: which keys were given, and how two of them go together."""
    problems = []
    spec = source.input
    if spec.kind == "image" and "dtype" in spec.model_fields_set:
        problems.append(
            f"source.input.dtype is {spec.dtype!r}, but source.input.kind is 'image'; encoded "
            "images have a type of their own, so leave it out"
        )
    if spec.kind == "tensor" and "resize" in spec.model_fields_set and spec.resize == "bilinear":
        problems.append(
            f"source.input.resize is {spec.resize!r}, but source.input.kind is 'tensor'; only "
            "images are resized, so leave it out"
        )
    if source.features.boxes and len(spec.shape) != IMAGE_RANK:
        problems.append(
            f"source.features.boxes is {source.features.boxes!r}, but source.input.shape is "
            f"{list(spec.shape)}; boxes lie in images, so leave it out"
        )
    return problems
