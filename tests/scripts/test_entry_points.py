"""The bash entry points start programs that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
ENTRY_POINTS = sorted(path for path in SCRIPTS.iterdir() if path.is_file() and not path.suffix)
ROOMS = "|".join(path.parent.name for path in SCRIPTS.glob("*/__init__.py"))


def test_the_folder_reads_at_a_glance() -> None:
    names = [path.name for path in ENTRY_POINTS]
    assert names == [
        *("bench", "calibrate", "chaos", "coverage", "demo", "environment", "fuzz", "models"),
        *("runners", "simulate", "test"),
    ]


@pytest.mark.parametrize("path", ENTRY_POINTS, ids=lambda path: path.name)
def test_what_an_entry_point_starts_is_there(path: Path) -> None:
    text = path.read_text()
    for name in re.findall(rf"-m ((?:{ROOMS})\.\w+)", text):
        assert SCRIPTS.joinpath(*name.split(".")).with_suffix(".py").is_file(), name
    for name in re.findall(r"scripts/([\w/]+\.py)", text):
        assert (SCRIPTS / name).is_file(), name


def test_the_benchmark_has_five_programs() -> None:
    text = (SCRIPTS / "bench").read_text()
    names = re.findall(r"(?:measured=|== )(\w+)", text)
    assert names == ["overhead", "engines", "host", "methods", "start"]
    assert all((SCRIPTS / "benchmark" / f"{name}.py").is_file() for name in names)
