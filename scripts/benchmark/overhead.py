"""Measures what whole runs cost beside the gradient, and what each part of them takes.

    scripts/bench                                        # a MobileNetV2 with random weights
    scripts/bench --model lite0.keras --scale none       # a model of yours, on the same photographs
    scripts/bench --data 'mine-*.tfrecord'               # your data: features image and label
    scripts/bench --only overhead,workers --json bench.json

Each measurement is a process of its own (measures.py). What is compared takes turns, and the
median of the rounds' ratios is shown, so a machine that others use too disturbs both alike; CPU
seconds say more there than wall-clock seconds. Inputs are crops of the photographs that the
scikit-image and scikit-learn packages ship, as JPEG in TFRecord shards: nothing is downloaded.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmark.workload import Workload, make_model, write_config

KIB, MIB = 1 << 10, 1 << 20
SMALL_SIDE = 64
PARALLEL = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")

Figures = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
      few: Examples of a short run.
      many: Examples of a longer one.
      small: Examples for the small model, and ten times as many.
      repeats: Rounds.
    """

    few: int = 200
    many: int = 1000
    small: int = 2000
    repeats: int = 5


QUICK = Sizes(few=16, many=40, small=24, repeats=1)


class Bench:
    """Makes the measurements of one workload.

    Args:
      folder: For data, models and atlases.
      load: What is explained.
      sizes: How much of it.
    """

    def __init__(self, folder: pathlib.Path, load: Workload, sizes: Sizes) -> None:
        self._folder = folder
        self._load = load
        self._sizes = sizes
        small_model = make_model(folder, SMALL_SIDE, small=True)
        self._small = Workload(small_model, SMALL_SIDE, "unit", "64", block_size=512)

    def overhead(self) -> Figures:
        """Whole runs against the bare loop over the same compiled function."""
        sizes = self._sizes
        few = write_config(self._folder, self._load, sizes.few)
        many = write_config(self._folder, self._load, sizes.many)
        runs = interleave(sizes.repeats, pipeline=[few], bare=[few])
        longer = interleave(max(1, sizes.repeats // 2), pipeline=[many], bare=[many])
        growth = median(longer["pipeline"], "peak_bytes") - median(runs["pipeline"], "peak_bytes")
        return {
            "few": compare(runs),
            "many": compare(longer),
            "start_up_seconds": median(runs["pipeline"], "start_up_seconds"),
            "memory_growth_mib": growth / MIB,
            "peak_mib": median(longer["pipeline"], "peak_bytes") / MIB,
        }

    def small_model(self) -> Figures:
        """CPU time an example beyond gradient and decoding, and how cost grows with the dataset.

        Of runs without the columns that came later, and beyond what a run takes whatever it
        explains: the difference of a run and one of ten times as many examples.
        """
        count = self._sizes.small
        load = dataclasses.replace(self._small, thumbnails=False)
        config = write_config(self._folder, load, count)
        large = write_config(self._folder, load, 10 * count)
        runs = interleave(
            self._sizes.repeats,
            measured={"small": "maps_alone", "large": "maps_alone"},
            small=[config],
            bare=[config],
            decode=[config],
            large=[large],
        )
        cpu = {kind: median(figures, "cpu_seconds") for kind, figures in runs.items()}
        examples = runs["small"][0]["examples"]
        rounds = zip(*(runs[kind] for kind in ("small", "large", "bare", "decode")), strict=True)
        beyond = [
            (large_run["cpu_seconds"] - small_run["cpu_seconds"]) / 9
            - bare["cpu_seconds"]
            - decode["cpu_seconds"]
            for small_run, large_run, bare, decode in rounds
        ]
        peaks = {kind: median(runs[kind], "peak_bytes") for kind in ("small", "large")}
        return {
            "examples": examples,
            "gradient_us": 1e6 * cpu["bare"] / examples,
            "decode_us": 1e6 * cpu["decode"] / examples,
            "beyond_decoding_us": 1e6 * statistics.median(beyond) / examples,
            "cpu_of_ten_times_to_ten": cpu["large"] / (10 * cpu["small"]),
            "memory_growth_mib": (peaks["large"] - peaks["small"]) / MIB,
        }

    def workers(self) -> Figures:
        """Two worker processes on two cores against one on one core."""
        config = write_config(self._folder, self._load, self._sizes.many)
        runs = interleave(
            max(1, self._sizes.repeats // 2),
            one=[config],
            two=[config, *PARALLEL],
            cores={"one": 1},
        )
        rates = {
            kind: [run["run_examples_per_second"] for run in figures]
            for kind, figures in runs.items()
        }
        ratios = [two / one for two, one in zip(rates["two"], rates["one"], strict=True)]
        return {"speed_up": statistics.median(ratios), "examples_per_second": rates}

    def batch_sizes(self) -> Figures:
        """What `explain.batch_size: auto` chooses, and what that costs."""
        load = dataclasses.replace(self._load, batch_size="auto")
        return measure("batch_sizes", write_config(self._folder, load, self._sizes.many))

    def storing(self) -> Figures:
        """Codecs and statistics."""
        return measure("storing", write_config(self._folder, self._load, self._sizes.few))

    def report(self) -> Figures:
        """What thumbnails cost a run, and what a report of its atlas takes."""
        count = self._sizes.small
        stored = write_config(self._folder, self._small, count)
        plain = write_config(
            self._folder, dataclasses.replace(self._small, thumbnails=False), count
        )
        runs = interleave(self._sizes.repeats, stored=[stored], plain=[plain])
        examples = runs["stored"][0]["examples"]

        def of_thumbnails(figure: str) -> float:
            pairs = zip(runs["stored"], runs["plain"], strict=True)
            differences = [float(one[figure] - other[figure]) for one, other in pairs]
            return float(statistics.median(differences) / examples)

        written = measure("report", stored)
        return {
            "examples": examples,
            "thumbnail_us": 1e6 * of_thumbnails("cpu_seconds"),
            "thumbnail_bytes": of_thumbnails("map_bytes"),
            "report_cpu_seconds": written["cpu_seconds"],
            "report_kib": written["bytes"] / KIB,
        }

    def plan(self) -> Figures:
        """What `plan` predicted over what the run took."""
        config = write_config(self._folder, self._load, self._sizes.many)
        ratios: dict[str, list[float]] = {}
        for _ in range(max(1, self._sizes.repeats // 2)):
            predicted, taken = measure("plan", config), measure("pipeline", config)
            for name, value in predicted.items():
                ratios.setdefault(name, []).append(value / taken[name])
        return {name: statistics.median(values) for name, values in ratios.items()}


SECTIONS: Mapping[str, Callable[[Bench], Figures]] = {
    "overhead": Bench.overhead,
    "small_model": Bench.small_model,
    "workers": Bench.workers,
    "batch_sizes": Bench.batch_sizes,
    "storing": Bench.storing,
    "report": Bench.report,
    "plan": Bench.plan,
}


def interleave(
    rounds: int,
    cores: Mapping[str, int] | None = None,
    measured: Mapping[str, str] | None = None,
    **kinds: Sequence[str],
) -> dict[str, list[Figures]]:
    """Measures kinds in turns.

    Args:
      rounds: How often.
      cores: How many cores a kind may use; all of them where it is not named.
      measured: Which measurement a kind is; where it is not named, the one that it is called like,
        or a pipeline.
      **kinds: Configuration and Beam options of each.
    """
    runs: dict[str, list[Figures]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, arguments in kinds.items():
            name = (measured or {}).get(kind, kind if kind in ("bare", "decode") else "pipeline")
            runs[kind].append(measure(name, *arguments, cores=(cores or {}).get(kind)))
    return runs


def measure(name: str, config: str, *options: str, cores: int | None = None) -> Figures:
    """Makes one measurement, in a process of its own, and reads its figures."""
    script = str(pathlib.Path(__file__).with_name("measures.py"))
    begun = {"BENCH_BEGUN": str(time.time())}
    return figures_of([script, name, config, *options], begun, cores)


def figures_of(
    program: Sequence[str], environment: Mapping[str, str], cores: int | None = None
) -> Figures:
    """The figures that a program prints in its last line, as JSON.

    Args:
      program: Arguments of Python.
      environment: What is added to the environment.
      cores: How many cores it may use; None for all.

    Raises:
      SystemExit: It failed.
    """
    limited = {} if cores is None else {"BENCH_CORES": str(cores)}
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, *program],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment, **limited},
    )
    if done.returncode:
        raise SystemExit(f"{done.stderr}\nerror: the measurement {' '.join(program)} failed")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def median(runs: Sequence[Figures], name: str) -> float:
    """The median of one figure."""
    return float(statistics.median(run[name] for run in runs))


def compare(runs: Mapping[str, Sequence[Figures]]) -> Figures:
    """Medians over rounds of pipeline / bare, and of both."""
    pairs = list(zip(runs["pipeline"], runs["bare"], strict=True))

    def ratio(name: str) -> float:
        return float(statistics.median(run[name] / bare[name] for run, bare in pairs))

    return {
        "examples": runs["pipeline"][0]["examples"],
        "batch_size": runs["pipeline"][0]["batch_size"],
        "cpu_ratio": ratio("cpu_seconds"),
        "cpu_ratio_with_start_up": ratio("process_cpu_seconds"),
        "wall_ratio": ratio("wall_seconds"),
        "pipeline_cpu_seconds": median(runs["pipeline"], "cpu_seconds"),
        "bare_cpu_seconds": median(runs["bare"], "cpu_seconds"),
        "examples_per_second": median(runs["pipeline"], "examples_per_second"),
    }


def describe_machine() -> Figures:
    """What the figures were measured on."""
    from transforms.process.version import installed_versions

    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "load": os.getloadavg()[0],
        "versions": installed_versions(),
    }


def table(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The report's figures as rows: what, and how much."""
    rows: list[tuple[str, str]] = []
    for section in SECTIONS:
        for path, value in _flatten(report.get(section, {})):
            text = f"{value:.3f}" if isinstance(value, float) else str(value)
            rows.append((f"{section}: {path}", text))
    return rows


def _flatten(figures: Any, path: str = "") -> list[tuple[str, Any]]:
    if not isinstance(figures, dict):
        return [(path.replace("_", " "), figures)]
    return [
        pair
        for name, value in figures.items()
        for pair in _flatten(value, f"{path}, {name}" if path else str(name))
    ]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What whole runs cost beside the gradient.")
    parser.add_argument("--model", help="a Keras model for square colour images, labels 0..9")
    parser.add_argument("--side", type=int, default=224, help="height and width of its input")
    parser.add_argument("--scale", default="symmetric", help="its source.input.scale")
    parser.add_argument("--data", help="TFRecord shards of your own instead of photographs")
    parser.add_argument("--batch-size", default="8", help="a number, or auto")
    parser.add_argument("--engine", default="tensorflow", help="tensorflow or openvino")
    parser.add_argument("--block-size", type=int, default=64)
    for field in dataclasses.fields(Sizes):
        parser.add_argument(f"--{field.name}", type=int, default=field.default)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by commas")
    parser.add_argument("--quick", action="store_true", help="see that it works; measures nothing")
    parser.add_argument("--json", metavar="FILE")
    parsed = parser.parse_args(arguments)
    parsed.only = parsed.only.split(",")
    unknown = [name for name in parsed.only if name not in SECTIONS]
    if unknown:
        parser.error(f"--only {unknown[0]}: choose of {', '.join(SECTIONS)}")
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints a table and, with --json, a document."""
    parsed = parse_arguments(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sizes = QUICK if parsed.quick else Sizes(parsed.few, parsed.many, parsed.small, parsed.repeats)
    side = SMALL_SIDE if parsed.quick else parsed.side
    report: Figures = {"machine": describe_machine(), "sizes": dataclasses.asdict(sizes)}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = parsed.model or make_model(folder, side, small=parsed.quick)
        report["model"] = parsed.model or "random weights"
        report["engine"] = parsed.engine
        load = Workload(
            model,
            side,
            parsed.scale,
            parsed.batch_size,
            parsed.block_size,
            parsed.engine,
            parsed.data,
        )
        bench = Bench(folder, load, sizes)
        for section in parsed.only:
            print(f"measuring: {section}", file=sys.stderr)
            report[section] = SECTIONS[section](bench)
    rows = table(report)
    width = max(len(what) for what, _ in rows)
    print(json.dumps(report["machine"]))
    for what, value in rows:
        print(f"{what:{width}}  {value}")
    if parsed.json:
        pathlib.Path(parsed.json).write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
