"""What a run is told: all sections of a configuration, checked together.

Relative paths are relative to the current working directory, not to the configuration's folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import pydantic
from pydantic import Field

from pipeline.config.audit_section import AuditSection
from pipeline.config.combinations import inputs_problems, slice_problems, table_problems
from pipeline.config.conditions import unmet_conditions
from pipeline.config.document import read_document
from pipeline.config.messages import explain_validation_error
from pipeline.config.section import Section
from pipeline.config.sections import (
    ExplainSection,
    FailuresSection,
    LimitsSection,
    ModelSection,
    OutputSection,
    SourceSection,
    StatisticsSection,
)
from transforms.errors import ConfigurationError, alternatives
from transforms.formats.features import Features
from transforms.formats.source import ChannelScale, InputSpec, SourceSpec
from transforms.saliency.activations import LayerName, check_layer_used
from transforms.saliency.contract.method import MapForm, Method, resolve_form
from transforms.saliency.engines.engine import AUTO, engine_names
from transforms.saliency.methods import DEFAULT_METHOD, find_method

_ONE_SLASH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")  # of a scheme longer than a drive's
_Scalar = bool | int | float | str

LATER_KEYS = (
    "source.features.slices",
    "source.features.mask",
    "source.input.channels",
    "source.input.antialias",
    "source.input.fit",
    "source.input.orientation",
    "source.input.decoder",
    "source.sample",
    "model.imports",
    "model.inputs",
    "model.signature",
    "statistics.regions",
)
"""Keys that earlier versions did not have: their defaults leave a fingerprint as it was."""


AUDIT = "audit"
"""The section that a file may hold alone."""


class Config(Section):
    """The whole configuration, checked."""

    source: SourceSection
    model: ModelSection
    explain: ExplainSection = ExplainSection.model_validate({})
    output: OutputSection
    statistics: StatisticsSection = StatisticsSection.model_validate({})
    failures: FailuresSection = FailuresSection.model_validate({})
    limits: LimitsSection = LimitsSection.model_validate({})
    audit: AuditSection = AuditSection.model_validate({})
    runner: dict[Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")], _Scalar | list[_Scalar]] = Field(
        default_factory=dict,
        description="a mapping of Beam's pipeline options, without dashes, to values or lists",
    )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Config:
        """Checks a document such as `as_dict` gives or a YAML file holds.

        Raises:
          ConfigurationError: With one line a problem.
        """
        try:
            return cls.model_validate(document)
        except pydantic.ValidationError as error:
            raise ConfigurationError(explain_validation_error(error, cls, document)) from error

    @pydantic.model_validator(mode="after")
    def _check_keys_together(self) -> Config:
        problems = [
            *_spec_problems(self),
            *self._without_effect(),
            *_path_problems(self),
            *slice_problems(self.source.features.slices, self.statistics.regions),
            *table_problems(self.source),
            *inputs_problems(self.model.inputs),
        ]
        if self.explain.target == "label" and self.source.features.label is None:
            problems.append(
                "explain.target is 'label', but source.features.label is null; give the name of "
                "the feature that holds the label, or set explain.target to predicted"
            )
        if self.explain.engine not in (AUTO, *engine_names()):
            problems.append(
                f"explain.engine is {self.explain.engine!r}; it must be "
                f"{alternatives((AUTO, *engine_names()))}"
            )
        if not problems and (problem := self.method().precision_problem(self.explain.precision)):
            problems.append(problem)
        if problems:
            raise ValueError("\n".join(dict.fromkeys(problems)))
        return self

    def _without_effect(self) -> Iterator[str]:
        """A line for each key that was given and has no effect."""
        for condition in unmet_conditions(self.source):
            section, key = self._section_of(condition.key)
            value = getattr(section, key)
            default = type(section).model_fields[key].default
            harmless = value in (None, condition.harmless) or (
                condition.default_is_harmless and value == default
            )
            if key in section.model_fields_set and not harmless:
                yield condition.refusal(value, self.source)

    def _section_of(self, dotted: str) -> tuple[Section, str]:
        """The section that a key such as `limits.max_pixels` is in, and its name there."""
        *path, key = dotted.split(".")
        section: Any = self
        for name in path:
            section = getattr(section, name)
        return section, key

    def source_spec(self, class_names: Sequence[str] = ()) -> SourceSpec:
        """What readers need to know.

        Args:
          class_names: The lines of the file `source.classes`.
        """
        source = self.source
        return SourceSpec(
            format=source.format,
            features=Features(**source.features.model_dump(), beside=self.fed_inputs),
            compression=source.compression,
            class_names=tuple(class_names),
            max_record_bytes=self.limits.max_record_bytes,
            max_block_bytes=self.limits.max_block_bytes,
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
            antialias=spec.antialias,
            fit=spec.fit,
            crop=spec.crop,
            orientation=spec.orientation,
            decoder=spec.decoder,
            scale=scale if isinstance(scale, str) else ChannelScale(scale.mean, scale.std),
            max_pixels=self.limits.max_pixels,
            channels=spec.channels,
        )

    @property
    def fed_inputs(self) -> tuple[tuple[str, str], ...]:
        """Inputs of the model beside the explained one, and the features that feed them."""
        given = self.model.inputs
        return () if given is None else tuple(sorted(given.features.items()))

    @property
    def table_features(self) -> tuple[str, ...]:
        """Names of the features of a table's inputs, in their order; none of other inputs."""
        given = self.source.features.input
        return () if isinstance(given, str) else given

    @property
    def thumbnail(self) -> int | None:
        """Longest side of the thumbnails; None where none are made, as of tensors."""
        return self.output.thumbnail if self.source.input.kind == "image" else None

    def method(self) -> Method:
        """The method, with the defaults that depend on the inputs filled in."""
        method: Method = find_method(self.explain.method).of_inputs(self.input_spec())
        return method

    def layer(self) -> LayerName:
        """The layer whose activations are explained, as it is given."""
        check_layer_used(self.method(), self.explain.layer)
        return self.explain.layer

    def map_form(self) -> MapForm:
        """What is made of the method's values, its defaults filled in."""
        explain = self.explain
        return resolve_form(self.method(), self.input_spec(), explain.reducer, explain.sign)

    def as_dict(self) -> dict[str, Any]:
        """Every key that has an effect, defaults too, as JSON's types; `from_dict` takes it."""
        unused: dict[str, Any] = {}
        for condition in unmet_conditions(self.source):
            *path, key = condition.key.split(".")
            section = unused
            for name in path:
                section = section.setdefault(name, {})
            section[key] = True
        return self.model_dump(mode="json", by_alias=True, exclude=unused)

    @property
    def certified_on(self) -> int | None:
        """How many examples a certificate is of; None where none is asked for."""
        certificate = self.explain.certificate
        return None if certificate is None else certificate.samples

    def fingerprint_settings(self) -> dict[str, Any]:
        """The settings: what the bytes of an atlas depend on, as JSON's types.

        Where the inputs, the model and the atlas are is not among them, nor who runs it: an atlas
        is not begun anew because a bucket was renamed. `explain.batch_size`, `explain.threads`,
        `explain.engine` and a precision of `auto` are not either, as what counts is what they came
        to in the run, which the manifest records. What is in the files of
        `model.uri`, `source.classes` and masks of regions, and in modules, is for the caller to
        digest.
        """
        used = self.as_dict()
        if self.explain.precision == "auto":
            del used["explain"]["precision"]
        for dotted in LATER_KEYS:
            section, key = self._section_of(dotted)
            if getattr(section, key) == type(section).model_fields[key].default:
                _drop(used, dotted)
        if self.model.inputs is not None and not self.model.inputs.features:
            _drop(used, "model.inputs.features")
        return {
            "source": _only(
                used["source"], "format", "compression", "features", "classes", "sample", "input"
            ),
            "model": _only(
                used["model"], "output_layer", "output", "inputs", "signature", "imports"
            ),
            "explain": self._explain_settings(used["explain"]),
            # Without thumbnails blocks have the bytes that they had before there were any.
            "output": _only(used["output"], "codec", "block_size")
            | ({} if self.thumbnail is None else {"thumbnail": self.thumbnail}),
            "statistics": used["statistics"],
            "limits": _only(used["limits"], "max_record_bytes", "max_pixels"),
        }

    def _explain_settings(self, used: Mapping[str, Any]) -> dict[str, Any]:
        """Of the section `explain`; what is left out or null counts as what it stands for.

        The sign is named where it is not that of plain saliency, the only one there once was.
        """
        method, form = self.method(), self.map_form()
        settings = _only(used, "target", "operator", "reducer", "precision")
        settings["method"] = method.document
        if "reducer" in settings:
            settings["reducer"] = form.reducer
        if (method.name, form.sign) != (DEFAULT_METHOD, "absolute"):
            settings["sign"] = form.sign
        if method.needs == "layer":
            settings["layer"] = self.explain.layer
        return settings


