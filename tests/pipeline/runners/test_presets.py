from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline import cli
from pipeline.runners.presets import PRESETS


def test_the_names_are_those_of_the_documentation() -> None:
    assert list(PRESETS) == ["local", "local-multi", "flink", "prism", "dataflow"]
    assert all(flags[0].startswith("--runner=") for flags in PRESETS.values())


def test_the_names_come_without_beam() -> None:
    program = "import sys, pipeline.runners.presets; print('apache_beam' in sys.modules)"
    found = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert found.stdout == "False\n"


def test_a_class_of_beams_is_no_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "c.yaml", "--runner=FlinkRunner"]) == cli.CONFIGURATION_ERROR
    assert capsys.readouterr().err.endswith(
        "error: argument --runner: 'FlinkRunner' is not local, local-multi, flink, prism or "
        "dataflow; a runner of Beam's own goes after all else: -- --runner=FlinkRunner\n"
    )
