"""A run with nothing, or too little, to explain ends with 3 unless that is accepted."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from small_dataset import MakeConfig

from pipeline.atlas import Atlas
from pipeline.cli import main


def test_too_little(
    make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = pa.schema({"image": pa.binary(), "label": pa.int64()})
    pq.write_table(schema.empty_table(), tmp_path / "empty.parquet")
    source = {
        "pattern": str(tmp_path / "empty.parquet"),
        "format": "parquet",
        "features": {"input": "image", "label": "label"},
    }
    document = make_config(source=source).as_dict()
    config, atlas = tmp_path / "config.yaml", str(tmp_path / "atlas")
    config.write_text(yaml.safe_dump(document))

    assert main(["run", str(config), "--quiet"]) == 3
    assert "the input files hold no record: is source.pattern right?" in capsys.readouterr().err
    assert Atlas.open(atlas).manifest["status"] == "failed"
    assert main(["verify", atlas]) == 3
    assert "accept it with --resume --allow-empty" in capsys.readouterr().out

    resumed = ["run", str(config), "--quiet", "--resume", "--allow-empty"]
    assert main([*resumed, "--min-examples", "1"]) == 3
    message = "0 examples were explained, fewer than --min-examples asks for (1)"
    assert message in capsys.readouterr().err
    assert main(resumed) == 0
    assert Atlas.open(atlas).manifest["status"] == "complete"
    assert main(["run", str(config), "--min-examples", "-1"]) == 2
