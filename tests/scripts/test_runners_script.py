from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam import version
from runner_comparison import compare as runners


def test_differences_are_found_wherever_they_are(tmp_path: Path) -> None:
    for root in ("a", "b"):
        (tmp_path / root / "maps").mkdir(parents=True)
        (tmp_path / root / "maps" / "same").write_bytes(b"1")
        (tmp_path / root / "manifest.json").write_text(root)
    assert runners.compare(tmp_path / "a", tmp_path / "b") == []
    (tmp_path / "a" / "maps" / "other").write_bytes(b"1")
    (tmp_path / "b" / "maps" / "other").write_bytes(b"2")
    (tmp_path / "b" / "more").write_bytes(b"")
    assert runners.compare(tmp_path / "a", tmp_path / "b") == ["maps/other", "more"]


def test_a_tool_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "RUNNERS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert runners.fetch("prism") == "go was not found: install it to fetch prism"
    assert runners.fetch("flink") == "java was not found: install a JDK, version 17"


def test_what_is_there_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "RUNNERS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    (tmp_path / f"prism-{version.__version__}").touch()
    assert runners.fetch("prism") is None


def test_children_of_any_thread_are_found() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in runners.children(os.getpid())
        child.communicate(b"\n")
