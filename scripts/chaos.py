"""Kills runs at random moments, resumes them, compares what comes out byte for byte.

A half of the kills are aimed: at the steps that take too little time to be hit by chance.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CONFIG = "configs/demo-tfrecord.yaml"
BLOCK_SIZE = 64
POLL_SECONDS = 0.001
LONGEST_START_SECONDS = 6.0
CLASSES, FAILURES = "statistics/classes.parquet", "failures.parquet"
_FINAL_FILES = ("manifest.json", CLASSES, FAILURES)
STAGES = (
    "starting",
    "explaining",
    "committing a block",
    "aggregating",
    "writing final files",
    "writing the manifest",
)
_TEMPORARY = "/.temporary/"
# When a run strikes itself down (chaos_strike/sitecustomize.py): a Python audit event, part of the
# name of the file that it is about, and a file that has to be there by then.
STRIKES = (
    ("open", _TEMPORARY, "manifest.json"),
    ("os.rename", "/block-00001.parquet", ""),
    ("os.rename", "/classes.parquet", ""),
    ("open", _TEMPORARY, CLASSES),
    ("os.rename", "/failures.parquet", ""),
    ("open", _TEMPORARY, FAILURES),
    ("os.rename", "/manifest.json", FAILURES),
)
WORKERS = {
    1: ["--runner=FnApiRunner"],
    2: [
        "--runner=FnApiRunner",
        "--direct_num_workers=2",
        "--direct_running_mode=multi_processing",
    ],
}


def main() -> int:
    """Runs the trials; returns 1 if any atlas differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=32, metavar="N", help="how many in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--method", default="saliency", help="what explain.method is")
    parser.add_argument("--workers", type=int, nargs="+", choices=WORKERS, default=[1, 2])
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)  # noqa: S311 - moments, not secrets
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        launcher = Launcher(arguments.method)
        return _compare_all(Path(folder), arguments.kills, arguments.workers, launcher, generator)


