"""A few quick ones of the models that scripts/models tries, and that it can tell wrong ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_trials import methods, trial
from model_trials.kind import Kind
from model_trials.kinds import all_kinds

KINDS = {kind.name: kind for kind in all_kinds()}


def test_names_are_distinct_and_many() -> None:
    assert len(KINDS) == len(list(all_kinds())) >= 60


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("GRU, saved", "right"),
        ("one sigmoid's logit, saved", "right"),
        ("segmentation", "right"),
        ("two inputs, none named", "refused"),
        ("two inputs, model.keras", "right"),
        ("two inputs, saved", "right"),
        ("dropout always on", "refused"),
        ("bytes, saved", "right"),
        ("tokens, convolution, model.keras", "right"),
        ("channels first, model.keras", "right"),
        ("detection, model.keras", "right"),
        ("a signature by its name", "right"),
        ("a column per feature", "right"),
        ("two inputs fed by features, saved, openvino", "right"),
    ],
)
def test_quick_ones(name: str, verdict: str, tmp_path: Path) -> None:
    assert trial.attempt(KINDS[name], tmp_path).verdict == verdict


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("a model in a model", "right"), ("table, model.keras", "refused")],
)
def test_methods_are_tried_on_them(name: str, verdict: str, tmp_path: Path) -> None:
    assert set(methods.REFUSALS) <= set(KINDS)
    assert methods.attempt(KINDS[name], "grad_cam", tmp_path).verdict == verdict


def broken(kind: Kind, tmp_path: Path, **changes: object) -> str:
    return trial.attempt(dataclasses.replace(kind, **changes), tmp_path).verdict  # type: ignore[arg-type]


def test_what_is_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = KINDS["table, model.keras"]
    assert broken(table, tmp_path, refusal="something") == "NOT REFUSED"
    assert broken(table, tmp_path, operator="segmentation") == "UNEXPECTED REFUSAL"
    plain = trial._plain
    for wrong in (lambda *given: -plain(*given), lambda *given: 1.01 * plain(*given)):
        monkeypatch.setattr(trial, "_plain", wrong)
        assert broken(table, tmp_path) == "WRONG"
    monkeypatch.setattr(trial, "_explained", lambda *_: 1 / 0)
    assert broken(table, tmp_path) == "TRACEBACK"


def test_a_tie_is_told_from_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, calls = trial._plain, []

    def off_once(kind: Kind, model: Any, values: Any) -> Any:
        calls.append(values)
        gradients = np.array(plain(kind, model, values))
        gradients[0] *= 1.004 if len(calls) == 1 else 1
        return gradients

    monkeypatch.setattr(trial, "_plain", off_once)
    outcome = trial.attempt(KINDS["table, model.keras"], tmp_path)
    assert outcome.verdict == "right"
    assert "1 of 9 maps at a tie" in outcome.detail
    assert not (calls[0] == calls[1]).any()  # other inputs
