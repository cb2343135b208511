"""Runners that are there make the bytes that the path without Beam makes."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_dataset import MakeConfig, atlas_bytes

from pipeline.commands.run import run
from pipeline.run.progress import Progress
from pipeline.runners.options import pipeline_options
from transforms.errors import ConfigurationError


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("prism", []),
        ("flink", []),
        (
            None,
            [
                "--runner=PortableRunner",
                "--job_endpoint=embed",
                "--environment_type=LOOPBACK",
            ],
        ),
    ],
    ids=["prism", "flink", "portable"],
)
def test_a_runner_makes_the_same_bytes(
    preset: str | None,
    options: list[str],
    make_config: MakeConfig,
    finished_atlas: Path,
    tmp_path: Path,
) -> None:
    try:
        pipeline_options({}, options, preset)
    except ConfigurationError as error:
        pytest.skip(f"{error} (scripts/runners fetches what can be had)")
    manifest = run(make_config(), "new", options, Progress(None), preset)
    assert atlas_bytes(tmp_path / "atlas") == atlas_bytes(finished_atlas)
    assert manifest["blocks"] == 6
