"""The jar that starts an assembled Flink job server."""

from __future__ import annotations

import zipfile
from pathlib import Path

from runner_comparison.flink_job_server import MAIN_CLASS, libraries_command, write_jar


def test_the_manifest_names_every_library_in_lines_that_java_reads(tmp_path: Path) -> None:
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    names = [f"a-library-with-quite-a-name-{number}-1.{number}.jar" for number in range(20)]
    for name in [*names, "notes.txt"]:
        (libraries / name).touch()
    write_jar(libraries, tmp_path / "server.jar")
    with zipfile.ZipFile(tmp_path / "server.jar") as jar:
        text = jar.read("META-INF/MANIFEST.MF").decode()
    assert all(len(line) <= 72 for line in text.split("\r\n"))
    fields = dict(
        line.split(": ", 1) for line in text.replace("\r\n ", "").split("\r\n") if line.strip()
    )
    assert fields["Main-Class"] == MAIN_CLASS
    assert fields["Class-Path"].split() == sorted(f"libraries/{name}" for name in names)


def test_maven_reads_the_project_beside_the_script(tmp_path: Path) -> None:
    command = libraries_command(tmp_path)
    project = Path(command[command.index("-f") + 1])
    assert "beam-runners-flink" in project.read_text()
    assert command[-1] == f"-DoutputDirectory={tmp_path}"
