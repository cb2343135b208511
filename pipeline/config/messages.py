"""What is said of a document that is no configuration: a line a problem."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

_SHOWN_CHARACTERS = 80  # of a value, in a message


def describe_value(value: object) -> str:
    """A value as a message shows it: JSON on one line, cut where it is long.

    >>> describe_value({"class": -1})
    '{"class": -1}'
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def explain_validation_error(
    error: pydantic.ValidationError, model: type[pydantic.BaseModel], document: Mapping[str, Any]
) -> str:
    """Puts what pydantic found into one line a problem: the dotted key, the value, what is allowed.

    What is allowed is the description of the field, so a model whose values this explains
    describes each of its fields with words that follow "it must be".

    Args:
      error: What validating raised.
      model: The model that refused.
      document: What it refused.
    """
    lines: dict[str, None] = {}  # Ordered, and each once: a union has one error a branch.
    for problem in error.errors():
        lines.update(dict.fromkeys(_explain(problem, model, document)))
    return "\n".join(lines)


def _explain(
    problem: Any, model: type[pydantic.BaseModel], document: Mapping[str, Any]
) -> Iterable[str]:
    if problem["type"] == "value_error":  # A validator over several keys: its lines are complete.
        return str(problem["ctx"]["error"]).splitlines()
    path: list[str] = []
    section: type[pydantic.BaseModel] | None = model
    items: type[pydantic.BaseModel] | None = None  # of the list that the path has come to
    allowed = ""
    value: Any = document
    for key in problem["loc"]:
        if items is not None and isinstance(key, int):
            path[-1] += f"[{key}]"
            section, items, value = items, None, value[key]
            allowed = _keys_of(section)
            continue
        if section is None:
            break
        field = _field(section, str(key))
        path.append(str(key))
        if field is None:
            return [_unknown_key(path, section, model)]
        present = isinstance(value, Mapping) and key in value
        value = value[key] if present else None
        section, items = _as_section(field.annotation), _items(field.annotation)
        allowed = field.description or _keys_of(section)
        if not present:
            return [f"{'.'.join(path)} is missing: it must be {allowed}"]
    if problem["type"] == "string_unicode":  # A folder's name may be any bytes.
        allowed = "UTF-8, which not all of it is; run in that folder, and give a path from there"
    return [f"{'.'.join(path)} is {describe_value(value)}: it must be {allowed}"]


def _field(section: type[pydantic.BaseModel], key: str) -> pydantic.fields.FieldInfo | None:
    """The field that a document calls so."""
    return next(
        (field for name, field in section.model_fields.items() if (field.alias or name) == key),
        None,
    )


def _items(annotation: Any) -> type[pydantic.BaseModel] | None:
    """The section that each item of a list is."""
    arguments = typing.get_args(annotation)
    is_list = typing.get_origin(annotation) is tuple and len(arguments) > 1
    return _as_section(arguments[0]) if is_list and arguments[1] is Ellipsis else None


def _unknown_key(
    path: list[str], section: type[pydantic.BaseModel], model: type[pydantic.BaseModel]
) -> str:
    *parents, key = path
    line = f"unknown key {'.'.join(path)}"
    known = [field.alias or name for name, field in section.model_fields.items()]
    near = difflib.get_close_matches(key, known, n=1)
    elsewhere = [dotted for dotted in _dotted_keys(model) if dotted.endswith(f".{key}")]
    if near:
        return f"{line}: did you mean {near[0]}?"
    if elsewhere:
        return f"{line}: did you mean {elsewhere[0]}?"
    place = f"{'.'.join(parents)} has" if parents else "there are"
    return f"{line}: {place} {', '.join(known)}"


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
