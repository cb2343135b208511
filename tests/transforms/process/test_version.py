from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from small_dataset import MakeConfig

from pipeline.commands.run import run
from pipeline.run.progress import Progress
from transforms.errors import RunError
from transforms.process import version as package


def test_the_version_is_the_installed_one() -> None:
    assert package.package_version() == importlib.metadata.version("saliency-atlas")
    package.require_version(package.package_version())


def test_what_is_installed_counts_where_there_is_no_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def version(name: str) -> str:
        if name != "saliency-atlas":
            raise importlib.metadata.PackageNotFoundError(name)
        return "9.9"

    of_another = tmp_path / "pyproject.toml"
    of_another.write_text('[project]\nname = "another"\nversion = "1.0"\n')
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(package, "_CHECKOUT", of_another)
    assert package.package_version.__wrapped__() == "9.9"
    assert package.is_package_installed()
    of_another.write_text('[project]\nname = "saliency-atlas"\nversion = "1.0"\n')
    assert package.package_version.__wrapped__() == "1.0"


def test_another_version_is_refused_naming_both() -> None:
    with pytest.raises(
        RunError, match=f"launcher has .* 0.0.9, this worker {package.package_version()}"
    ):
        package.require_version("0.0.9")


def test_a_worker_of_another_version_stops_the_run(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The launcher asks first, when the graph is built; the worker asks at its setup.
    monkeypatch.setattr("transforms.stages.read.package_version", lambda: "0.0.9")
    with pytest.raises(RunError, match=r"the launcher has saliency-atlas 0\.0\.9, this worker"):
        run(make_config(), "new", [], Progress(None))
    assert not list((tmp_path / "atlas" / "maps").glob("*/*"))
