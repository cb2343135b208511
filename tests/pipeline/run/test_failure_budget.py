"""More failures than are allowed: exit code 3 at the end, what could be explained kept."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from small_dataset import MakeConfig, atlas_bytes

from pipeline.cli import main
from pipeline.commands.verify import verify
from transforms.storage import LocalStorage

RUNNER = ["--quiet", "--", "--runner=FnApiRunner"]


def test_beyond_the_budget_the_run_fails_keeps_its_maps_and_says_how_to_go_on(
    make_config: MakeConfig,
    finished_atlas: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "config.yaml"
    allowed = {"max_fraction": 0.07}  # 3 of 40 records fail: 0.075
    config.write_text(yaml.safe_dump(make_config(failures=allowed).as_dict()))
    assert main(["run", str(config), *RUNNER]) == 3
    message = capsys.readouterr().err
    assert "3 of 40 records failed, more than failures.max_fraction allows (0.07)" in message
    assert f"{tmp_path}/atlas/failures.parquet" in message
    assert "--resume with --set failures.max_fraction=1.0 accepts it" in message
    assert atlas_bytes(tmp_path / "atlas") == atlas_bytes(finished_atlas)
    ((what),) = verify(str(tmp_path / "atlas"), LocalStorage())["problems"]
    assert what["what"].startswith("its status is failed")
    for fraction in ("1.0", "0.075"):
        again = ["run", str(config), "--resume", "--set", f"failures.max_fraction={fraction}"]
        assert main([*again, *RUNNER]) == 0
        assert atlas_bytes(tmp_path / "atlas") == atlas_bytes(finished_atlas)


def test_a_run_stops_once_its_budget_cannot_be_met(
    make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows without an image, 100 times as many as may fail: the first block is enough to know."""
    rows = {"id": [str(row) for row in range(400)], "image": pa.nulls(400, pa.binary())}
    rows["label"] = pa.array([0] * 400)
    pq.write_table(pa.table(rows), tmp_path / "nulls.parquet")
    good = make_config().as_dict()
    source = {**good["source"], "pattern": str(tmp_path / "nulls.parquet"), "format": "parquet"}
    del source["compression"]
    config = tmp_path / "config.yaml"
    failures = {"max_fraction": 0.01}
    made = make_config(source=source, failures=failures, explain={"target": "label"})
    config.write_text(yaml.safe_dump(made.as_dict()))
    code = main(["run", str(config), *RUNNER])
    assert code in (2, 3)
    assert len(list((tmp_path / "atlas" / "maps").rglob("*.parquet"))) <= 2
    assert "Traceback" not in capsys.readouterr().err