@dataclasses.dataclass(frozen=True)
class Launcher:
    """Starts runs of one method."""

    method: str

    def start(
        self, atlas: Path, workers: int, mode: list[str], strike: tuple[str, str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Starts a run; `strike` is when it kills itself."""
        environment = dict(os.environ)
        if strike is not None:
            event, name, after = strike
            environment["CHAOS_STRIKE"] = f"{event}:{name}:{atlas / after if after else ''}"
            here = str(Path(__file__).with_name("chaos_strike"))
            environment["PYTHONPATH"] = os.pathsep.join(
                [here, *filter(None, [os.environ.get("PYTHONPATH")])]
            )
        command = [sys.executable, "-m", "pipeline", "run", CONFIG, *mode, "--quiet"]
        command += ["--set", f"output.path={atlas}", "--set", f"output.block_size={BLOCK_SIZE}"]
        command += ["--set", f"explain.method={self.method}"]
        return subprocess.Popen(  # noqa: S603 - this Python and this project
            [*command, "--", *WORKERS[workers]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # a process group of its own, to be killed as a whole
        )


def _compare_all(
    folder: Path,
    kills: int,
    workers: list[int],
    launcher: Launcher,
    generator: random.Random,
) -> int:
    expected = _undisturbed(folder, workers, launcher)
    if expected is None:
        return 1
    blocks = sum(name.startswith("maps/") for name in expected)
    stages: dict[int, collections.Counter[str]] = {n: collections.Counter() for n in workers}
    killed = wrong = trials = 0
    while killed < kills:
        count = workers[trials % len(workers)]
        trials += 1
        trial = Trial(folder / "killed", count, blocks, launcher, generator)
        found = trial.run()
        stages[count].update(found)
        killed += len(found)
        difference = _difference(expected, trial.atlas)
        wrong += bool(difference)
        print(
            f"{killed:3d} killed, {count} worker(s): {', '.join(found) or 'too late'}: "
            f"{difference or 'the same bytes'}",
            flush=True,
        )
        shutil.rmtree(trial.atlas)
    _print_table(stages)
    print(f"{killed} runs killed and resumed, {wrong} atlases differ from the undisturbed run")
    return int(wrong > 0)


class Trial:
    """A run that is killed one to three times, and resumed to its end.

    Args:
      atlas: Its output folder.
      workers: How many.
      blocks: How many blocks an atlas has.
      launcher: Starts its runs.
      generator: Of random moments.
    """

    def __init__(
        self,
        atlas: Path,
        workers: int,
        blocks: int,
        launcher: Launcher,
        generator: random.Random,
    ) -> None:
        self.atlas = atlas
        self._workers = workers
        self._blocks = blocks
        self._launcher = launcher
        self._random = generator

    def run(self) -> list[str]:
        """The stages at which it was killed."""
        stages = []
        for number in range(self._random.choice([1, 1, 2, 3])):
            mode = ["--resume"] if number else []
            before = {name: self._mtime(name) for name in _FINAL_FILES}
            strike = self._random.choice([None, self._random.choice(STRIKES)])
            with self._launcher.start(self.atlas, self._workers, mode, strike) as process:
                if strike is None:
                    self._wait_for_a_moment(process, before)
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
            if process.returncode != -signal.SIGKILL or self._is_complete():
                break
            stages.append(self._stage(before))
        with self._launcher.start(self.atlas, self._workers, ["--resume"]) as process:
            _, errors = process.communicate()
        if process.returncode:
            raise SystemExit(f"the resumed run failed with {process.returncode}: {errors}")
        return stages

    def _wait_for_a_moment(
        self, process: subprocess.Popen[str], before: dict[str, float | None]
    ) -> None:
        """Returns at a random moment, or once the process has ended."""
        committed = self._count_blocks()
        missing = self._blocks - committed
        target = committed + self._random.randint(min(1, missing), missing)

        def has_come_to_target() -> bool:
            return self._count_blocks() >= target

        # Each moment, and up to how many seconds later the run is killed.
        moments: list[tuple[Callable[[], bool], float]] = [
            (lambda: True, LONGEST_START_SECONDS),
            (lambda: self._mtime("manifest.json") != before["manifest.json"], 0.05),
            (has_come_to_target, 0.05),
            (self._is_writing_a_block, 0.0),
            (lambda: self._count_blocks() >= self._blocks, 0.05),  # while it aggregates
        ]
        moment, longest = self._random.choice(moments)
        if moment == self._is_writing_a_block:  # not always the first one
            self._poll(process, has_come_to_target)
        self._poll(process, moment, hurried=not longest)
        self._poll(process, lambda: False, self._random.uniform(0, longest))

    @staticmethod
    def _poll(
        process: subprocess.Popen[str],
        reached: Callable[[], bool],
        seconds: float = 600,
        hurried: bool = False,
    ) -> None:
        until = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < until and not reached():
            time.sleep(0 if hurried else POLL_SECONDS)

    def _stage(self, before: dict[str, float | None]) -> str:
        """Where the run was when it was killed, by what it has left."""
        written = {name for name in _FINAL_FILES if self._mtime(name) != before[name]}
        if "manifest.json" not in written:
            return STAGES[0]
        if self._count_blocks() < self._blocks:
            return STAGES[2] if self._is_writing_a_block() else STAGES[1]
        return STAGES[3 + len(written & {CLASSES, FAILURES})]

    def _count_blocks(self) -> int:
        return sum(1 for _ in self.atlas.glob("maps/*/block-*.parquet"))

    def _is_writing_a_block(self) -> bool:
        try:
            attempts = os.listdir(self.atlas / ".temporary")
        except FileNotFoundError:
            return False
        return any(
            os.path.isdir(folder) and os.listdir(folder)
            for folder in (self.atlas / ".temporary" / attempt for attempt in attempts)
        )

    def _is_complete(self) -> bool:
        try:
            manifest = json.loads((self.atlas / "manifest.json").read_text())
        except FileNotFoundError:
            return False
        return bool(manifest["status"] == "complete")

    def _mtime(self, name: str) -> float | None:
        try:
            return (self.atlas / name).stat().st_mtime
        except FileNotFoundError:
            return None


def _undisturbed(folder: Path, workers: list[int], launcher: Launcher) -> dict[str, bytes] | None:
    """The atlas to compare with, of three runs and each number of workers; None if they differ."""
    expected: dict[str, bytes] | None = None
    for number, count in enumerate([workers[0]] * 3 + workers[1:]):
        atlas = folder / "undisturbed"
        with launcher.start(atlas, count, []) as process:
            _, errors = process.communicate()
        if process.returncode:
            raise SystemExit(f"the undisturbed run failed: {errors}")
        if expected is None:
            expected = _files(atlas)
        elif difference := _difference(expected, atlas):
            print(f"undisturbed run {number + 1}, {count} worker(s): {difference}")
            return None
        shutil.rmtree(atlas)
    print(f"{number + 1} undisturbed runs with {workers} worker(s): the same bytes", flush=True)
    return expected


def _files(atlas: Path) -> dict[str, bytes]:
    """All files but the manifest, which tells times."""
    paths = [path for path in atlas.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(atlas)): path.read_bytes() for path in sorted(paths)}


def _difference(expected: dict[str, bytes], atlas: Path) -> str:
    """Which files are others, or empty."""
    found = _files(atlas)
    names = {*expected, *found}
    wrong = sorted(name for name in names if expected.get(name) != found.get(name))
    return f"DIFFERENT: {', '.join(wrong)}" if wrong else ""


def _print_table(stages: dict[int, collections.Counter[str]]) -> None:
    print(f"\n{'killed while':22}" + "".join(f"{f'{n} worker(s)':>14}" for n in stages))
    for name in STAGES:
        print(f"{name:22}" + "".join(f"{count[name]:14d}" for count in stages.values()))


if __name__ == "__main__":
    sys.exit(main())
