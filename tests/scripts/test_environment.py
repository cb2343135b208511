"""scripts/environment with stand-ins for Python and pip: nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Says its version, knows the modules it is told to, and makes a .venv whose Python writes down
# what pip is asked for.
PYTHON = """#!/bin/bash
case "$*" in
  *version_info*) exit ${OLD:-0} ;;
  --version) echo "Python 3.9.1" ;;
  *ensurepip*) exit ${NO_VENV:-0} ;;
  "-m venv --clear .venv")
    rm -rf .venv
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    echo venv >>calls
    ;;
  "-c ") exit 0 ;;
  *"-m pip"*) echo "${*: -2}" >>calls; exit ${NO_NETWORK:-0} ;;
esac
"""


class Project:
    """A folder with the script in it, and a Python first in PATH."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        (self.root / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts" / "environment", self.root / "scripts")
        shutil.copy(ROOT / "pyproject.toml", self.root)
        (self.root / "scripts" / "work").write_text(
            'set -euo pipefail\nsource "$(dirname "$0")/environment"\necho "ready in $PWD"\n'
        )
        self.programs = folder / "programs"
        self.programs.mkdir()
        python = self.programs / "python3"
        python.write_text(PYTHON)
        python.chmod(0o755)

    def work(self, **settings: str) -> subprocess.CompletedProcess[str]:
        """Calls a script that uses the environment, from another folder."""
        path = f"{self.programs}:/usr/bin:/bin"
        return subprocess.run(  # noqa: S603 - of constants
            ["/bin/bash", self.root / "scripts" / "work"],
            cwd=self.programs,
            env={"PATH": path, **settings},
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        """What was asked of Python since the last time."""
        path = self.root / "calls"
        calls = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return calls


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_second_call_reuses_what_the_first_has_made(project: Project) -> None:
    first = project.work()
    assert (first.returncode, first.stdout) == (0, f"ready in {project.root}\n")
    assert "Installing the project into .venv" in first.stderr
    assert project.calls() == ["venv", "-e .[demo,dev]"]

    second = project.work()
    assert (second.returncode, second.stdout) == (0, f"ready in {project.root}\n")
    assert second.stderr == ""
    assert project.calls() == []


def test_another_pyproject_is_installed_into_the_same_environment(project: Project) -> None:
    project.work()
    project.calls()
    with (project.root / "pyproject.toml").open("a") as stream:
        stream.write("# another dependency\n")
    assert project.work().returncode == 0
    assert project.calls() == ["-e .[demo,dev]"]


def test_a_folder_that_was_moved_is_installed_again(project: Project, tmp_path: Path) -> None:
    project.work()
    project.calls()
    project.root = project.root.rename(tmp_path / "elsewhere")
    assert project.work().returncode == 0
    assert project.calls() == ["-e .[demo,dev]"]


def test_an_installation_that_failed_is_taken_up_again(project: Project) -> None:
    failed = project.work(NO_NETWORK="1")
    assert failed.returncode == 1
    assert "error: the installation failed (pip's own words are above); call " in failed.stderr
    assert project.calls() == ["venv", "-e .[demo,dev]"]
    assert project.work().returncode == 0
    assert project.calls() == ["-e .[demo,dev]"]


def test_an_environment_whose_python_has_gone_is_made_anew(project: Project) -> None:
    project.work()
    project.calls()
    (project.root / ".venv" / "bin" / "python").unlink()
    os.symlink("/nowhere/python3", project.root / ".venv" / "bin" / "python")
    assert project.work().returncode == 0
    assert project.calls()[0] == "venv"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"OLD": "1"}, "Python 3.9.1 is too old: install Python 3.10 or newer, or name one: "),
        ({"NO_VENV": "1"}, "python3 has no venv module: install it (on Debian and Ubuntu: "),
        ({"PYTHON": "python9"}, "python9 was not found: install Python 3.10 or newer, or name one"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    project: Project, settings: dict[str, str], message: str
) -> None:
    failed = project.work(**settings)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"error: {message}")
    assert failed.stdout == ""
    assert not (project.root / ".venv").exists()
