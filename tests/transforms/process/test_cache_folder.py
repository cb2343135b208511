from __future__ import annotations

from pathlib import Path

import pytest

from transforms.process.cache_folder import CACHE_VARIABLE, cache_folder


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/anybody"))


def test_it_is_among_the_users_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == Path("/home/anybody/.cache/saliency-atlas")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/saliency-atlas")


@pytest.mark.parametrize("path", ["", "relative/caches"])
def test_what_is_no_absolute_path_is_ignored(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", path)
    assert cache_folder() == Path("/home/anybody/.cache/saliency-atlas")


def test_a_variable_of_its_own_says_where_or_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setenv(CACHE_VARIABLE, "/mine")
    assert cache_folder() == Path("/mine")
    monkeypatch.setenv(CACHE_VARIABLE, "")
    assert cache_folder() is None


def test_who_has_no_home_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert cache_folder() is None
