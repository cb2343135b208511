from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.commands import native_stderr as quiet


def test_native_stderr_is_dropped_unless_there_is_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        with quiet.native_stderr_held_back():
            os.write(2, b"no AVX\n")
            raise ImportError

    with quiet.native_stderr_held_back():
        os.write(2, b"searching for a GPU\n")
    with pytest.raises(ImportError):
        fail()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "no AVX\nafter\n"


def test_tensorflow_starts_without_a_word() -> None:
    start = "from pipeline.commands.native_stderr import start_tensorflow; start_tensorflow()"
    program = f"{start}; import tensorflow"
    command = [sys.executable, "-c", program]
    started = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    assert started.stderr == ""
