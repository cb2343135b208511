"""The YAML document of a configuration, and the `--set` overrides that change it.

Nothing here knows which keys there are: `sections` does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Sequence
from typing import Any

import yaml

from pipeline.config.messages import describe_value
from transforms.errors import ConfigurationError


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


def read_document(path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
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
        document = _parse(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}{_place(error)}: {_reason(error)}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(
            f"{path} must hold a mapping of sections such as source: and model:, "
            f"not {describe_value(document)}"
        )
    for override in overrides:
        _override(document, override)
    return document


def _override(document: dict[str, Any], override: str) -> None:
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
        if not isinstance(document.get(section), dict):
            document[section] = {}
        document = document[section]
    document[key] = value


def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from SafeLoader


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _reason(error: yaml.YAMLError) -> str:
    return getattr(error, "problem", None) or str(error)
