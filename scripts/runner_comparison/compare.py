"""Runs the demo on every runner that is there, and compares the atlases byte for byte."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from apache_beam.version import __version__ as beam_version
from rich.console import Console
from rich.table import Table

from runner_comparison.flink_job_server import libraries_command, write_jar

CONFIG = "configs/demo-tfrecord.yaml"
RUNNERS = Path(".cache/runners")
ATLASES = Path("demo/atlases/runners")
FLINK_VERSION = "1.20"
PRISM_MODULE = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam_version}"
FLINK_ARTIFACT = f"org.apache.beam:beam-runners-flink-{FLINK_VERSION}-job-server:{beam_version}"
ASSEMBLED_FLINK = RUNNERS / "flink-job-server.jar"
FETCH_SECONDS = 600  # Prism is compiled, Flink's job server has 200 MB
RUN_SECONDS = 300
POOL_SECONDS = 30
METHODS = (
    "saliency",
    "{integrated_gradients: {steps: 3}}",
    "{smoothgrad: {samples: 2}}",
    "grad_cam",
    "{rise: {samples: 3, grid_size: 4}}",
)
"""One of each kind: a gradient, several, with noise, a layer's, and scores alone."""
FEW = "demo/data/tfrecord/tiles-0000[01]-*"
"""What the others than the first are compared on, as starting takes most of the time."""
RESUMABLE = 3  # the exit code of a run that failed and may go on
_EXTERNAL = ("--environment_type=EXTERNAL", "--sdk_worker_parallelism=2")


@dataclasses.dataclass(frozen=True)
class Way:
    """One way of running the demo.

    Attributes:
      name: As on the command line.
      options: What follows CONFIG.
      needs: `prism` or `flink`, where something has to be fetched.
      pool: Whether the workers are processes of a pool of their own.
    """

    name: str
    options: tuple[str, ...]
    needs: str | None = None
    pool: bool = False


