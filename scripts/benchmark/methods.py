"""What methods of several calls cost beside the calls, and how much memory they take.

    scripts/bench methods                                  # a MobileNetV2 with random weights
    scripts/bench methods --model lite0.keras --calls 20

A method of k calls takes turns with k bare calls of the same compiled function; CPU seconds of this
process are compared, as medians of rounds' ratios. Each figure of memory is the peak of a process
that explains one mini-batch with one method, of the demo's small model at 224 x 224.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.overhead import describe_machine, figures_of
from benchmark.workload import make_model

if TYPE_CHECKING:
    from transforms.saliency.program import Program

SIDE = 224
ENGINES = ("tensorflow", "openvino")
MIB = 1 << 20

Document = str | dict[str, dict[str, Any]]

MEMORY: dict[str, Document] = {
    "saliency, 1 call": "saliency",
    "rise, 4,000 masks": "rise",
    "occlusion, 5,476 patches": {"occlusion": {"patch_size": 3, "patch_stride": 3}},
}


def methods_of(calls: int) -> dict[str, Document]:
    """Methods of so many calls, by name; occlusion's patches are stripes."""
    others = calls - 1
    stripe = [SIDE, SIDE // others]
    return {
        "integrated_gradients": {"integrated_gradients": {"steps": calls}},
        "smoothgrad": {"smoothgrad": {"samples": others}},
        "vargrad": {"vargrad": {"samples": others}},
        "occlusion": {"occlusion": {"patch_size": stripe, "patch_stride": stripe}},
        "rise": {"rise": {"samples": others}},
    }


def make_program(model: str, method: Document, engine: str, batch_size: int) -> Program:
    """A compiled program of one method."""
    from transforms.formats.source import InputSpec
    from transforms.models.devices import configure_threads
    from transforms.models.loading import load_model
    from transforms.saliency.engines.engine import EngineSpec
    from transforms.saliency.examples import explain_spec
    from transforms.saliency.program import Program
    from transforms.storage import LocalStorage

    threads = configure_threads(len(os.sched_getaffinity(0)))
    inputs = InputSpec("image", (SIDE, SIDE, 3))
    spec = explain_spec(model, inputs, "predicted", method=method, batch_size=batch_size)
    program = dataclasses.replace(spec.program, engine=EngineSpec(engine, threads=threads))
    loaded = load_model(spec.model, LocalStorage()).read_as("classes")
    return Program.compile(loaded, program, spec.statistics)


def some_examples(count: int) -> tuple[Any, Any, Any]:
    """Inputs, labels and ids."""
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    return pixels, np.zeros(count, np.int32), np.array([str(row) for row in range(count)], object)


def cost_beside_calls(program: Program, rounds: int) -> float:
    """CPU seconds of a method, as a share of those of its calls alone."""
    inputs, labels, ids = some_examples(program.batch_size)
    calls = program.steps.calls

    def bare() -> None:
        for _ in range(calls):
            program.attribution.run(inputs, labels)

    def whole() -> None:
        program.run(inputs, labels, ids)

    ratios = []
    for _ in range(rounds + 1):  # the first one is not counted
        seconds = [_cpu_seconds(work) for work in (whole, bare)]
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios[1:])


def _cpu_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and prints tables."""
    parser = argparse.ArgumentParser(description="Methods of several calls against the calls.")
    parser.add_argument("--model", help="a .keras file for images of 224 x 224")
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--only", choices=("speed", "memory"))
    parser.add_argument("--serve-memory", nargs=2, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if parsed.serve_memory:
        _serve_memory(*parsed.serve_memory)
        return 0
    print(json.dumps(describe_machine()))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if parsed.only != "memory":
            model = parsed.model or make_model(folder, SIDE)
            for engine in ENGINES:
                for method, document in methods_of(parsed.calls).items():
                    program = make_program(model, document, engine, parsed.batch_size)
                    share = cost_beside_calls(program, parsed.rounds)
                    print(
                        f"{engine:12} {method:24} {share:.3f} of {parsed.calls} calls", flush=True
                    )
        if parsed.only != "speed":
            small = make_model(folder, SIDE, small=True)
            for method in MEMORY:
                serve = ["-m", "benchmark.methods", "--serve-memory", method, small]
                peak = figures_of(serve, {})["peak_bytes"]
                print(f"{method:37} peak memory {peak / MIB:.0f} MiB", flush=True)
    return 0


def _serve_memory(method: str, model: str) -> None:
    from transforms.process import memory

    program = make_program(model, MEMORY[method], "tensorflow", batch_size=2)
    program.run(*some_examples(program.batch_size))
    print(json.dumps({"peak_bytes": memory.peak_bytes()}))


if __name__ == "__main__":
    sys.exit(main())