def load_audit(path: str, overrides: Sequence[str] = ()) -> AuditSection:
    """Reads what an atlas is judged by: of a whole configuration, or of a file with `audit` alone.

    Args:
      path: A YAML file.
      overrides: Keys such as `audit.min_n=100`, which replace those of the file.

    Raises:
      ConfigurationError: With one line a problem; or there is no section `audit`.
    """
    document = read_document(path, overrides)
    if AUDIT not in document:
        raise ConfigurationError(
            f"{path} has no section audit: add one such as "
            "audit: {gates: [{statistic: corner_energy_mean, below: 0.3}]}"
        )
    if set(document) == {AUDIT}:
        try:
            return _AuditDocument.model_validate(document).audit
        except pydantic.ValidationError as error:
            said = explain_validation_error(error, _AuditDocument, document)
            raise ConfigurationError(said) from error
    return Config.from_dict(document).audit


def load_config(path: str, overrides: Sequence[str] = ()) -> Config:
    """Reads and checks a configuration.

    Args:
      path: A YAML file.
      overrides: Keys such as `explain.batch_size=8`, which replace those of the file.

    Raises:
      ConfigurationError: With one line a problem.
    """
    return Config.from_dict(read_document(path, overrides))


class _AuditDocument(Section):
    """A file for audits, which says nothing of runs."""

    audit: AuditSection


