"""Measures whole runs against a bare loop over the same compiled function.

    scripts/bench                                        # a MobileNetV2 with random weights
    scripts/bench --model lite0.keras --scale none       # a model of yours, on the same photographs

Each measurement is a process of its own, so that nothing is warm for one and cold for the other;
`pipeline` and `bare` take turns, and the medians of their ratios are shown.

Inputs are crops, 224 x 224, of the photographs that the scikit-image and scikit-learn packages
ship, as JPEG in TFRecord shards.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

SIDE = 224
SHARDS = 4
BYTES_PER_KIB = 1024
MIB = 1 << 20


def main() -> int:
    """Parses arguments, measures, prints a table and, with --json, a document."""
    parser = argparse.ArgumentParser(description="Whole runs against a bare loop.")
    parser.add_argument("--model", help="a Keras model for 224 x 224 x 3 inputs, with labels 0..9")
    parser.add_argument("--scale", default="symmetric", help="its source.input.scale")
    parser.add_argument("--batch-size", default="8")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--many", type=int, default=1000, help="for the growth of memory")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--measure", choices=("pipeline", "bare"), help=argparse.SUPPRESS)
    parser.add_argument("--config", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if arguments.measure:
        measure = {"pipeline": measure_pipeline, "bare": measure_bare}[arguments.measure]
        print(json.dumps(measure(arguments.config)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        report = bench(arguments, pathlib.Path(folder))
    print_report(report)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n")
    return 0


def bench(arguments: argparse.Namespace, folder: pathlib.Path) -> dict[str, Any]:
    """Makes data and model, measures in turns, and reports."""
    model = arguments.model or make_model(folder)
    few, many = (
        write_config(arguments, folder, model, count)
        for count in (arguments.examples, arguments.many)
    )
    runs: dict[str, list[dict[str, float]]] = {"pipeline": [], "bare": []}
    for _ in range(arguments.repeats):
        for kind in ("pipeline", "bare"):
            runs[kind].append(measure_in_a_process(kind, few))
    large = measure_in_a_process("pipeline", many)
    peak = statistics.median(run["peak_bytes"] for run in runs["pipeline"])
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
        "model": arguments.model or "MobileNetV2, random weights",
        "examples": arguments.examples,
        "batch_size": arguments.batch_size,
        "runs": runs,
        "cpu_ratio": median_ratio(runs, "cpu_seconds"),
        "cpu_ratio_whole_process": median_ratio(runs, "process_cpu_seconds"),
        "wall_ratio": median_ratio(runs, "wall_seconds"),
        "many": {"examples": arguments.many, **large},
        "memory_growth_mib": (large["peak_bytes"] - peak) / MIB,
    }


def median_ratio(runs: dict[str, list[dict[str, float]]], figure: str) -> float:
    """The median over rounds of pipeline / bare."""
    pairs = zip(runs["pipeline"], runs["bare"], strict=True)
    return statistics.median(pipeline[figure] / bare[figure] for pipeline, bare in pairs)


def print_report(report: dict[str, Any]) -> None:
    """Prints what counts."""
    print(f"{report['model']}, {report['examples']} photographs, batch {report['batch_size']}")
    for kind, runs in report["runs"].items():
        rate = statistics.median(run["examples_per_second"] for run in runs)
        cpu = statistics.median(run["cpu_seconds"] for run in runs)
        print(f"  {kind:9} {rate:7.2f} images/s   {cpu:7.2f} s CPU")
    print(f"  CPU, pipeline / bare loop            {report['cpu_ratio']:.3f}")
    print(f"  CPU, whole processes                 {report['cpu_ratio_whole_process']:.3f}")
    print(f"  wall, pipeline / bare loop           {report['wall_ratio']:.3f}")
    growth, many = report["memory_growth_mib"], report["many"]["examples"]
    print(f"  peak memory, {report['examples']} -> {many} examples    {growth:+.0f} MiB")


def measure_in_a_process(kind: str, config: pathlib.Path) -> dict[str, float]:
    """Runs one measurement and reads its figures."""
    command = [sys.executable, __file__, "--measure", kind, "--config", str(config)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure_pipeline(config_path: str) -> dict[str, float]:
    """A whole run: read, decode, explain, statistics, compress, write, aggregate, publish."""
    from pipeline.begin import begin_atlas
    from pipeline.config import load_config
    from pipeline.job import execute, prepare
    from pipeline.progress import Progress
    from pipeline.runners import pipeline_options
    from transforms.filesystems import BeamStorage

    storage = BeamStorage()
    config = load_config(config_path)
    options = pipeline_options(config.runner, [])
    prepared = prepare(config, storage, "overwrite", {})
    begin_atlas(prepared.job.atlas, "overwrite", prepared.job.conclusion.manifest, storage)
    stopwatch = Stopwatch()
    manifest = execute(prepared, options, Progress(None), storage)
    return stopwatch.figures(manifest["explained_examples"])


def measure_bare(config_path: str) -> dict[str, float]:
    """The compiled function alone, over batches decoded beforehand."""
    from pipeline.config import load_config
    from pipeline.job import prepare
    from transforms.formats.images import InputDecoder
    from transforms.formats.reader import read_blocks
    from transforms.saliency.program import Program
    from transforms.storage import LocalStorage

    storage = LocalStorage()
    prepared = prepare(load_config(config_path), storage, "overwrite", {})
    job = prepared.job
    decoder = InputDecoder(job.inputs)
    size = job.explain.program.batch_size
    batches = []
    for shard in job.shards:
        for block in read_blocks(shard, job.source, job.inputs, job.block_size, storage):
            for start in range(0, len(block.examples), size):
                inputs, _ = decoder.decode(block.examples.inputs[start : start + size])
                batches.append((inputs, block.examples.labels[start : start + size]))
    program = Program(prepared.model, job.explain.program, job.explain.statistics)
    program.run(*batches[0])
    stopwatch = Stopwatch()
    for inputs, labels in batches:
        program.run(inputs, labels)
    return stopwatch.figures(sum(len(labels) for _, labels in batches))


class Stopwatch:
    """Wall and CPU time since it was made, and the process's peak memory."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def figures(self, examples: int) -> dict[str, float]:
        """What has been used."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time()
        return {
            "wall_seconds": wall,
            "cpu_seconds": cpu - self._cpu,
            "process_cpu_seconds": cpu,
            "examples_per_second": examples / wall,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_KIB,
        }


def make_model(folder: pathlib.Path) -> str:
    """A MobileNetV2 that ends in logits."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(
        weights=None, classes=1000, classifier_activation=None, input_shape=(SIDE, SIDE, 3)
    )
    path = folder / "model.keras"
    model.save(path)
    return str(path)


