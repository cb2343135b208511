"""What engines depend on beside what they compute."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import pytest

from transforms.saliency.engines import surroundings as module
from transforms.saliency.engines.surroundings import surroundings


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    surroundings.cache_clear()
    yield
    surroundings.cache_clear()


@pytest.mark.parametrize(
    "name", ["installed_versions", "_sources", "_processor", "usable_cores", "gpu_names"]
)
def test_each_part_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = surroundings()
    monkeypatch.setattr(module, name, lambda: {"other": "1"})
    assert surroundings() == before  # Once in a process.
    surroundings.cache_clear()
    assert surroundings() != before


@pytest.mark.parametrize("name", ["openvino", "tf_keras"])
def test_libraries_that_not_everybody_has_count(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = surroundings()
    version = importlib.metadata.version

    def other(distribution: str) -> str:
        return "0.0" if distribution == name else version(distribution)

    monkeypatch.setattr(importlib.metadata, "version", other)
    surroundings.cache_clear()
    assert surroundings() != before


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS"])
def test_settings_of_libraries_count(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = surroundings()
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")  # As --verbose may have it.
    surroundings.cache_clear()
    assert surroundings() == before
    monkeypatch.setenv(name, "another")
    surroundings.cache_clear()
    assert surroundings() != before


def test_a_link_that_leads_nowhere_is_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code.py").write_text("code")
    monkeypatch.setattr(module, "_SOURCES", tmp_path)
    before = module._sources()
    (tmp_path / ".#code.py").symlink_to("editor@host.1234")
    assert module._sources() == before
    (tmp_path / "code.py").write_text("other code")
    assert module._sources() != before
