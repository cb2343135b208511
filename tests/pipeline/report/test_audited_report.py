"""The report of an atlas with an audit beside it: the verdict, and what fails."""

from __future__ import annotations

import re
from pathlib import Path

from reported_atlas import Fake, text_of, write_atlas

from pipeline.atlas import Atlas
from pipeline.audit.result import AuditResult
from pipeline.commands.audit import audit_atlas
from pipeline.config.audit_section import AuditSection
from pipeline.report import write
from transforms.elements import Failure
from transforms.storage import LocalStorage


def read_result(atlas: Path) -> AuditResult:
    """The audit beside an atlas."""
    return AuditResult.from_json((atlas / "audit/audit.json").read_bytes())


def test_figures_and_thresholds_of_a_failure_read_differently(tmp_path: Path) -> None:
    failures = [Failure("a.tfrecord", n, None, "decode", "Undecodable", "no") for n in range(3)]
    write_atlas(tmp_path / "atlas", Fake(classes=3, failures=failures))
    gates = [
        {"name": "read", "statistic": "failed_fraction", "below": 0.00012},
        {"name": "gini", "statistic": "gini_mean", "below": 0.12345},
        {"name": "sure", "statistic": "score_mean", "above": 1.004},
    ]
    section = AuditSection.model_validate({"gates": gates, "min_n": 20})
    audit_atlas(str(tmp_path / "atlas"), section, None, None, LocalStorage())
    root = tmp_path / "atlas/audit/audit.json"
    close = read_result(tmp_path / "atlas").model_dump(by_alias=True)
    for each in close["gates"]:  # as close as no sample of this size can tell
        if each["gate"] != "sure":
            each |= {"value": 1.001 * each["threshold"]["high"], "verdict": "fail"}
    root.write_bytes(AuditResult.model_validate(close).to_json())
    write(Atlas.open(str(tmp_path / "atlas")), str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    text = text_of(page)
    assert "failed records 0.01201%; it has to be below 0.01200%." in text
    assert "concentration 0.124; it has to be below 0.123." in text
    assert "score 1.000; it has to be above 1.004." in text
    assert "The axis of what is in \u00d7 runs from a quarter to 16 times an even map" in text
    assert "The other axis runs from 0 to 1." in text  # that of gini; scores have none
    cells = re.findall(r'<td class="statistic s2".*?</td>', page, re.S)
    assert len(cells) == 3
    assert not any("<use" in cell or "<circle" in cell for cell in cells)


def test_an_audit_beside_the_atlas_is_the_verdict(tmp_path: Path) -> None:
    write_atlas(tmp_path / "atlas", Fake(names=[f"kind {n}" for n in range(10)]))
    storage = LocalStorage()
    gates = [
        {"name": "no <corner>", "statistic": "corner_energy_mean", "below": 0.25},
        {"name": "no border", "statistic": "border_energy_mean", "below": 0.9},
    ]

    def audited(gates: list[dict[str, object]], **keys: object) -> str:
        section = AuditSection.model_validate({"gates": gates, "min_n": 20, **keys})
        audit_atlas(str(tmp_path / "atlas"), section, None, None, storage)
        write(Atlas.open(str(tmp_path / "atlas")), str(tmp_path / "report.html"))
        return text_of((tmp_path / "report.html").read_text())

    text = audited(gates)
    (failing,) = (each for each in read_result(tmp_path / "atlas").gates if each.verdict == "fail")
    page = (tmp_path / "report.html").read_text()
    card = page[page.index('<article class="card fail">') : page.index("</article>")]
    shown = re.findall(r'<figcaption><bdi class="id">([^<]*)</bdi>', card)
    assert len(shown) == 6
    assert shown == list(failing.examples)
    assert "those that weigh most, by the audit" in card
    assert "\u2715 fails 1 of 2 gates fails. kind 1 fails \u201cno <corner>\u201d: " in text
    assert "strongest corner 8.0\u00d7; it has to be below 4.0\u00d7." in text
    assert "examples50" in text
    assert "2 new" not in text
    text = audited(gates[1:])
    assert "\u2713 passes The gate holds in 10 classes. kind 1 stands out at one place" in text
    text = audited(gates[1:], min_n=200)
    assert "? undecided Undecided: 10 comparisons cannot be judged." in text
    assert "10 have fewer than 200 examples." in text
    text = audited(gates[1:], min_n=200, undecided="fail")
    assert "\u2715 fails Undecided: 10 comparisons cannot be judged." in text
    assert "10 have fewer than 200 examples. The configuration makes that a failure." in text
    warning = [{**gate, "severity": "warn"} for gate in gates]
    text = audited(warning)
    assert (
        "\u2713 passes Nothing fails that counts. 1 failure below is waived or only warns." in text
    )
    text = audited(warning, min_n=200)
    assert (
        "\u2713 passes Nothing fails. 20 comparisons cannot be judged, of gates that only" in text
    )
    text = audited([warning[0], {**gates[1], "above": 0.9, "below": None}], min_n=20)
    assert "\u2715 fails 1 of 2 gates fails." in text
    assert "The audit is older" not in text
    old = read_result(tmp_path / "atlas").model_copy(update={"made": "2026-05-01T10:00:00+00:00"})
    (tmp_path / "atlas/audit/audit.json").write_bytes(old.to_json())
    write(Atlas.open(str(tmp_path / "atlas")), str(tmp_path / "report.html"))
    page = text_of((tmp_path / "report.html").read_text())
    assert "The audit is older than the atlas's last run" in page
    assert "1 of 2 gates fails." in page
    text = audited([{"statistic": "failed_fraction", "below": 0.01}])
    assert "\u2713 passes The gate holds. kind 1 stands out" in text
    (tmp_path / "atlas/audit/audit.json").write_text("{}")
    write(Atlas.open(str(tmp_path / "atlas")), str(tmp_path / "report.html"))
    text = text_of((tmp_path / "report.html").read_text())
    assert "The audit beside this atlas is damaged, or of another version: not shown." in text
    assert "kind 1 differs from all other classes" in text
