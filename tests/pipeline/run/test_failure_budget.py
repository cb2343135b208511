"""More failures than are allowed: exit code 3 at the end, what could be explained kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_dataset import MakeConfig, atlas_bytes

from pipeline.cli import main
from pipeline.commands.verify import verify
from pipeline.run.in_memory import run_in_memory
from transforms.storage import LocalStorage

RUNNER = ["--quiet", "--", "--runner=FnApiRunner"]


def test_beyond_the_budget_the_run_fails_keeps_its_maps_and_says_how_to_go_on(
    make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_in_memory(make_config(output={"path": str(tmp_path / "expected")}))
    config = tmp_path / "config.yaml"
    allowed = {"max_fraction": 0.07}  # 3 of 40 records fail: 0.075
    config.write_text(yaml.safe_dump(make_config(failures=allowed).as_dict()))
    assert main(["run", str(config), *RUNNER]) == 3
    message = capsys.readouterr().err
    assert "3 of 40 records failed, more than failures.max_fraction allows (0.07)" in message
    assert f"{tmp_path}/atlas/failures.parquet" in message
    assert "--resume with --set failures.max_fraction=1.0 accepts it" in message
    assert atlas_bytes(tmp_path / "atlas") == atlas_bytes(tmp_path / "expected")
    assert verify(str(tmp_path / "atlas"), LocalStorage())["problems"] == []
    for fraction in ("1.0", "0.075"):
        again = ["run", str(config), "--resume", "--set", f"failures.max_fraction={fraction}"]
        assert main([*again, *RUNNER]) == 0
        assert atlas_bytes(tmp_path / "atlas") == atlas_bytes(tmp_path / "expected")
