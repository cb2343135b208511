"""Input files whose names are not UTF-8: explained, resumed and verified like any others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from small_dataset import MakeConfig

from pipeline.commands.run import run
from pipeline.commands.verify import verify
from pipeline.run.in_memory import run_in_memory
from pipeline.run.progress import Progress
from transforms.filesystems import BeamStorage

NAME = b"caf\xe9\\.tfrecord"
TEXT = r"caf\xe9\\.tfrecord"


def test_a_name_that_is_not_utf8_survives(
    make_config: MakeConfig, tfrecords: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(os.fsencode(tfrecords / "data-0.tfrecord"), os.fsencode(folder) + b"/" + NAME)
    source = make_config().as_dict()["source"] | {"pattern": f"{folder}/*.tfrecord"}
    config = make_config(source=source, output={"path": str(tmp_path / "atlas")})
    manifest = run_in_memory(config)
    assert [shard["path"] for shard in manifest["shards"]] == [f"{folder}/{TEXT}"]
    assert manifest["explained_examples"] == 18
    again = run(config, "resume", ["--runner=FnApiRunner"], Progress(None))
    assert again["blocks_resumed"] == 3
    assert verify(str(tmp_path / "atlas"), BeamStorage(), config)["problems"] == []
