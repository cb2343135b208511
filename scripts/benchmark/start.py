"""From a command to its first gradient, beside what importing TensorFlow takes.

    scripts/bench start                                  # a MobileNetV2 with random weights
    scripts/bench start --model lite0.keras --scale none --engine openvino

`first`: the user's cache folder is empty. `again`: a run like an earlier one. `import`: TensorFlow
alone. They take turns; the medians are shown, and those of each round's difference to `import`.
Everything is in the page cache, as each has been measured once before.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.overhead import describe_machine, figures_of
from benchmark.workload import Workload, make_model, write_config

Figures = dict[str, Any]

SIDE = 224
EXAMPLES = 64
KINDS = {"import": "import", "first": "run", "again": "run"}


def measure(name: str, config: str, cache: str) -> Figures:
    """Makes one measurement, in a process of its own.

    Args:
      name: `run` or `import`.
      config: The configuration.
      cache: The user's cache folder.
    """
    scripts = str(pathlib.Path(__file__).parents[1])
    paths = [scripts, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        "PYTHONPATH": os.pathsep.join(paths),
        "SALIENCY_ATLAS_CACHE": cache,
        "BENCH_BEGUN": str(time.time()),
    }
    return figures_of(["-m", "benchmark.start_measures", name, config], environment)


def measure_rounds(config: str, repeats: int, before: int = 1) -> dict[str, list[Figures]]:
    """Figures of each kind, round by round.

    Args:
      config: The configuration.
      repeats: How many rounds.
      before: How many are made before them and not counted.
    """
    runs: dict[str, list[Figures]] = {kind: [] for kind in KINDS}
    for number in range(before + repeats):
        print(f"round {number + 1} of {before + repeats}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="bench-cache-") as cache:
            for kind, name in KINDS.items():
                figures = measure(name, config, cache)
                if number >= before:
                    runs[kind].append(figures)
    return runs


def summarize(runs: Mapping[str, Sequence[Figures]]) -> Figures:
    """Medians over the rounds, and those of the rounds' differences to `import`."""
    summary: Figures = {}
    for kind, figures in runs.items():
        both = ("cpu_seconds", "wall_seconds")
        of_kind: Figures = {name: _median([each[name] for each in figures]) for name in both}
        if kind != "import":
            for name in both:
                pairs = zip(figures, runs["import"], strict=True)
                more = [each[name] - alone[name] for each, alone in pairs]
                of_kind[f"{name}_beyond_import"] = _median(more)
            of_kind["cpu_seconds_by_step"] = {
                step: _median([each["steps"].get(step, 0.0) for each in figures])
                for step in figures[0]["steps"]
            }
        summary[kind] = of_kind
    return summary


def _median(values: Sequence[float]) -> float:
    return round(float(statistics.median(values)), 3)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="From a command to its first gradient.")
    parser.add_argument("--model", help="a Keras model for square colour images, labels 0..9")
    parser.add_argument("--side", type=int, default=SIDE, help="height and width of its input")
    parser.add_argument("--scale", default="symmetric", help="its source.input.scale")
    parser.add_argument("--batch-size", default="auto", help="a number, or auto")
    parser.add_argument("--engine", default="auto", help="auto, tensorflow or openvino")
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--quick", action="store_true", help="see that it works; measures nothing")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes a document with --json."""
    parsed = parse_arguments(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    side = 64 if parsed.quick else parsed.side
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = parsed.model or make_model(folder, side, small=parsed.quick)
        load = Workload(model, side, parsed.scale, parsed.batch_size, 64, parsed.engine)
        config = write_config(folder, load, EXAMPLES)
        runs = (
            measure_rounds(config, 1, 0)
            if parsed.quick
            else measure_rounds(config, parsed.repeats, 1)
        )
    report = {"machine": describe_machine(), **summarize(runs)}
    print(json.dumps(report, indent=2))
    if parsed.json:
        pathlib.Path(parsed.json).write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
