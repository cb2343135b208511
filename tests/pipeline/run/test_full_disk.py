"""A disk that takes no more, and folders that cannot be written: exit code 3, the path named."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from small_dataset import MakeConfig, atlas_bytes

from pipeline.cli import main

ROOT = Path(__file__).parents[3]
LARGEST_FILE = 7_000  # bytes: the manifest fits, a block of maps does not
RUNNER = ["--", "--runner=FnApiRunner"]


@pytest.fixture
def config_file(make_config: MakeConfig, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(make_config().as_dict()))
    return path


def run(config: Path, limit: int) -> subprocess.CompletedProcess[str]:
    def with_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(  # noqa: S603 - this Python and this project
        [sys.executable, "-m", "pipeline", "run", str(config), *RUNNER],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=with_limit,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_full_disk_stops_the_run_and_resume_finishes_it(
    config_file: Path, finished_atlas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = run(config_file, limit=LARGEST_FILE)
    assert stopped.returncode == 3, stopped.stderr
    (message,) = [line for line in stopped.stderr.splitlines() if line.startswith("error: ")]
    assert "File too large" in message
    assert f"{tmp_path}/atlas/maps/data-" in message
    assert "go on with --resume" in message
    assert "Traceback" not in stopped.stderr
    assert not list((tmp_path / "atlas").rglob("maps/*/*"))  # half a file is no file
    assert main(["run", str(config_file), "--resume", *RUNNER]) == 0, capsys.readouterr().err
    assert atlas_bytes(tmp_path / "atlas") == atlas_bytes(finished_atlas)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 KiB, which is half of what the atlas takes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if _mount("-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)):
        pytest.skip("only the superuser may mount a disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)  # noqa: S603, S607


def _mount(*arguments: str) -> int:
    command = ["mount", *arguments]
    return subprocess.run(command, check=False, capture_output=True).returncode  # noqa: S603


def test_a_small_disk_fills_up_and_resume_finishes_once_there_is_room(
    small_disk: Path,
    config_file: Path,
    finished_atlas: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    atlas = small_disk / "atlas"
    given = ["run", str(config_file), "--set", f"output.path={atlas}", "--resume"]
    for option, said in (("", "No space left on device"), (",ro", "Read-only file system")):
        assert _mount("-o", f"remount,size=32k{option}", str(small_disk)) == 0
        assert main([*given, *RUNNER]) == 3
        printed = capsys.readouterr().err
        (message,) = [line for line in printed.splitlines() if line.startswith("error: ")]
        assert said in message
        assert str(atlas) in message
        assert "--resume" in message
        assert "Traceback" not in printed
    expected = atlas_bytes(finished_atlas)
    kept = {name: data for name, data in atlas_bytes(atlas).items() if name.startswith("maps/")}
    assert kept
    assert kept.items() < expected.items()
    assert _mount("-o", "remount,rw,size=10m", str(small_disk)) == 0
    assert main([*given, *RUNNER]) == 0
    assert atlas_bytes(atlas) == expected


def _below_a_file(folder: Path) -> Path:
    (folder / "file").write_bytes(b"")
    return folder / "file" / "atlas"


def _too_long(folder: Path) -> Path:
    return folder / ("x" * 300)


def _read_only(folder: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("permissions do not stop the superuser")
    (folder / "closed").mkdir(mode=0o500)
    return folder / "closed" / "atlas"


@pytest.mark.parametrize(("make", "code"), [(_below_a_file, 2), (_too_long, 2), (_read_only, 3)])
def test_a_folder_that_cannot_be_written_is_named(
    make: Callable[[Path], Path],
    code: int,
    config_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = make(tmp_path)
    given = ["run", str(config_file), "--set", f"output.path={path}", *RUNNER]
    assert main(given) == code
    printed = capsys.readouterr().err
    (message,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert str(path) in message
    assert "Traceback" not in printed
