"""Atlases of files that are read in portions: the same bytes, resumed too."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
from small_dataset import MakeConfig, atlas_bytes

from pipeline import cli
from pipeline.commands.run import run
from pipeline.run import job
from pipeline.run.in_memory import run_in_memory
from pipeline.run.progress import Progress
from transforms.formats import portions
from transforms.storage import Storage


@pytest.fixture
def folder(tfrecords: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tfrecords, tmp_path / "data"))


def test_portions_leave_no_trace_in_an_atlas(
    folder: Path,
    make_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = {**make_config().as_dict()["source"], "pattern": str(folder / "*")}
    whole = make_config(source=source, output={"path": str(tmp_path / "whole")})
    run_in_memory(whole)
    expected = atlas_bytes(tmp_path / "whole")

    assert cli.main(["index", str(folder / "*.tfrecord")]) == cli.DONE
    assert capsys.readouterr().out == "indexed 40 records in 3 files\n"
    monkeypatch.setattr(job, "plan_portions", partial(portions.plan_portions, portion_bytes=1))
    split = make_config(source=source, output={"path": str(tmp_path / "split")})
    prepared = job.prepare(split, job_storage(), "new")
    assert [(p.first_block, p.stop_block) for p in prepared.job.portions] == [
        *((0, 1), (1, 2), (2, None)),
        *((0, 1), (1, None)),
        (0, None),
    ]
    assert len(prepared.job.shards) == 3  # the indexes are not among them

    run(split, "new", [], Progress(None))
    assert atlas_bytes(tmp_path / "split") == expected
    for path in sorted((tmp_path / "split" / "maps").rglob("block-*.parquet"))[1::2]:
        path.unlink()
    manifest = run(split, "resume", [], Progress(None))
    assert atlas_bytes(tmp_path / "split") == expected
    assert (manifest["blocks_resumed"], manifest["metrics"]["blocks_committed"]) == (3, 3)
    manifest = run(split, "resume", [], Progress(None))
    assert "records_read" not in manifest["metrics"]  # no portion is opened again

    # What was begun in portions is completed without, and the other way round.
    next((tmp_path / "whole" / "maps").rglob("block-00001.parquet")).unlink()
    run(whole, "resume", [], Progress(None))
    assert atlas_bytes(tmp_path / "whole") == expected


def job_storage() -> Storage:
    from transforms.filesystems import BeamStorage

    return BeamStorage()
