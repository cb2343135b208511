"""The files of an audit, read by the parsers of those who wait for them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import junitparser
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from simulated_atlas import fake_rows, write_atlas

from pipeline.atlas import Atlas
from pipeline.audit.audit import audit
from pipeline.audit.files.folder import audit_files
from pipeline.audit.files.markdown import verdict_sentence
from pipeline.audit.files.words import sentence
from pipeline.audit.result import AuditResult, Threshold
from pipeline.commands.audit import print_audit
from pipeline.config.audit_section import AuditSection

HOSTILE = 'a<b>&"|`@x`\n\x1b[31m\u202e\\ ]]>'
SECTION = AuditSection.model_validate(
    {
        "gates": [
            {"name": HOSTILE, "statistic": "corner_energy_mean", "below": 0.2},
            {"name": "waived", "statistic": "corner_energy_mean", "below": 0.21},
            {"name": "warns", "statistic": "corner_energy_mean", "below": 0.22, "severity": "warn"},
            {"name": "by camera", "statistic": "entropy_mean", "below": 0.9,
             "where": {"slice": "camera"}},
            {"statistic": "failed_fraction", "below": 0.2},
        ],
        "waivers": [{"gate": "waived", "until": "2999-12-31", "reason": f"because {HOSTILE}"}],
    }
)  # fmt: skip
NAMES = [HOSTILE, "plain", "dog | cat"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> AuditResult:
    """Three classes of 100, of which the first fails; one camera has few examples."""
    rows = fake_rows(3, 100, cameras=["A", "A", "A", HOSTILE, None])
    rows["corner_energy"][rows["target"] == 0] = 0.5
    path = write_atlas(tmp_path_factory.mktemp("atlas") / "a", rows, class_names=NAMES)
    return audit(Atlas.open(path), SECTION)


@pytest.fixture(scope="module")
def files(result: AuditResult) -> dict[str, bytes]:
    return audit_files(result)


def test_json_has_the_schema_and_comes_back(result: AuditResult, files: dict[str, bytes]) -> None:
    content = json.loads(files["audit.json"])
    schema = AuditResult.model_json_schema(by_alias=True, mode="serialization")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "verdict": "maybe"}, schema)
    assert AuditResult.from_json(files["audit.json"]) == result
    assert content["format"] == 1
    assert {
        "gate", "statistic", "class", "class_name", "slice", "slice_value", "n", "value", "low",
        "high", "threshold", "verdict", "severity", "waived_until", "status", "examples",
    } < set(content["gates"][0])  # fmt: skip
    assert len(files["audit.json"].splitlines()) == len(result.gates) + 20


def test_an_audit_without_comparisons_is_json_too(result: AuditResult) -> None:
    empty = result.model_copy(update={"gates": []})
    assert AuditResult.from_json(empty.to_json()) == empty


def test_junit_says_what_failed_and_what_was_skipped(
    result: AuditResult, files: dict[str, bytes]
) -> None:
    found = junitparser.JUnitXml.fromstring(files["junit.xml"])
    cases = {(suite.name, case.name): case for suite in found for case in suite}
    assert len(cases) == len(result.gates) == 3 * 3 + 9 + 1
    failed = [
        key
        for key, case in cases.items()
        if any(isinstance(each, junitparser.Failure) for each in case.result)
    ]
    skipped = [
        key
        for key, case in cases.items()
        if any(isinstance(each, junitparser.Skipped) for each in case.result)
    ]
    assert len(failed) == 1
    # Attributes hold line ends as spaces when they come back, and no control characters at all.
    suite, name = failed[0]
    assert suite == name == HOSTILE.replace("\x1b", "\ufffd")
    assert (found.tests, found.failures, found.errors) == (len(cases), 1, 0)
    undecided = [each for each in result.gates if each.verdict == "undecided"]
    assert len(undecided) == 6
    assert len(skipped) == found.skipped == len(undecided) + 2
    assert (
        cases["waived", name].result[0].message.startswith("waived until 2999-12-31, because a<b>")
    )
    assert cases["warns", name].result[0].message.startswith("fails, and only warns: ")
    message = cases[failed[0]].result[0].message
    assert "corner_energy_mean is 0.5 (0.5 to 0.5), n = 100; it has to be below 0.2" in message
    assert cases[failed[0]].result[0].text.count("\n0-") == 6


def test_classes_of_one_name_are_cases_of_their_own(result: AuditResult) -> None:
    passing = next(each for each in result.gates if each.verdict == "pass")
    cranes = [
        dataclasses.replace(passing, class_number=number, class_name=name, slice=None)
        for number, name in ((134, "crane"), (135, "heron"), (517, "crane"))
    ]
    xml = audit_files(result.model_copy(update={"gates": cranes}))["junit.xml"]
    (suite,) = junitparser.JUnitXml.fromstring(xml)
    assert [case.name for case in suite] == ["crane (class 134)", "heron", "crane (class 517)"]


def test_a_change_is_told_from_a_value(result: AuditResult) -> None:
    passing = next(each for each in result.gates if each.change is None)
    known: dict[str, Any] = {
        "class_number": 3,
        "class_name": " ",
        "slice": None,
        "n": 50,
        "note": None,
    }
    known |= {"statistic": "accuracy", "value": 0.75, "low": 0.01, "high": 0.09}
    close = Threshold(low=0.5, high=0.50001, of="value")
    value = dataclasses.replace(passing, threshold=close, change=None, **known)
    assert sentence(value) == (
        "class 3 (its name is empty): accuracy is 0.75 (0.01 to 0.09), n = 50; it has to be "
        "between 0.5 and 0.50001"
    )
    within = Threshold(low=-0.02, high=0.02, of="change")
    change = dataclasses.replace(passing, threshold=within, change=0.05, verdict="fail", **known)
    assert sentence(change) == (
        "class 3 (its name is empty): accuracy changed by 0.05 (0.01 to 0.09), n = 50; the change "
        "has to be between -0.02 and 0.02"
    )
    summary = audit_files(result.model_copy(update={"gates": [change]}))["summary.md"].decode()
    assert "| accuracy changed by 0.05 (0.01 to 0.09), n = 50 | change between -0.02 and" in summary


def test_prometheus_reads_the_metrics(result: AuditResult, files: dict[str, bytes]) -> None:
    families = {
        each.name: each for each in text_string_to_metric_families(files["metrics.prom"].decode())
    }
    assert all(name.startswith("saliency_atlas_audit_") for name in families)
    verdicts = {
        each.labels["verdict"]: each.value
        for each in families["saliency_atlas_audit_verdict"].samples
    }
    assert verdicts == {"pass": 0, "fail": 1, "undecided": 0}
    counts = {
        (each.labels["gate"], each.labels["verdict"]): each.value
        for each in families["saliency_atlas_audit_comparisons"].samples
    }
    assert counts[HOSTILE, "fail"] == 1
    assert counts["by camera", "undecided"] == 6
    assert sum(counts.values()) == len(result.gates)
    values = families["saliency_atlas_audit_value"].samples
    assert len({tuple(sorted(each.labels.items())) for each in values}) == len(result.gates)
    assert {each.labels.get("slice_value_is_null") for each in values} == {None, "0", "1"}
    assert [each.value for each in families["saliency_atlas_audit_failing"].samples] == [
        1,
        0,
        0,
        0,
        0,
    ]


def test_many_comparisons_have_no_series_of_their_own(result: AuditResult) -> None:
    first = result.gates[0]
    many = [dataclasses.replace(first, class_number=number) for number in range(1001)]
    text = audit_files(result.model_copy(update={"gates": many}))["metrics.prom"].decode()
    families = {each.name: each for each in text_string_to_metric_families(text)}
    assert not families["saliency_atlas_audit_value"].samples
    assert families["saliency_atlas_audit_failing"].samples[0].value == 1001


def test_the_summary_holds_what_data_says_as_text(files: dict[str, bytes]) -> None:
    text = files["summary.md"].decode()
    lines = text.splitlines()
    assert lines[0] == "## Audit: fail"
    assert lines[2] == "1 of 5 gates fails, in 1 of 19 comparisons."
    for line in lines:
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (6, 7), line
    assert not re.search("[\x1b\u202e]|(?<!\\\\)[<`@]", text)
    assert "| by camera | entropy\\_mean below 0.9 | 3 | 0 | 6 | 0 |" in lines
    assert "### Failures" in lines
    assert "### Undecided" in lines


def test_a_sample_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], result: AuditResult
) -> None:
    drawn = {"size": 20, "examples": 4000, "last": None}
    settings = {
        "explain": {"method": "saliency", "reducer": "max"},
        "source": {"sample_drawn": drawn},
    }
    path = write_atlas(tmp_path / "a", fake_rows(2, 10), settings=settings)
    whole = write_atlas(tmp_path / "b", fake_rows(2, 10))
    section = AuditSection.model_validate(
        {"gates": [{"statistic": "failed_fraction", "change": {"within": 0.1}}]}
    )
    said = "20 of 4,000 examples, those whose ids have the smallest hashes."
    for first, second, role in ((path, whole, "atlas"), (whole, path, "baseline")):
        found = audit(Atlas.open(first), section, baseline=Atlas.open(second))
        files = audit_files(found)
        key = "sample" if role == "atlas" else "baseline_sample"
        assert json.loads(files["audit.json"])[key] == {"size": 20, "examples": 4000}
        line = f"The {role} is of a sample: {said}"
        lines = files["summary.md"].decode().splitlines()
        assert [each for each in lines if each.startswith("The ")] == [line]
        print_audit(found)
        assert line in capsys.readouterr().out.splitlines()
    assert "is of a sample" not in audit_files(result)["summary.md"].decode()


def test_the_verdict_is_a_sentence(result: AuditResult) -> None:
    passing = [each for each in result.gates if each.verdict == "pass"]
    unsure = [each for each in result.gates if each.verdict != "fail"]
    allowed = [
        each for each in result.gates if not each.counts_as_failure and each.verdict != "undecided"
    ]

    def said(gates: list[Any], **changes: Any) -> str:
        return verdict_sentence(result.model_copy(update={"gates": gates, **changes}))

    assert said(passing) == "5 gates passed in 10 comparisons."
    assert said(passing[:1]) == "1 gate passed in 1 comparison."
    assert said(unsure, verdict="undecided") == "Nothing fails; 6 of 16 comparisons are undecided."
    fails = {"undecided": "fail", "verdict": "fail"}
    assert said(unsure, **fails).endswith(
        "undecided, which fails the audit (audit.undecided is fail)."
    )
    warns = [dataclasses.replace(each, severity="warn") for each in unsure]
    assert said(warns, undecided="fail", verdict="pass").endswith("16 comparisons are undecided.")
    count = len(allowed)
    assert said(allowed) == (
        f"Nothing fails that counts; 2 of {count} comparisons are waived or only warn."
    )
    one = [each for each in allowed if each.verdict == "fail"][:1]
    assert said(one) == "Nothing fails that counts; 1 of 1 comparison is waived or only warns."
    again = [dataclasses.replace(each, status="known") for each in result.gates]
    assert said(again, previous="yesterday").endswith("; 0 new since yesterday.")


def test_only_what_is_due_blesses(result: AuditResult) -> None:
    def blessing(verdict: str) -> set[str]:
        return set(audit_files(result.model_copy(update={"verdict": verdict}))) & {
            "BLESSED",
            "NOT_BLESSED",
        }

    assert (blessing("pass"), blessing("fail")) == ({"BLESSED"}, {"NOT_BLESSED"})
    assert blessing("undecided") == set()
    assert audit_files(result)["NOT_BLESSED"] == b""


def test_infinite_and_undefined_figures_are_null(tmp_path: Path) -> None:
    rows = fake_rows(1, 60)
    for name in ("spread", "peak_x"):
        rows[name][:] = np.nan
    rows["entropy"][:] = 0.25
    path = write_atlas(tmp_path / "a", rows)
    section = {
        "gates": [
            {"statistic": name, "below": 1}
            for name in ("spread_mean", "spread_q50", "entropy_mean")
        ]
    }
    found = audit(Atlas.open(path), AuditSection.model_validate(section)).gates
    assert [(each.value, each.low, each.verdict) for each in found[:2]] == [
        (None, None, "undecided")
    ] * 2
    assert (found[2].low, found[2].high) == (0.25, 0.25)