def _drop(settings: dict[str, Any], dotted: str) -> None:
    """Takes a key such as `source.input.fit` out of a document, where it is there."""
    *path, key = dotted.split(".")
    for name in path:
        settings = settings[name]
    settings.pop(key, None)


def _only(section: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: section[key] for key in keys if key in section}


def _path_problems(config: Config) -> Iterator[str]:
    """A line for each path that would be taken for another one than is meant."""
    source = config.source
    for key, path in (
        *(("source.pattern", pattern) for pattern in source.patterns),
        *(
            (f"statistics.regions.{name}", region)
            for name, region in config.statistics.regions.items()
            if isinstance(region, str)
        ),
        ("source.classes", source.classes or ""),
        ("model.uri", config.model.uri),
        ("output.path", config.output.path),
    ):
        if path.startswith(("~", "$")):
            yield (
                f"{key} is {path!r}, but only a shell knows what {path[0]} stands for: "
                "write the whole path"
            )
        elif _ONE_SLASH.match(path):
            scheme = path.partition(":")[0]
            yield f"{key} is {path!r}, which has one slash: write {scheme}://"


def _spec_problems(config: Config) -> list[str]:
    problems = []
    for make_spec in (config.source_spec, config.input_spec, config.map_form, config.layer):
        try:
            make_spec()
        except ConfigurationError as error:
            problems.append(str(error))
    return problems
