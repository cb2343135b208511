"""Engines against each other, against other libraries, and against the machine.

    scripts/bench engines                              # engines alone
    scripts/bench engines --peers ~/peers --install    # makes environments for peers
    scripts/bench engines --models lite0.keras,ResNet50 --json engines.json

Each contestant is a process that is made ready and then runs a round when it is its turn, so those
that are compared meet the same disturbances; figures are medians of rounds, comparisons medians of
the rounds' ratios. Engines are compared with each other and with a matrix product; whole runs with
peers, whose inputs are decoded beforehand. Peers need environments of their own, `PEERS/xplique`
and `PEERS/pytorch`; what is absent is left out, and said.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark.overhead import describe_machine
from benchmark.peers import TORCHVISION
from benchmark.workload import Precision, Workload, write_config

SIDE = 224
MODELS = ("MobileNetV2", "ResNet50")
GFLOP = {"ResNet50": 15.4}
"""Of a forward pass and a gradient by the input, an image: four times the multiplications of its
convolutions and its matrix product."""

SGEMM_SIDE = 2048

PEER_PACKAGES = {
    "xplique": (
        ["tensorflow-cpu>=2.18", "tf_keras", "deprecated", "einops", "matplotlib"],
        ["opencv-python-headless", "scikit-image", "scikit-learn", "tensorflow_probability"],
        ["--no-deps", "xplique==2.0.2"],
    ),
    "pytorch": (["torch", "torchvision"],),
}

ENGINES: dict[str, tuple[str, Precision, str | dict[str, int]]] = {
    "tensorflow": ("tensorflow", "float32", "label"),
    "openvino": ("openvino", "float32", "label"),
    "openvino, mixed": ("openvino", "mixed", "label"),
    "tensorflow, 3 targets": ("tensorflow", "float32", {"top": 3}),
    "openvino, 3 targets": ("openvino", "float32", {"top": 3}),
}
"""Engine, precision and target of each that is measured alone."""

RUNS: dict[str, Precision] = {"pipeline": "float32", "pipeline, mixed": "mixed"}
"""The precision of each whole run; its engine is chosen as a run chooses it."""

Figures = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A process that runs a round for every line it is sent."""

    process: subprocess.Popen[str]
    ready: Figures

    def round(self) -> Figures:
        """One round's figures."""
        assert self.process.stdin is not None  # noqa: S101 - it was made with pipes
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Figures:
        assert self.process.stdout is not None  # noqa: S101 - see above
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("it ended")
        answer: Figures = json.loads(line)
        return answer


@contextlib.contextmanager
def started(name: str, command: Sequence[str]) -> Iterator[Contestant | None]:
    """A contestant that is ready; None, said, where it cannot be had."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    with subprocess.Popen(  # noqa: S603 - the interpreter and scripts of this folder
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        contestant = Contestant(process, {})
        try:
            ready = contestant._answer()
        except RuntimeError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            yield None
        else:
            yield dataclasses.replace(contestant, ready=ready)
        process.stdin.close()  # type: ignore[union-attr] # it was made with pipes


def serve_engine(name: str, model: str, count: int, batch_size: int) -> None:
    """Contestant: the compiled gradient of an engine, alone."""
    import numpy as np

    from transforms.formats.source import InputSpec
    from transforms.models.devices import configure_threads
    from transforms.models.loading import ModelSpec, load_model
    from transforms.saliency.engines.engine import EngineSpec, compile_attribution
    from transforms.saliency.program import ProgramSpec, attribution_function
    from transforms.saliency.scores.targets import TargetSpec
    from transforms.storage import LocalStorage

    engine, precision, target = ENGINES[name]
    threads = configure_threads(len(os.sched_getaffinity(0)))
    spec = ProgramSpec(
        inputs=InputSpec("image", (SIDE, SIDE, 3)),
        target=TargetSpec.parse(target),
        operator="classification",
        reducer="max",
        codec="uint8",
        batch_size=batch_size,
    )
    loaded = load_model(ModelSpec(model), LocalStorage())
    gradient = compile_attribution(
        attribution_function(loaded, spec), EngineSpec(engine, precision, threads)
    )
    generator = np.random.default_rng(0)
    inputs = generator.uniform(0, 255, (count, SIDE, SIDE, 3)).astype(np.float32)
    labels = np.arange(count, dtype=np.int32)

    def run() -> None:
        for start in range(0, count, batch_size):
            rows = slice(start, start + batch_size)
            np.asarray(gradient.run(inputs[rows], labels[rows]).gradients)

    run()
    _serve(run, count, {"batch_size": batch_size})


def serve_sgemm() -> None:
    """Contestant: TensorFlow's matrix product, which is what the machine can do."""
    import tensorflow as tf

    matrix = tf.random.normal((SGEMM_SIDE, SGEMM_SIDE))
    product = tf.function(lambda: tf.reduce_sum(matrix @ matrix))
    repeats = 20

    def run() -> None:
        for _ in range(repeats):
            float(product())

    run()
    _serve(run, repeats, {})


