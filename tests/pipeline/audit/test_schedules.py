"""The cron line and the workflow's shell that pipeline/README.md gives, run by a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import documentation
import pytest
import yaml
from architecture import ROOT
from simulated_atlas import fake_rows, write_atlas

from pipeline.config.keys import load_audit

PAGE = ROOT / "pipeline/README.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a job works: configurations, two atlases, and `saliency-atlas` on the path."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    rows = fake_rows(3, 200)
    write_atlas(tmp_path / "atlases/train", rows)
    rows["corner_energy"][rows["target"] == 1] = 0.5
    write_atlas(tmp_path / "atlases/marked", rows)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/saliency-atlas"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pipeline "$@"\n')
    program.chmod(0o755)
    return tmp_path


def shell(folder: Path, script: str, **environment: str) -> int:
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment}
    # As GitHub starts it: the first command that fails ends the script.
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=variables, check=False).returncode  # noqa: S603


def yaml_of(kind: str) -> Any:
    (found,) = [each for each in documentation.blocks(PAGE, "yml") if kind in each]
    return yaml.safe_load(found)


def test_the_cron_line_audits(folder: Path) -> None:
    (line,) = documentation.blocks(PAGE, "cron")
    *times, command = line.strip().split(maxsplit=5)
    assert times == ["0", "3", "*", "*", "*"]
    command = command.replace("/srv/atlas", str(folder))
    assert shell(folder, command) == 0
    assert (folder / "audit/BLESSED").exists()
    assert "5 gates passed in 13 comparisons." in (folder / "audit.log").read_text()
    assert shell(folder, command.replace("atlases/train", "atlases/marked")) == 1
    assert shell(folder, command.replace("atlases/train", "atlases/none")) == 2


def test_the_workflows_shell_posts_the_summary_and_fails_with_the_audit(folder: Path) -> None:
    workflow = yaml_of("runs-on")
    (step,) = [each for each in workflow["jobs"]["audit"]["steps"] if each.get("name") == "audit"]
    summary = folder / "step.md"
    for atlas, code in (("atlases/train", 0), ("atlases/marked", 1)):
        summary.write_text("")
        said = {"GITHUB_STEP_SUMMARY": str(summary), "ATLAS": atlas}
        assert shell(folder, step["run"], **said) == code
        assert summary.read_text() == (folder / "audit/summary.md").read_text()
    assert "## Audit: fail" in summary.read_text()


def test_kubernetes_tries_again_what_broke_and_not_what_failed() -> None:
    spec = yaml_of("CronJob")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["values"] == [1, 2]
    (container,) = job["template"]["spec"]["containers"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert container["command"][:2] == ["saliency-atlas", "audit"]


def test_the_gates_of_the_night_are_gates() -> None:
    assert len(load_audit(str(ROOT / "configs/audit-nightly.yaml")).gates) == 5
    assert len(load_audit(str(ROOT / "configs/demo-audit.yaml")).gates) == 4
