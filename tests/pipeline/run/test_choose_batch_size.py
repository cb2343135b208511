"""`explain.batch_size: auto` in whole runs."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from small_dataset import MakeConfig

from pipeline.run.in_memory import run_in_memory


def test_auto_is_measured_and_recorded(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.run.choose._SHARE_OF_RUN", 1000.0)
    manifest = run_in_memory(make_config(explain={"batch_size": "auto"}))
    measured = manifest["batch_size_measured"]
    assert len(measured) > 1
    assert str(manifest["batch_size"]) in measured
    assert all(rate > 0 for rate in measured.values())
    assert manifest["settings"]["explain"]["batch_size"] == manifest["batch_size"]
    assert manifest["explained_examples"] == 37


def test_a_short_run_is_not_spent_on_measuring(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        manifest = run_in_memory(make_config(explain={"batch_size": "auto"}))
    assert manifest["batch_size"] == 64
    assert manifest["batch_size_measured"] == {}
    assert "auto is 64: 40 examples are too few to try others" in caplog.text


def test_a_resumed_atlas_keeps_its_batch_size(make_config: MakeConfig, tmp_path: Path) -> None:
    run_in_memory(make_config(explain={"batch_size": 5}))
    path = tmp_path / "atlas" / "manifest.json"
    next((tmp_path / "atlas").rglob("block-00000.parquet")).unlink()
    resumed = run_in_memory(make_config(explain={"batch_size": "auto"}), "resume")
    assert resumed["batch_size"] == 5
    assert resumed["batch_size_measured"] is None
    assert json.loads(path.read_text())["status"] == "complete"


def test_what_cannot_be_measured_is_the_rule_s_and_logged(
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("pipeline.run.choose.first_examples", lambda *_: None)
    with caplog.at_level(logging.WARNING):
        manifest = run_in_memory(make_config(explain={"batch_size": "auto"}))
    assert manifest["batch_size"] == 64
    assert manifest["batch_size_measured"] == {}
    assert "auto could not be measured" in caplog.text