def serve_pipeline(config: str) -> None:
    """Contestant: whole runs."""
    from benchmark.measures import measure_pipeline

    print(json.dumps({}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure_pipeline(config, ())), flush=True)


def _serve(run: Any, count: int, ready: Figures) -> None:
    print(json.dumps(ready), flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        figures = {
            "wall_seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "examples": count,
        }
        print(json.dumps(figures), flush=True)


def engine_commands(path: str, parsed: argparse.Namespace) -> dict[str, list[str]]:
    """Command lines of the engines and of the matrix product, by name."""
    here = [sys.executable, "-m", "benchmark.engines"]
    count, size = str(parsed.examples), str(parsed.batch_size)
    found = {name: [*here, "--serve-engine", name, path, count, size] for name in ENGINES}
    return found | {"sgemm": [*here, "--serve-sgemm"]}


def run_commands(
    model: str, path: str, folder: pathlib.Path, parsed: argparse.Namespace
) -> dict[str, list[str]]:
    """Command lines of a whole run and of the peers, by name."""
    count = str(parsed.examples)
    found = {}
    for name, precision in RUNS.items():
        load = Workload(path, SIDE, "none", "auto", 64, engine="auto", precision=precision)
        config = write_config(folder, load, parsed.run_examples)
        here = [sys.executable, "-m", "benchmark.engines"]
        found[name] = [*here, "--serve-pipeline", config]
    script = str(pathlib.Path(__file__).with_name("peers.py"))
    for peer, subject in (("xplique", path), ("pytorch", model)):
        python = pathlib.Path(parsed.peers or "", peer, "bin", "python")
        if parsed.peers is None or not python.exists():
            print(f"{peer} is left out: {python} is not there (--install)", file=sys.stderr)
        elif peer == "pytorch" and model not in TORCHVISION:
            print(f"{peer} is left out: it has no model {model}", file=sys.stderr)
        else:
            found[peer] = [str(python), script, peer, subject, count]
    return found


def measure(model: str, folder: pathlib.Path, parsed: argparse.Namespace) -> Figures:
    """All contestants on one model; those that are compared take turns."""
    path, name = model, pathlib.Path(model).stem
    if not model.endswith(".keras"):
        import keras

        keras.utils.set_random_seed(0)
        make = getattr(keras.applications, model)
        path = str(folder / f"{model}.keras")
        make(weights=None, classifier_activation=None, input_shape=(SIDE, SIDE, 3)).save(path)
    groups = [engine_commands(path, parsed)]
    if parsed.run_examples:
        groups.append(run_commands(name, path, folder, parsed))
    rounds: list[dict[str, Figures]] = [{} for _ in range(parsed.rounds)]
    sizes: Figures = {}
    for group in groups:  # All at once would not fit into memory.
        with contextlib.ExitStack() as stack:
            contestants = {
                each: contestant
                for each, command in group.items()
                if (contestant := stack.enter_context(started(each, command))) is not None
            }
            for each_round in rounds:
                for each, contestant in contestants.items():
                    each_round[each] = contestant.round()
            sizes |= {each: contestant.ready for each, contestant in contestants.items()}
    return summarize(name, rounds) | {"ready": sizes}


def summarize(model: str, rounds: Sequence[Mapping[str, Figures]]) -> Figures:
    """Medians of the rounds, and of the rounds' ratios."""

    def seconds(name: str, each: Mapping[str, Figures], kind: str) -> float:
        return float(each[name][f"{kind}_seconds"] / each[name]["examples"])

    names = [name for name in rounds[0] if name != "sgemm"]
    figures: Figures = {
        name: {
            "examples_per_second": statistics.median(1 / seconds(name, e, "wall") for e in rounds),
            "cpu_ms_an_example": 1e3 * statistics.median(seconds(name, e, "cpu") for e in rounds),
        }
        for name in names
    }
    compared = [("openvino", "tensorflow"), ("openvino, mixed", "openvino")]
    compared += [(run, peer) for run in RUNS for peer in ("xplique", "pytorch")]
    ratios: Figures = {}
    for kind in ("wall", "cpu"):
        for fast, slow in compared:
            if fast in names and slow in names:
                ratios[f"{fast} to {slow}, by {kind} time"] = statistics.median(
                    seconds(slow, each, kind) / seconds(fast, each, kind) for each in rounds
                )
        for name in ("tensorflow", "openvino", "openvino, mixed"):
            three = f"{name}, 3 targets"
            if name in names and three in names:
                ratios[f"{name}: 3 targets to 3 runs, by {kind} time"] = statistics.median(
                    seconds(three, e, kind) / (3 * seconds(name, e, kind)) for e in rounds
                )
            if model in GFLOP and name in names:
                product = 2 * SGEMM_SIDE**3 / 1e9
                ratios[f"{name}: share of sgemm's rate, by {kind} time"] = statistics.median(
                    (GFLOP[model] / seconds(name, e, kind)) / (product / seconds("sgemm", e, kind))
                    for e in rounds
                )
    sgemm = statistics.median(
        2 * SGEMM_SIDE**3 / 1e9 / seconds("sgemm", each, "wall") for each in rounds
    )
    return {"contestants": figures, "ratios": ratios, "sgemm_gflops": sgemm}


def install_peers(folder: pathlib.Path) -> None:
    """Makes the peers' environments where they are not there yet."""
    for peer, steps in PEER_PACKAGES.items():
        home = folder / peer
        if (home / "installed").exists():
            continue
        print(f"installing {peer} into {home}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)  # noqa: S603 - fixed
        for packages in steps:
            command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages]
            subprocess.run(command, check=True)  # noqa: S603 - the packages above
        (home / "installed").touch()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints tables and, with --json, a document."""
    parser = argparse.ArgumentParser(description="Engines against each other and against peers.")
    parser.add_argument("--models", default=",".join(MODELS), help="applications or .keras files")
    parser.add_argument("--peers", type=pathlib.Path, help="the folder of peers' environments")
    parser.add_argument("--install", action="store_true", help="make peers' environments first")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=64, help="in a round")
    parser.add_argument("--run-examples", type=int, default=1000, help="in a whole run; 0 for none")
    parser.add_argument("--batch-size", type=int, default=8, help="of engines alone")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--serve-engine", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--serve-pipeline", help=argparse.SUPPRESS)
    parser.add_argument("--serve-sgemm", action="store_true", help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if parsed.serve_engine:
        name, model, count, size = parsed.serve_engine
        serve_engine(name, model, int(count), int(size))
    elif parsed.serve_pipeline:
        serve_pipeline(parsed.serve_pipeline)
    elif parsed.serve_sgemm:
        serve_sgemm()
    else:
        _compete(parsed, parser)
    return 0


def _compete(parsed: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if parsed.install:
        if parsed.peers is None:
            parser.error("--install needs --peers FOLDER")
        install_peers(parsed.peers)
    report: Figures = {"machine": describe_machine(), "models": {}}
    print(json.dumps(report["machine"]))
    for model in parsed.models.split(","):
        with tempfile.TemporaryDirectory() as name:
            figures = measure(model, pathlib.Path(name), parsed)
        report["models"][pathlib.Path(model).stem] = figures
        print(f"\n{pathlib.Path(model).stem}, sgemm {figures['sgemm_gflops']:.0f} GFLOP/s")
        for contestant, each in figures["contestants"].items():
            rate, cpu = each["examples_per_second"], each["cpu_ms_an_example"]
            print(f"  {contestant:24} {rate:8.1f} images/s {cpu:8.1f} CPU ms an image")
        for what, ratio in figures["ratios"].items():
            print(f"  {what:56} {ratio:.2f}")
    if parsed.json:
        pathlib.Path(parsed.json).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
