"""Settings as plain mappings: YAML files, `--set` overrides, and what is wrong with them.

Nothing here knows which settings there are: `config.py` does.
"""

from __future__ import annotations

import difflib
import json
import re
import typing
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import pydantic
import yaml

from transforms.errors import ConfigurationError

_SHOWN_CHARACTERS = 80  # of a value, in a message


class _Loader(yaml.SafeLoader):
    """JSON's types only, and no key twice: the first of the two would be lost silently."""

    # A date is text here, and 1e-3 is a number, as YAML 1.2 has it.
    yaml_implicit_resolvers = {  # noqa: RUF012 - declared by the base class
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_settings(path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Reads a YAML mapping and applies overrides such as `explain.batch_size=8`.

    Raises:
      ConfigurationError: The file is not there, is not YAML, or is not a mapping; an override is
        not KEY=VALUE.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except FileNotFoundError:
        raise ConfigurationError(f"the configuration {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the configuration {path} cannot be read: {error}") from error
    try:
        settings = _parse(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}{_place(error)}: {_reason(error)}") from error
    if not isinstance(settings, dict):
        raise ConfigurationError(
            f"{path} must hold a mapping of sections such as source: and model:, "
            f"not {describe_value(settings)}"
        )
    for override in overrides:
        _override(settings, override)
    return settings


def _override(settings: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    *sections, key = dotted.strip().split(".")
    if not equals or not key or not all(sections):
        raise ConfigurationError(
            f"--set {override}: write it as KEY=VALUE, such as explain.batch_size=8"
        )
    try:
        value = _parse(text)
    except yaml.YAMLError as error:
        quoted = json.dumps(text, ensure_ascii=False)
        raise ConfigurationError(
            f"--set {override}: the value is not YAML ({_reason(error)}); "
            f"if it is text, quote it: --set '{dotted}={quoted}'"
        ) from error
    for section in sections:
        # What is no mapping gives way, as `target: label` must to `explain.target.class=3`.
        if not isinstance(settings.get(section), dict):
            settings[section] = {}
        settings = settings[section]
    settings[key] = value


def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from SafeLoader


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _reason(error: yaml.YAMLError) -> str:
    return getattr(error, "problem", None) or str(error)


def describe_value(value: object) -> str:
    """A value as a message shows it: JSON on one line, cut where it is long.

    >>> describe_value({"class": -1})
    '{"class": -1}'
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def explain_validation_error(
    error: pydantic.ValidationError, model: type[pydantic.BaseModel], settings: Mapping[str, Any]
) -> str:
    """Puts what pydantic found into one line a problem: the dotted key, the value, what is allowed.

    What is allowed is the description of the field, so a model whose values this explains
    describes each of its fields with words that follow "it must be".

    Args:
      error: What validating raised.
      model: The model that refused.
      settings: What it refused.
    """
    lines: dict[str, None] = {}  # Ordered, and each once: a union has one error a branch.
    for problem in error.errors():
        lines.update(dict.fromkeys(_explain(problem, model, settings)))
    return "\n".join(lines)


def _explain(
    problem: Any, model: type[pydantic.BaseModel], settings: Mapping[str, Any]
) -> Iterable[str]:
    if problem["type"] == "value_error":  # A validator over several keys: its lines are complete.
        return str(problem["ctx"]["error"]).splitlines()
    location = problem["loc"]
    path: list[str] = []
    section: type[pydantic.BaseModel] | None = model
    allowed = ""
    value: Any = settings
    for key in location:
        if section is None:
            break
        field = section.model_fields.get(str(key))
        path.append(str(key))
        if field is None:
            return [_unknown_key(path, section, model)]
        present = isinstance(value, Mapping) and key in value
        value = value[key] if present else None
        section = _as_section(field.annotation)
        allowed = field.description or _keys_of(section)
        if not present:
            return [f"{'.'.join(path)} is missing: it must be {allowed}"]
    return [f"{'.'.join(path)} is {describe_value(value)}: it must be {allowed}"]


def _unknown_key(
    path: list[str], section: type[pydantic.BaseModel], model: type[pydantic.BaseModel]
) -> str:
    *parents, key = path
    line = f"unknown key {'.'.join(path)}"
    near = difflib.get_close_matches(key, section.model_fields, n=1)
    elsewhere = [dotted for dotted in _dotted_keys(model) if dotted.endswith(f".{key}")]
    if near:
        return f"{line}: did you mean {near[0]}?"
    if elsewhere:
        return f"{line}: did you mean {elsewhere[0]}?"
    place = f"{'.'.join(parents)} has" if parents else "there are"
    return f"{line}: {place} {', '.join(section.model_fields)}"


def _dotted_keys(model: type[pydantic.BaseModel], prefix: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        section = _as_section(field.annotation)
        if section is None:
            yield f"{prefix}{name}"
        else:
            yield from _dotted_keys(section, f"{prefix}{name}.")


def _as_section(annotation: Any) -> type[pydantic.BaseModel] | None:
    is_model = isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)
    return typing.cast("type[pydantic.BaseModel]", annotation) if is_model else None


def _keys_of(section: type[pydantic.BaseModel] | None) -> str:
    return f"a mapping with the keys {', '.join(section.model_fields)}" if section else "left out"
