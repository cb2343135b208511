"""What the host does for an image beside the device, from a JPEG on disk to a committed block.

    scripts/bench host                        # 224 x 224; on one core and on two
    scripts/bench host --side 64 --cores 1,8,16 --images 20000

The device's results are canned (canned.py), so this can be followed without a GPU: a run with one
is as fast as the device or as what is shown here, whichever is less. CPU time is that of all
threads. `busiest_thread_us` is what the busiest single thread takes of it: whatever the number of
cores, no more images a second than its inverse can be explained in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmark.overhead import describe_machine, figures_of
from benchmark.workload import Workload, make_model, write_config

Figures = dict[str, Any]


def measure(name: str, config: str, cores: int | None = None) -> Figures:
    """Makes one measurement, in a process of its own.

    Args:
      name: `run` or `steps`.
      config: The configuration.
      cores: How many cores it may use; None for all.
    """
    scripts = str(pathlib.Path(__file__).parents[1])
    paths = [scripts, *filter(None, [os.environ.get("PYTHONPATH")])]
    path = {"PYTHONPATH": os.pathsep.join(paths)}
    return figures_of(["-m", "benchmark.host_measures", name, config], path, cores)


def summarize(runs: dict[int, list[Figures]], steps: list[Figures]) -> Figures:
    """Medians over the rounds; `times_of_fewest_cores` those of the rounds' ratios.

    Args:
      runs: Whole runs by their number of cores.
      steps: Microseconds by step.
    """
    fewest = min(runs)
    by_cores = {}
    for cores, figures in runs.items():
        ratios = [
            each["examples_per_second"] / one["examples_per_second"]
            for each, one in zip(figures, runs[fewest], strict=True)
        ]
        images = figures[0]["examples"]
        by_cores[str(cores)] = {
            "images_per_second": _median(figures, "examples_per_second"),
            "times_of_fewest_cores": statistics.median(ratios),
            "cpu_us": 1e6 * _median(figures, "cpu_seconds") / images,
            "busiest_thread_us": 1e6 * _median(figures, "busiest_thread_seconds") / images,
        }
    by_step = {name: _median(steps, name) for name in steps[0]}
    return {"cores": by_cores, "steps_us": by_step, "steps_sum_us": sum(by_step.values())}


def _median(figures: Sequence[Figures], name: str) -> float:
    return float(statistics.median(each[name] for each in figures))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What the host does for an image.")
    parser.add_argument("--side", type=int, default=224, help="height and width of the images")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=64, help="as a GPU has it")
    parser.add_argument("--block-size", type=int, default=256)
    parser.add_argument("--thumbnails", action="store_true", help="store them, too")
    parser.add_argument("--cores", default="1,2", help="numbers of cores, by commas")
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--json", metavar="FILE")
    parsed = parser.parse_args(arguments)
    parsed.cores = [int(each) for each in parsed.cores.split(",")]
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes a document with --json."""
    parsed = parse_arguments(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = make_model(folder, parsed.side, small=True)
        batch_size, block_size = str(parsed.batch_size), parsed.block_size
        load = Workload(
            model, parsed.side, "unit", batch_size, block_size, thumbnails=parsed.thumbnails
        )
        config = write_config(folder, load, parsed.images)
        runs: dict[int, list[Figures]] = {cores: [] for cores in parsed.cores}
        steps = []
        for number in range(parsed.repeats):
            print(f"round {number + 1} of {parsed.repeats}", file=sys.stderr)
            steps.append(measure("steps", config, cores=1))
            for cores, figures in runs.items():
                figures.append(measure("run", config, cores))
    report = {"machine": describe_machine(), "images": parsed.images, **summarize(runs, steps)}
    print(json.dumps(report, indent=2))
    if parsed.json:
        pathlib.Path(parsed.json).write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
