"""Whole audits of simulated atlases: figures, verdicts, waivers, and what is new."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from simulated_atlas import Rows, fake_rows, write_atlas

from pipeline.atlas import Atlas
from pipeline.audit.audit import audit
from pipeline.audit.result import AuditResult, Comparison, PreviousAudit
from pipeline.config.audit_section import AuditSection

NOW = datetime.datetime(2026, 11, 24, 6, tzinfo=datetime.timezone.utc)
MARKED = 3


@pytest.fixture
def rows() -> Rows:
    """Six classes of 100, one of them with 0.4 more energy in a corner."""
    rows = fake_rows(6, 100)
    marked = rows["target"] == MARKED
    rows["corner_energy"][marked] = np.minimum(rows["corner_energy"][marked] + 0.4, 1)
    return rows


def judge(
    path: str, *gates: dict[str, Any], baseline: str | None = None, **section: Any
) -> AuditResult:
    previous, now = section.pop("previous", None), section.pop("now", NOW)
    return audit(
        Atlas.open(path),
        AuditSection.model_validate({"gates": list(gates), **section}),
        None if baseline is None else Atlas.open(baseline),
        None if previous is None else PreviousAudit.of(previous),
        now=now,
    )


def by_class(result: AuditResult) -> dict[int | None, Comparison]:
    return {each.class_number: each for each in result.gates}


LOW_CORNERS = {"name": "corners", "statistic": "corner_energy_mean", "below": 0.2}


def test_a_class_that_looks_at_a_corner_fails_and_no_other(tmp_path: Path, rows: Rows) -> None:
    result = judge(write_atlas(tmp_path / "a", rows), LOW_CORNERS)
    assert result.verdict == "fail"
    found = by_class(result)
    assert [number for number, each in found.items() if each.verdict == "fail"] == [MARKED]
    failed = found[MARKED]
    values = rows["corner_energy"][rows["target"] == MARKED].astype(float)
    assert failed.value == pytest.approx(values.mean())
    assert failed.n == 100
    ids = rows["example_id"][rows["target"] == MARKED]
    assert list(failed.examples) == ids[np.argsort(-values)][:6].tolist()
    assert failed.low is not None
    assert failed.high is not None
    # Together 95 %: each of six has 0.95 ** (1 / 6), nearly Student's.
    student = stats.ttest_1samp(values, 0).confidence_interval(0.95 ** (1 / 6))
    assert (failed.low, failed.high) == pytest.approx(tuple(student), abs=2e-3)


@pytest.mark.parametrize(
    ("gate", "verdicts"),
    [
        ({"below": 0.2}, "PPPFPP"),
        ({"above": 0.2}, "FFFPFF"),
        ({"between": [0.4, 0.5]}, "FFFPFF"),
        ({"below": 0.0625}, "???F??"),
        ({"below": 0.2, "where": {"class": ["class 3", 1]}}, "PF"),
        ({"below": 0.2, "where": {"class": "class 3"}}, "F"),
        ({"below": 0.2, "where": {"slice": {"camera": "A"}}}, "PPPFPP"),
        ({"below": 0.2, "where": {"class": 3, "slice": "camera"}}, "FF"),
        ({"below": 0.2, "where": {"class": 3, "slice": {"camera": ["A", "B"]}}}, "FF"),
    ],
)
def test_verdicts(tmp_path: Path, rows: Rows, gate: dict[str, Any], verdicts: str) -> None:
    path = write_atlas(tmp_path / "a", rows)
    result = judge(path, {"statistic": "corner_energy_mean", **gate})
    letters = {"pass": "P", "fail": "F", "undecided": "?"}
    assert "".join(letters[each.verdict] for each in result.gates) == verdicts


def test_every_kind_of_statistic_has_its_figure(tmp_path: Path, rows: Rows) -> None:
    rows["peak_x"][:10] = np.nan
    rows["entropy"][:10] = np.nan
    path = write_atlas(tmp_path / "a", rows, failed_records=100, failed_fraction=1 / 7)
    only = {"where": {"class": 0}}
    names = ["entropy_mean", "entropy_q50", "accuracy", "undefined_fraction", "score_mean"]
    gates = [{"statistic": name, "below": 2, **only} for name in names]
    result = judge(path, *gates, {"statistic": "failed_fraction", "below": 2})
    figures = {each.statistic: each for each in result.gates}
    defined = rows["entropy"][10:100].astype(float)
    right = (rows["predicted"] == rows["label"])[:100].mean()
    assert figures["entropy_mean"].n == 90
    assert figures["entropy_mean"].value == pytest.approx(defined.mean())
    assert figures["entropy_q50"].value == pytest.approx(np.median(defined), abs=1 / 256)
    assert figures["accuracy"].value == pytest.approx(right)
    assert figures["undefined_fraction"].value == pytest.approx(0.1)
    assert figures["score_mean"].value == pytest.approx(rows["score"][:100].mean(), abs=1e-6)
    assert figures["failed_fraction"].n == 700
    assert figures["failed_fraction"].value == pytest.approx(1 / 7)
    assert figures["failed_fraction"].class_number is None
    wilson = stats.binomtest(round(right * 100), 100).proportion_ci(0.95, method="wilson")
    assert (figures["accuracy"].low, figures["accuracy"].high) == pytest.approx(tuple(wilson))


def test_few_examples_are_undecided(tmp_path: Path, rows: Rows) -> None:
    path = write_atlas(tmp_path / "a", rows)
    gate = {"statistic": "corner_energy_mean", "below": 0.2, "where": {"slice": {"camera": "A"}}}
    result = judge(path, gate, min_n=51)
    assert result.verdict == "undecided"
    assert {each.note for each in result.gates} == {"50 examples, fewer than audit.min_n, 51"}
    assert judge(path, gate, min_n=51, undecided="fail").verdict == "fail"
    assert judge(path, {**gate, "severity": "warn"}, min_n=51).verdict == "pass"


def test_only_groups_with_examples_enough_make_intervals_wider(tmp_path: Path, rows: Rows) -> None:
    few = rows["target"] >= 2
    small = {name: np.concatenate([each[~few], each[few][::10]]) for name, each in rows.items()}
    two = {name: each[~few] for name, each in rows.items()}
    found = [
        by_class(judge(write_atlas(tmp_path / name, each), LOW_CORNERS))[0].low
        for name, each in (("a", small), ("b", two))
    ]
    assert found[0] == found[1]


def test_a_warning_does_not_fail_an_audit(tmp_path: Path, rows: Rows) -> None:
    path = write_atlas(tmp_path / "a", rows)
    result = judge(path, {**LOW_CORNERS, "severity": "warn"})
    assert result.verdict == "pass"
    assert by_class(result)[MARKED].verdict == "fail"


@pytest.mark.parametrize(
    ("waiver", "verdict", "note"),
    [
        ({"class": "class 3", "until": "2026-11-24"}, "pass", None),
        ({"until": "2027-01-01"}, "pass", None),
        ({"class": 3, "until": "2026-11-23"}, "fail", "the waiver of 2026-11-23 has expired"),
        ({"class": "class 1", "until": "2027-01-01"}, "fail", None),
        ({"slice": {"camera": "A"}, "until": "2027-01-01"}, "fail", None),
    ],
)
def test_a_waiver_holds_to_its_last_day(
    tmp_path: Path, rows: Rows, waiver: dict[str, Any], verdict: str, note: str | None
) -> None:
    path = write_atlas(tmp_path / "a", rows)
    waivers = [{"gate": "corners", "reason": "vignette", **waiver}]
    result = judge(path, LOW_CORNERS, waivers=waivers)
    failed = by_class(result)[MARKED]
    assert result.verdict == verdict
    assert failed.verdict == "fail"
    assert (failed.waived_until is not None) == (verdict == "pass")
    assert failed.note == note
    assert failed.reason == (None if note is None and verdict == "fail" else "vignette")


def test_of_several_waivers_the_longest_counts(tmp_path: Path, rows: Rows) -> None:
    path = write_atlas(tmp_path / "a", rows)
    waivers = [
        {"gate": "corners", "reason": "old", "until": "2026-01-01", "class": 3},
        {"gate": "corners", "reason": "new", "until": "2027-01-01"},
    ]
    assert by_class(judge(path, LOW_CORNERS, waivers=waivers))[MARKED].reason == "new"


def test_failures_are_new_then_known_then_resolved(tmp_path: Path, rows: Rows) -> None:
    path = write_atlas(tmp_path / "a", rows)
    clean = write_atlas(tmp_path / "b", fake_rows(6, 100))
    first = judge(path, LOW_CORNERS)
    second = judge(path, LOW_CORNERS, previous=first)
    unsure = judge(clean, LOW_CORNERS, previous=second, min_n=101)
    third = judge(clean, LOW_CORNERS, previous=unsure)
    fourth = judge(clean, LOW_CORNERS, previous=third)
    statuses = [by_class(each)[MARKED].status for each in (first, second, unsure, third, fourth)]
    assert statuses == ["new", "known", "known", "resolved", None]
    assert {each.status for each in second.gates if each.class_number != MARKED} == {None}
    assert second.previous == first.made


def test_changes_are_paired_where_the_examples_are_the_same(tmp_path: Path, rows: Rows) -> None:
    other = {name: each.copy() for name, each in rows.items()}
    noise = np.random.default_rng(5).normal(0, 0.001, len(rows["target"]))
    other["entropy"] = (rows["entropy"] + 0.01 + noise).astype(np.float32)
    gates = [
        {"name": "mean", "statistic": "entropy_mean", "change": {"within": 0.02}},
        {"name": "sliced", "statistic": "entropy_mean", "change": {"within": 0.02},
         "where": {"slice": {"camera": "A"}}},
        {"name": "outcome", "statistic": "accuracy", "change": {"within": 0.2}},
    ]  # fmt: skip
    path, baseline = write_atlas(tmp_path / "a", other), write_atlas(tmp_path / "b", rows)
    result = judge(path, *gates, baseline=baseline)
    assert result.verdict == "pass"
    assert {each.paired for each in result.gates} == {True}
    first = result.gates[0]
    differences = (other["entropy"].astype(float) - rows["entropy"])[:100]
    student = stats.ttest_1samp(differences, 0).confidence_interval(0.95 ** (1 / 6))
    assert (first.low, first.high) == pytest.approx(tuple(student), abs=5e-5)
    assert first.change == pytest.approx(differences.mean(), abs=1e-9)
    assert first.baseline_value == pytest.approx(rows["entropy"][:100].mean(), abs=1e-6)
    outcome = next(each for each in result.gates if each.gate == "outcome")
    wilson = stats.binomtest(round((outcome.value or 0) * 100), 100).proportion_ci(
        0.95 ** (1 / 6), method="wilson"
    )
    # Not one prediction changed: what is left is how far Wilson's interval is from symmetric.
    assert outcome.high == pytest.approx(abs(wilson.high + wilson.low - 2 * (outcome.value or 0)))


def test_other_examples_are_compared_by_welch(tmp_path: Path) -> None:
    ours, theirs = fake_rows(2, 80, seed=1), fake_rows(2, 120, seed=2)
    theirs["example_id"] = np.array([f"other {name}" for name in theirs["example_id"]], object)
    path = write_atlas(tmp_path / "a", ours)
    baseline = write_atlas(tmp_path / "b", theirs, data="/elsewhere")
    result = judge(
        path, {"statistic": "entropy_mean", "change": {"within": 0.3}}, baseline=baseline
    )
    first = result.gates[0]
    assert first.paired is False
    assert (first.n, first.baseline_n) == (80, 120)
    welch = stats.ttest_ind(
        ours["entropy"][:80].astype(float), theirs["entropy"][:120].astype(float), equal_var=False
    ).confidence_interval(0.95**0.5)
    assert (first.low, first.high) == pytest.approx(tuple(welch), abs=2e-3)


def test_the_same_ids_in_other_files_are_paired_too(tmp_path: Path, rows: Rows) -> None:
    path = write_atlas(tmp_path / "a", rows)
    baseline = write_atlas(tmp_path / "b", rows, data="/elsewhere", shards=3)
    gate = {"statistic": "entropy_mean", "change": {"within": 0.02}}
    assert {each.paired for each in judge(path, gate, baseline=baseline).gates} == {True}


def test_drift_is_found_in_the_class_that_moved(tmp_path: Path, rows: Rows) -> None:
    moved = {name: each.copy() for name, each in rows.items()}
    inside = moved["target"] == MARKED
    moved["sketch"][inside] = moved["sketch"][inside][:, ::-1] * np.linspace(0, 2, 16)
    moved["sketch"][inside] /= moved["sketch"][inside].sum(axis=1, keepdims=True)
    path, baseline = write_atlas(tmp_path / "a", moved), write_atlas(tmp_path / "b", rows)
    result = judge(path, {"statistic": "drift", "below": 0.05}, baseline=baseline)
    assert [each.class_number for each in result.gates if each.verdict == "fail"] == [MARKED]
    failed = by_class(result)[MARKED]
    assert len(failed.examples) == 6
    assert {name.split("-")[0] for name in failed.examples} == {str(MARKED)}


def test_classes_that_share_a_name_are_compared_by_number(tmp_path: Path, rows: Rows) -> None:
    """Two of ImageNet's classes are cranes."""
    names = ["bus", "crane", "dog", "crane", "elk", "fox"]
    rows["sketch"][rows["target"] == MARKED] = np.eye(16)[0]
    path, baseline = (write_atlas(tmp_path / each, rows, class_names=names) for each in "ab")
    gates: list[dict[str, Any]] = [
        {"statistic": "corner_energy_mean", "change": {"within": 0.02}},
        {"statistic": "corner_energy_q50", "change": {"within": 1}},
        {"statistic": "drift", "below": 0.05},
    ]
    where = {"where": {"class": "crane"}}
    result = judge(path, *({**each, **where} for each in gates), baseline=baseline)
    assert [each.class_number for each in result.gates] == [1, MARKED] * 3
    assert {each.verdict for each in result.gates} == {"pass"}
    assert {each.baseline_value == each.value for each in result.gates[:4]} == {True}
    assert [each.value for each in result.gates[4:]] == [0, 0]


def test_a_class_that_the_baseline_lacks_is_undecided(tmp_path: Path, rows: Rows) -> None:
    known = {name: each[rows["target"] < 5] for name, each in rows.items()}
    path, baseline = write_atlas(tmp_path / "a", rows), write_atlas(tmp_path / "b", known)
    gates: list[dict[str, Any]] = [
        {"statistic": "entropy_mean", "change": {"within": 0.02}},
        {"statistic": "entropy_q50", "change": {"within": 0.2}},
        {"statistic": "drift", "below": 0.05},
    ]
    found = [
        each for each in judge(path, *gates, baseline=baseline).gates if each.class_number == 5
    ]
    assert {each.verdict for each in found} == {"undecided"}
    assert {each.note for each in found} == {
        "0 examples in the baseline, fewer than audit.min_n, 50"
    }
