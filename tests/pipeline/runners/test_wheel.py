from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from pipeline.runners.wheel import write_wheel

ROOT = Path(__file__).parents[3]


def test_the_wheel_holds_the_imported_code(tmp_path: Path) -> None:
    path = write_wheel(tmp_path)
    assert path.name.startswith("saliency_atlas-")
    with zipfile.ZipFile(path) as archive:
        for name in ("pipeline/run/graph.py", "transforms/saliency/program.py"):
            assert archive.read(name) == (ROOT / name).read_bytes()
        sources = {name for name in archive.namelist() if name.endswith(".py")}
    there = [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("transforms/**/*.py")]
    assert sources == {str(each.relative_to(ROOT)) for each in there}


def test_the_same_package_makes_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    assert write_wheel(tmp_path).read_bytes() == write_wheel(tmp_path / "again").read_bytes()


def test_pip_installs_it(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path)
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, cwd=tmp_path)  # noqa: S603
    program = "import pipeline.runners.presets; print(pipeline.runners.presets.__file__)"
    found = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=target,
        env={"PYTHONPATH": str(target)},
    )
    assert Path(found.stdout.strip()) == target / "pipeline" / "runners" / "presets.py"