WAYS = (
    Way("fn-api", ("--", "--runner=FnApiRunner")),
    Way("local", ("--runner", "local", "--")),
    Way("local-multi", ("--runner", "local-multi", "--")),
    Way(
        "portable",
        ("--", "--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"),
    ),
    Way(
        "portable-external",
        ("--", "--runner=PortableRunner", "--job_endpoint=embed", *_EXTERNAL),
        pool=True,
    ),
    Way("prism", ("--runner", "prism", "--"), "prism"),
    Way("prism-external", ("--runner", "prism", "--", *_EXTERNAL), "prism", pool=True),
    Way("flink", ("--runner", "flink", "--", "--environment_type=LOOPBACK"), "flink"),
    Way("flink-external", ("--runner", "flink", "--", *_EXTERNAL), "flink", pool=True),
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a way of running came to: `seconds` of wall time, and a few words."""

    method: str
    way: str
    seconds: float | None
    words: str
    failed: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for, prints a table; 1 where an atlas differs or is not made."""
    names = [way.name for way in WAYS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="RUNNER", help=f"of {', '.join(names)}")
    parser.add_argument("--methods", action="store_true", help="all kinds of methods, not saliency")
    parser.add_argument("--kill", action="store_true", help="kill a worker half-way, then resume")
    parsed = parser.parse_args(arguments)
    unknown = sorted(set(parsed.names) - set(names))
    if unknown:
        parser.error(f"no runner is called {unknown[0]!r}; there are {', '.join(names)}")
    chosen = [way for way in WAYS if not parsed.names or way.name in parsed.names]
    if parsed.kill:
        chosen = [way for way in chosen if way.pool]
    missing = {need: fetch(need) for need in {way.needs for way in chosen} if need}
    outcomes = []
    for method in METHODS if parsed.methods else METHODS[:1]:
        for outcome in run_all(chosen, missing, method, kill=parsed.kill):
            print(f"{outcome.method}, {outcome.way}: {outcome.words}", file=sys.stderr, flush=True)
            outcomes.append(outcome)
    table = Table("method", "runner", "seconds", "atlas")
    for outcome in outcomes:
        seconds = "" if outcome.seconds is None else f"{outcome.seconds:.1f}"
        table.add_row(outcome.method, outcome.way, seconds, outcome.words)
    Console().print(table)
    return int(any(outcome.failed for outcome in outcomes))


def run_all(
    chosen: Sequence[Way], missing: Mapping[str, str | None], method: str, *, kill: bool
) -> Iterator[Outcome]:
    """Makes the atlas in each way, the first of all ways first, with which others are compared.

    Args:
      chosen: The ways.
      missing: Why what one of them needs cannot be had, by its name.
      method: What `explain.method` is.
      kill: Whether to kill a worker half-way.
    """
    reference = WAYS[0]
    yield run(reference, None, method)
    for way in chosen:
        if way.needs and missing[way.needs]:
            yield Outcome(method, way.name, None, f"skipped: {missing[way.needs]}")
        elif way is not reference:
            yield run(way, ATLASES / reference.name, method, kill=kill)


def fetch(need: str) -> str | None:
    """Fetches what a runner needs unless it is there; says why where it cannot be had."""
    RUNNERS.mkdir(parents=True, exist_ok=True)
    if need == "prism":
        tool, there = "go", RUNNERS / f"prism-{beam_version}"
        command = [tool, "install", PRISM_MODULE]
    else:
        tool, there = "mvn", RUNNERS / f"{FLINK_ARTIFACT.split(':')[1]}-{beam_version}.jar"
        command = [
            *(tool, "-q", "-B", "-U", "dependency:copy"),
            *(f"-Dartifact={FLINK_ARTIFACT}", f"-DoutputDirectory={RUNNERS.absolute()}"),
        ]
        if shutil.which("java") is None:
            return "java was not found: install a JDK, version 17"
    if there.exists() or (need == "flink" and ASSEMBLED_FLINK.exists()):
        return None
    if shutil.which(tool) is None:
        return f"{tool} was not found: install it to fetch {need}"
    print(f"Fetching {need} with {tool}", file=sys.stderr, flush=True)
    log = RUNNERS / f"{need}.log"
    fetched = succeeds(command, log)
    if need == "flink" and not fetched:
        print(f"{FLINK_ARTIFACT} cannot be had: assembling one", file=sys.stderr, flush=True)
        libraries = RUNNERS / "flink-libraries"
        fetched = succeeds(libraries_command(libraries), log)
        if fetched:
            write_jar(libraries, ASSEMBLED_FLINK)
    if not fetched:
        return f"{tool} could not fetch {command[-1] if need == 'prism' else FLINK_ARTIFACT}: {log}"
    if need == "prism":  # under a name with its version, so that another Beam fetches its own
        there.hardlink_to(RUNNERS / "prism")
    return None


def succeeds(command: Sequence[str], log: Path) -> bool:
    """Runs a tool that fetches something."""
    environment = os.environ | {"GOBIN": str(RUNNERS.absolute())}
    try:
        with log.open("a") as output:
            subprocess.run(  # noqa: S603 - constants
                command,
                env=environment,
                check=True,
                stdout=output,
                stderr=output,
                timeout=FETCH_SECONDS,
            )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return False
    return True


def run(way: Way, reference: Path | None, method: str, *, kill: bool = False) -> Outcome:
    """Makes the atlas one way, and compares it with the reference."""
    atlas = ATLASES / way.name
    settings = [f"explain.method={method}", f"output.path={atlas}"]
    if method != METHODS[0]:
        settings.append(f"source.pattern={FEW}")
    command = [
        *(".venv/bin/saliency-atlas", "run", CONFIG, "--quiet", "--overwrite"),
        *(part for setting in settings for part in ("--set", setting)),
        *way.options,
    ]
    if way.needs == "flink" and ASSEMBLED_FLINK.exists():
        command.append(f"--flink_job_server_jar={ASSEMBLED_FLINK}")
    if kill:  # blocks of an earlier run are not half of this one
        shutil.rmtree(atlas, ignore_errors=True)
    log = ATLASES / f"{way.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("w"))
        if way.pool:
            pool, address = stack.enter_context(worker_pool(output))
            command.append(f"--environment_config={address}")
        started = time.monotonic()
        code, words = launch(command, output, (pool, atlas) if kill else None)
        if code == RESUMABLE and kill:
            words += "; the run stopped, --resume completed it"
            resumed = ["--resume" if part == "--overwrite" else part for part in command]
            code, _ = launch(resumed, output, None)
        elif kill:
            words += "; the runner went on by itself"
        seconds = time.monotonic() - started
    if code:
        return Outcome(
            method, way.name, seconds, f"{words} exit code {code}, read {log}", failed=True
        )
    if reference is None:
        return Outcome(method, way.name, seconds, "the reference")
    differing = compare(reference, atlas)
    if differing:
        return Outcome(method, way.name, seconds, f"{words} differs in {differing[0]}", failed=True)
    return Outcome(method, way.name, seconds, f"the same bytes{words}")


def launch(
    command: Sequence[str], output: object, kill: tuple[subprocess.Popen[bytes], Path] | None
) -> tuple[int, str]:
    """Runs a command; kills a worker of the pool once some blocks are committed."""
    process = subprocess.Popen(command, stdout=output, stderr=output)  # type: ignore[call-overload] # noqa: S603
    words = ""
    deadline = time.monotonic() + RUN_SECONDS
    try:
        while process.poll() is None:
            if time.monotonic() > deadline:
                return 124, f" took longer than {RUN_SECONDS} s;"
            if kill and not words and len(list(kill[1].glob("maps/*/*.parquet"))) >= 5:  # noqa: PLR2004
                worker = children(kill[0].pid)[-1]
                os.kill(worker, signal.SIGKILL)
                words = " after a worker was killed"
            time.sleep(0.02)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return process.returncode, words


def children(parent: int) -> list[int]:
    """Processes that a process, in whichever thread, has started and that live."""
    listed = [path.read_text() for path in Path(f"/proc/{parent}/task").glob("*/children")]
    return [int(number) for numbers in listed for number in numbers.split()]


@contextlib.contextmanager
def worker_pool(output: object) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A pool that starts a worker process whenever a runner asks for one."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"),
        f"--service_port={port}",
    ]
    # It starts its workers as `python`, whichever that is.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = os.environ | {"PATH": path}
    pool = subprocess.Popen(command, stdout=output, stderr=output, env=environment)  # type: ignore[call-overload] # noqa: S603
    try:
        deadline = time.monotonic() + POOL_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > deadline or pool.poll() is not None:
                raise SystemExit("error: the worker pool did not start")
            time.sleep(0.1)
        yield pool, f"127.0.0.1:{port}"
    finally:
        workers = children(pool.pid) if pool.poll() is None else []
        pool.terminate()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        pool.wait()


def compare(reference: Path, atlas: Path) -> list[str]:
    """Names of files that only one has or that differ, but the manifest, which tells times."""
    names = {
        str(path.relative_to(root))
        for root in (reference, atlas)
        for path in root.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    return [
        name
        for name in sorted(names)
        if not (reference / name).is_file()
        or not (atlas / name).is_file()
        or (reference / name).read_bytes() != (atlas / name).read_bytes()
    ]


if __name__ == "__main__":
    sys.exit(main())
