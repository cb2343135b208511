"""The folder of an audit: whole or not at all, whatever fails."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path

import pytest
from simulated_atlas import fake_rows, write_atlas

from pipeline.audit.files.folder import read_previous, write_audit
from pipeline.audit.result import AuditResult, PreviousAudit
from pipeline.commands.audit import audit_atlas
from pipeline.config.audit_section import AuditSection
from transforms.disk import SystemDisk
from transforms.errors import RunError
from transforms.storage import LocalStorage

GATE = {"statistic": "corner_energy_mean", "below": 0.2}


class FailingDisk(SystemDisk):
    """Every change fails from one of them on: of a file's content, or of a name."""

    def __init__(self, first: int, last: int) -> None:
        self._count = itertools.count()
        self._failing = range(first, last)
        self.failed = False

    def _check(self) -> None:
        if next(self._count) in self._failing:
            self.failed = True
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, file: int, data: memoryview) -> int:
        self._check()
        return super().write(file, data)

    def rename(self, source: str, target: str) -> None:
        self._check()
        super().rename(source, target)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditResult, AuditResult]:
    """An audit that passes and one that fails."""
    root = tmp_path_factory.mktemp("audits")
    path = write_atlas(root / "a", fake_rows(2, 60))
    found = [
        audit_atlas(
            path, AuditSection.model_validate({"gates": [{**GATE, "below": below}]}), None,
            str(root / str(below)), LocalStorage(),
        )
        for below in (0.2, 0.01)
    ]  # fmt: skip
    return found[0], found[1]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_one_audit_takes_the_place_of_another(
    tmp_path: Path, results: tuple[AuditResult, AuditResult]
) -> None:
    good, bad = results
    (tmp_path / "report.html").write_text("mine")
    for result, blessing in ((good, "BLESSED"), (bad, "NOT_BLESSED"), (good, "BLESSED")):
        write_audit(str(tmp_path), result, LocalStorage())
        assert set(content(tmp_path)) == {
            "audit.json", "junit.xml", "summary.md", "metrics.prom", blessing, "report.html"
        }  # fmt: skip
        assert AuditResult.from_json((tmp_path / "audit.json").read_bytes()) == result
        assert read_previous(str(tmp_path), LocalStorage()) == PreviousAudit.of(result)
    undecided = good.model_copy(update={"verdict": "undecided"})
    write_audit(str(tmp_path), undecided, LocalStorage())
    assert not {"BLESSED", "NOT_BLESSED"} & set(content(tmp_path))


@pytest.mark.parametrize("first", range(0, 24, 1))
def test_what_cannot_be_written_changes_nothing(
    tmp_path: Path, results: tuple[AuditResult, AuditResult], first: int
) -> None:
    good, bad = results
    write_audit(str(tmp_path), good, LocalStorage())
    before = content(tmp_path)
    said = ""
    try:
        write_audit(str(tmp_path), bad, LocalStorage(FailingDisk(first, first + 1)))
    except RunError as error:
        said = str(error)
    after = content(tmp_path)
    assert said.startswith(f"the audit cannot be written to {tmp_path} (" if said else "")
    assert ("NOT_BLESSED" in after) == (not said)
    assert after == before or not said


def test_a_full_disk_never_leaves_a_blessing_beside_other_figures(
    tmp_path: Path, results: tuple[AuditResult, AuditResult]
) -> None:
    good, bad = results
    fates = set()
    for first in range(24):
        folder = tmp_path / str(first)
        write_audit(str(folder), good, LocalStorage())
        disk = FailingDisk(first, 10_000)
        try:
            write_audit(str(folder), bad, LocalStorage(disk))
        except RunError:
            there = content(folder)
            assert "NOT_BLESSED" not in there
            if "BLESSED" in there:
                assert AuditResult.from_json(there["audit.json"]) == good
            fates.add("BLESSED" in there)
    assert fates == {True, False}


def test_a_folder_that_cannot_be_made(
    tmp_path: Path, results: tuple[AuditResult, AuditResult]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"the audit cannot be written to .*/file/audit"):
        write_audit(str(tmp_path / "file/audit"), results[0], LocalStorage())


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2}', "[1"])
def test_a_damaged_previous_audit_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "audit.json").write_text(text)
    with pytest.raises(RunError, match=r"audit.json is no audit of format 1 \(.*move it away"):
        read_previous(str(tmp_path), LocalStorage())


def test_the_default_folder_is_in_the_atlas(tmp_path: Path) -> None:
    path = write_atlas(tmp_path / "a", fake_rows(2, 60))
    section = AuditSection.model_validate({"gates": [GATE]})
    audit_atlas(path, section, None, None, LocalStorage())
    assert (tmp_path / "a/audit/BLESSED").exists()
    second = audit_atlas(path, section, None, None, LocalStorage())
    assert second.previous is not None
