"""Every example in a docstring does what it says. Those of public names have their own test."""

from __future__ import annotations

import doctest
import importlib

import pytest
from architecture import read_sources

import pipeline
import transforms

MODULES = sorted(name for name, source in read_sources().items() if ">>> " in source)
PUBLIC = {*pipeline.__all__, *transforms.__all__}


@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_say(name: str) -> None:
    module = importlib.import_module(name.removesuffix(".__init__"))
    for example in doctest.DocTestFinder().find(module):
        if example.name.removeprefix(f"{module.__name__}.") not in PUBLIC:
            report: list[str] = []
            found = doctest.DocTestRunner().run(example, out=report.append)
            assert not found.failed, "".join(report)


def test_there_are_examples() -> None:
    assert len(MODULES) > 20
