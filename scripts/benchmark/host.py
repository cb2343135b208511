"""What the host does for an image beside the device, from a JPEG on disk to a committed block.

    scripts/bench host                        # 224 x 224; on one core and on two
    scripts/bench host --side 64 --cores 1,8,16 --images 20000

The device's results are canned (canned.py), so this can be followed without a GPU: a run with one
is as fast as the device or as what is shown here, whichever is less. CPU time is that of all
threads. `busiest_thread_us` is what the busiest single thread takes of it: whatever the number of
cores, no more images a second than its inverse can be explained in one process.

A run takes some time whatever it explains (`fixed_seconds`), most of it in one thread: Beam's graph
is built, tables are written. `beyond_fixed` is what more images take and gain: the difference
between a run of all images and one of a quarter, divided by the difference in images.

Thumbnails, properties of inputs and peak windows are left out, unless --all-columns asks for them.
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

_FEWER = 4  # times, than in the longer run, the images of the shorter one
_BEFORE_ROWS = ("read", "checksum", "parse", "decode")

Figures = dict[str, Any]


def measure(name: str, *arguments: str, cores: int) -> Figures:
    """Makes one measurement, in a process of its own.

    Args:
      name: `run` or `steps`.
      *arguments: Which columns are stored, and configurations.
      cores: How many cores it may use.
    """
    scripts = str(pathlib.Path(__file__).parents[1])
    paths = [scripts, *filter(None, [os.environ.get("PYTHONPATH")])]
    path = {"PYTHONPATH": os.pathsep.join(paths)}
    return figures_of(["-m", "benchmark.host_measures", name, *arguments], path, cores)


def summarize(runs: dict[int, list[Figures]], steps: list[Figures]) -> Figures:
    """Medians over the rounds; `times_of_fewest_cores` those of the rounds' ratios.

    `beyond_decoding_us` is what an image takes beyond a run's fixed time, reading, parsing and
    decoding, on the fewest cores.

    Args:
      runs: Whole runs by their number of cores.
      steps: Microseconds by step.
    """
    fewest = min(runs)
    more = {cores: [_beyond_fixed(each) for each in figures] for cores, figures in runs.items()}
    by_cores = {}
    for cores, figures in runs.items():
        images = figures[0]["examples"]
        by_cores[str(cores)] = {
            **_rates(figures, runs[fewest]),
            "busiest_thread_us": 1e6 * _median(figures, "busiest_thread_seconds") / images,
            "fixed_seconds": _median(more[cores], "fixed_seconds"),
            "beyond_fixed": _rates(more[cores], more[fewest]),
        }
    by_step = {name: _median(steps, name) for name in steps[0]}
    before = sum(by_step[name] for name in _BEFORE_ROWS)
    return {
        "cores": by_cores,
        "steps_us": by_step,
        "steps_sum_us": sum(by_step.values()),
        "beyond_decoding_us": by_cores[str(fewest)]["beyond_fixed"]["cpu_us"] - before,
    }


def _beyond_fixed(figures: Figures) -> Figures:
    """What the images take that a run explains more than the one of fewer images."""
    few = figures["few"]
    names = "examples", "wall_seconds", "cpu_seconds"
    images, wall, cpu = (figures[name] - few[name] for name in names)
    return {
        "examples": images,
        "examples_per_second": images / wall,
        "cpu_seconds": cpu,
        "fixed_seconds": few["wall_seconds"] - few["examples"] * wall / images,
    }


def _rates(figures: Sequence[Figures], of_fewest: Sequence[Figures]) -> Figures:
    pairs = zip(figures, of_fewest, strict=True)
    ratios = [each["examples_per_second"] / one["examples_per_second"] for each, one in pairs]
    return {
        "images_per_second": _median(figures, "examples_per_second"),
        "times_of_fewest_cores": statistics.median(ratios),
        "cpu_us": 1e6 * _median(figures, "cpu_seconds") / figures[0]["examples"],
    }


def _median(figures: Sequence[Figures], name: str) -> float:
    return float(statistics.median(each[name] for each in figures))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What the host does for an image.")
    parser.add_argument("--side", type=int, default=224, help="height and width of the images")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=64, help="as a GPU has it")
    parser.add_argument("--block-size", type=int, default=256)
    parser.add_argument(
        "--all-columns",
        action="store_true",
        help="store thumbnails, properties of inputs and peak windows, too",
    )
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
            model, parsed.side, "unit", batch_size, block_size, thumbnails=parsed.all_columns
        )
        columns = "all" if parsed.all_columns else "maps"
        config = write_config(folder, load, parsed.images)
        few = write_config(folder, load, parsed.images // _FEWER)
        runs: dict[int, list[Figures]] = {cores: [] for cores in parsed.cores}
        steps = []
        for number in range(parsed.repeats):
            print(f"round {number + 1} of {parsed.repeats}", file=sys.stderr)
            steps.append(measure("steps", columns, config, cores=1))
            for cores, figures in runs.items():
                figures.append(measure("run", columns, config, few, cores=cores))
    report = {
        "machine": describe_machine(),
        "images": parsed.images,
        "columns": columns,
        **summarize(runs, steps),
    }
    print(json.dumps(report, indent=2))
    if parsed.json:
        pathlib.Path(parsed.json).write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
