"""Commands that are stopped from outside, and what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from architecture import ROOT

from pipeline import cli
from pipeline.commands import native_stderr
from pipeline.config import keys
from pipeline.stopping import missing_modules_named, remembering_interrupts
from transforms.errors import ConfigurationError

WAITING = """
import sys, time
from pathlib import Path
from pipeline import cli
from pipeline.commands import native_stderr
from pipeline.config import keys
class Config:
    class output: path = "atlas"
def wait(*_):
    Path(sys.argv[1]).touch()
    time.sleep(60)
native_stderr.start_tensorflow = wait
keys.load_config = lambda *_: Config()
sys.exit(cli.main(["run", "c.yaml", "--set", "a=1"]))
"""


def test_a_terminated_run_says_how_to_go_on(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, "-c", WAITING, str(ready)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not ready.exists() and process.poll() is None:
        time.sleep(0.02)
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == cli.TERMINATED == 143
    assert said == (
        "terminated; committed blocks are kept, go on with: "
        "saliency-atlas run c.yaml --set a=1 --resume\n"
    )


def test_a_second_signal_does_not_wait() -> None:
    with remembering_interrupts() as interrupts:
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert interrupts == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_of_somebody_else_stays() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with remembering_interrupts():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ModuleNotFoundError("No module named 'apache_beam'", name="apache_beam"),
            "the module apache_beam is not installed here; pip install . in a checkout",
        ),
        (
            ModuleNotFoundError("No module named 'google.cloud'", name="google.cloud"),
            "the module google.cloud is not installed here; pip install '.[gcp]' in a checkout",
        ),
        (
            ImportError("libcudart.so: cannot open", name="tensorflow"),
            "the module tensorflow cannot be imported (libcudart.so: cannot open); pip install .",
        ),
    ],
)
def test_what_is_not_installed_is_named(error: ImportError, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refusal, missing_modules_named():
        raise error
    assert str(refusal.value).startswith(sentence)


@pytest.mark.parametrize("name", [None, "pipeline.run.graf", "transforms"])
def test_a_module_of_ours_that_is_missing_is_a_bug(name: str | None) -> None:
    with pytest.raises(ImportError), missing_modules_named():
        raise ModuleNotFoundError("it", name=name)


def test_a_command_without_its_libraries_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_tensorflow() -> Any:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr(keys, "load_config", lambda *_: None)
    monkeypatch.setattr(native_stderr, "start_tensorflow", without_tensorflow)
    assert cli.main(["plan", "c.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: the module tensorflow is not installed here")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    name, version = capsys.readouterr().out.split()
    assert name == "saliency-atlas"
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