def write_config(
    arguments: argparse.Namespace, folder: pathlib.Path, model: str, examples: int
) -> pathlib.Path:
    """Writes photographs and a configuration for a run over them."""
    import yaml

    data = folder / f"data-{examples}"
    write_photographs(data, examples)
    settings = {
        "source": {
            "pattern": str(data / "*.tfrecord"),
            "features": {"input": "image", "label": "label"},
            "input": {"shape": [SIDE, SIDE, 3], "scale": arguments.scale},
        },
        "model": {"uri": model},
        "explain": {
            "batch_size": arguments.batch_size
            if arguments.batch_size == "auto"
            else int(arguments.batch_size)
        },
        "output": {"path": str(folder / f"atlas-{examples}"), "block_size": 64},
    }
    path = folder / f"config-{examples}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def write_photographs(folder: pathlib.Path, count: int) -> None:
    """Writes random crops of photographs as JPEG, their labels by photograph."""
    import numpy as np
    import tensorflow as tf
    from demo_data import PHOTOGRAPHS, read_photograph
    from tensorflow.core.example import example_pb2

    folder.mkdir()
    photographs = [read_photograph(*place) for place in PHOTOGRAPHS.values()]
    generator = np.random.default_rng(0)
    writers = [
        tf.io.TFRecordWriter(str(folder / f"photographs-{number}.tfrecord"))
        for number in range(SHARDS)
    ]
    for number in range(count):
        label = number % len(photographs)
        photograph = photographs[label]
        top, left = (int(generator.integers(0, side - SIDE + 1)) for side in photograph.shape[:2])
        crop = photograph[top : top + SIDE, left : left + SIDE]
        example = example_pb2.Example()
        features = example.features.feature
        features["image"].bytes_list.value.append(tf.io.encode_jpeg(crop).numpy())
        features["label"].int64_list.value.append(label)
        writers[number % SHARDS].write(example.SerializeToString())
    for writer in writers:
        writer.close()


if __name__ == "__main__":
    sys.exit(main())
