"""A Flink job server made of Beam's libraries.

Beam publishes one as a single jar, which is the way to have it. Where a repository does not hold
that jar of the installed version, an older runner's libraries do as well: a job server and its
workers speak a protocol (Beam's Fn API) that does not change between their versions.
"""

from __future__ import annotations

import textwrap
import zipfile
from pathlib import Path

PROJECT = Path(__file__).with_name("flink_job_server.xml")
MAIN_CLASS = "org.apache.beam.runners.flink.FlinkJobServerDriver"
_LINE_BYTES = 70  # A manifest's lines end after 72 bytes, continued ones begin with a space.


def libraries_command(folder: Path) -> list[str]:
    """Maven's command that puts the libraries into a folder."""
    return [
        *("mvn", "-q", "-B", "-f", str(PROJECT), "dependency:copy-dependencies"),
        f"-DoutputDirectory={folder.absolute()}",
    ]


def write_jar(libraries: Path, path: Path) -> None:
    """Writes a jar that starts the job server; beside it have to stay the libraries' folder."""
    names = sorted(f"{libraries.name}/{jar.name}" for jar in libraries.glob("*.jar"))
    lines = ["Manifest-Version: 1.0", f"Main-Class: {MAIN_CLASS}"]
    class_path = textwrap.wrap(
        "Class-Path: " + " ".join(names),
        _LINE_BYTES,
        subsequent_indent=" ",
        drop_whitespace=False,
        break_on_hyphens=False,
    )
    manifest = "\r\n".join([*lines, *class_path, "", ""])
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", manifest)
