"""The page: templates, one script, one style sheet, a policy that lets nothing else in.

The policy names the script and the styles by their hashes, allows pictures that are in the page
itself, and nothing besides: no request can be made, and what a label holds cannot run. What opens
below a class is HTML too, compressed, in a `<template>` that no browser looks into.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import importlib.resources
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline import pictures
from pipeline.plain_text import plain
from pipeline.report import wording
from pipeline.report.drawing import charts

_TEMPLATES = "templates"


def render(template: str, content: Mapping[str, Any]) -> Iterator[str]:
    """The page, piece by piece.

    Args:
      template: Its name.
      content: What the template shows; what is text and not markup is escaped.
    """
    style, script = _resource("report.css"), _resource("report.js")
    yield from (
        _environment()
        .get_template(template)
        .generate(
            **content,
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            policy=policy(style, script),
        )
    )


def policy(style: str, script: str) -> str:
    """The content security policy of a page with this style sheet and script."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def packed(text: str) -> str:
    """What the script unpacks: gzip, as letters; the same for the same text."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def fragment(template: str, content: Mapping[str, Any]) -> str:
    """A part of a page."""
    return _environment().get_template(template).render(**content)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _resource(name: str) -> str:
    folder = importlib.resources.files("pipeline.report") / _TEMPLATES
    return (folder / name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", _TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals |= {"charts": charts, "pictures": pictures, "wording": wording}
    return environment


def _shown(value: object) -> object:
    """Text from data without what turns the direction of writing, or is no text at all."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
