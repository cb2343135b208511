"""The benchmark's measurements, each made in a process of its own.

    python scripts/benchmark/measures.py pipeline CONFIG [BEAM OPTIONS]     # prints figures as JSON

So nothing is warm for one and cold for another, and the peak memory is that of what was measured.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.run.job import Prepared
    from transforms.elements import ExplainedBlock

BYTES_PER_KIB = 1024  # ru_maxrss is in KiB on Linux
SWEPT_SIZES = (4, 8, 16, 32, 64)
SWEEP_CALLS = 5
REPEATS = 5
CODECS = ("uint8", "float16", "float32")

Figures = dict[str, Any]


class Stopwatch:
    """Wall and CPU time since it was made, and the process's peak memory."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def figures(self, examples: int) -> Figures:
        """What has been used; `process_cpu_seconds` counts from the interpreter's start."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time()
        return {
            "wall_seconds": wall,
            "cpu_seconds": cpu - self._cpu,
            "process_cpu_seconds": cpu,
            "examples": examples,
            "examples_per_second": examples / wall,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_KIB,
        }


def measure_pipeline(config_path: str, beam_options: Sequence[str]) -> Figures:
    """A whole run: read, decode, explain, statistics, compress, write, aggregate, publish."""
    return _measure_run(config_path, beam_options, lambda prepared: prepared)


def measure_maps_alone(config_path: str, beam_options: Sequence[str]) -> Figures:
    """The same without thumbnails, properties of inputs and peak windows."""
    from benchmark.canned import without_later_columns

    return _measure_run(config_path, beam_options, without_later_columns)


def _measure_run(
    config_path: str, beam_options: Sequence[str], changed: Callable[[Prepared], Prepared]
) -> Figures:
    begun = float(os.environ.get("BENCH_BEGUN", time.time()))
    from pipeline.config.keys import load_config
    from pipeline.run.begin import begin_atlas
    from pipeline.run.job import prepare
    from pipeline.run.launch import execute
    from pipeline.run.progress import Progress
    from pipeline.runners.options import pipeline_options, processes_here
    from transforms.filesystems import BeamStorage
    from transforms.store.lease_file import run_folder

    storage = BeamStorage()
    config = load_config(config_path)
    options = pipeline_options(config.runner, beam_options)
    prepared = prepare(config, storage, "overwrite", None, processes_here(options)).without_lease()
    prepared = changed(prepared)
    storage.make_folder(run_folder(prepared.job.atlas, prepared.job.attempt))
    begin_atlas(prepared.job.publication, "overwrite", storage)
    stopwatch = Stopwatch()
    manifest = execute(prepared, options, Progress(None), storage)
    figures = stopwatch.figures(manifest["explained_examples"])
    committed = pathlib.Path(prepared.job.atlas, "maps").rglob("*.parquet")
    return figures | {
        "run_seconds": manifest["wall_seconds"],
        "run_examples_per_second": manifest["examples_per_second"],
        "map_bytes": manifest["map_bytes"],
        "batch_size": manifest["batch_size"],
        "threads": manifest["threads"],
        "start_up_seconds": min(path.stat().st_mtime for path in committed) - begun,
    }


def measure_bare(config_path: str, _: Sequence[str]) -> Figures:
    """The compiled function alone, over batches decoded beforehand."""
    from transforms.saliency.program import Program

    prepared = _prepare(config_path)
    explain = prepared.job.explain
    batches = list(_decoded_batches(prepared))
    program = Program.compile(prepared.model, explain.program, explain.statistics)
    program.run(*batches[0])
    stopwatch = Stopwatch()
    for inputs, labels in batches:
        program.run(inputs, labels)
    return stopwatch.figures(sum(len(labels) for _, labels in batches))


def measure_decode(config_path: str, _: Sequence[str]) -> Figures:
    """Reading and decoding alone."""
    prepared = _prepare(config_path)
    stopwatch = Stopwatch()
    return stopwatch.figures(sum(len(labels) for _, labels in _decoded_batches(prepared)))


def measure_batch_sizes(config_path: str, _: Sequence[str]) -> Figures:
    """What `auto` chooses and what that costs, beside a full sweep."""
    from pipeline.run.choose import measure_batch_size
    from transforms.formats.reader import probe
    from transforms.models.devices import has_gpu
    from transforms.saliency.batching.size import starting_batch_size
    from transforms.storage import LocalStorage

    storage = LocalStorage()
    prepared = _prepare(config_path)
    job, explainer = (
        prepared.job,
        prepared.explainer.resized(
            starting_batch_size(prepared.job.inputs.shape, on_gpu=has_gpu())
        ),
    )
    examples = probe(job.shards[0], job.source, job.inputs, storage, max(SWEPT_SIZES))
    timer = explainer.batch_timer(examples)
    timer.seconds(job.explain.program.batch_size)  # as a run has, before it measures
    begun = time.perf_counter()
    choice = measure_batch_size(explainer, examples, prepared.records_estimated)
    cost = time.perf_counter() - begun
    fastest: dict[int, float] = {}
    for _round in range(SWEEP_CALLS):  # interleaved: a disturbance does not hit one size alone
        for size in {*SWEPT_SIZES, choice.size}:
            seconds = timer.seconds(size)
            if seconds is not None:
                fastest[size] = min(fastest.get(size, seconds), seconds)
    rates = {size: timer.at_once * size / each for size, each in sorted(fastest.items())}
    return {
        "chosen": choice.size,
        "measured": choice.as_dict(),
        "measuring_seconds": cost,
        "share_of_2000_examples": cost * rates[choice.size] / 2000,
        "sweep": rates,
        "chosen_to_best": rates[choice.size] / max(rates.values()),
    }


def measure_plan(config_path: str, _: Sequence[str]) -> Figures:
    """What `plan` predicts."""
    from pipeline.commands.plan import plan
    from pipeline.config.keys import load_config
    from transforms.filesystems import BeamStorage

    planned = plan(load_config(config_path), BeamStorage())
    return {
        "run_seconds": planned.seconds_estimated,
        "map_bytes": planned.map_bytes_estimated,
        "peak_bytes": planned.memory_bytes_estimated,
    }


def measure_storing(config_path: str, _: Sequence[str]) -> Figures:
    """One block of each codec encoded, and its statistics summed: CPU time a map, bytes a map."""
    from transforms.statistics.columns import statistic_names
    from transforms.statistics.groups.sums import AtlasSums
    from transforms.store.block_file import encode_block

    figures: Figures = {}
    explained = None
    for codec in CODECS:
        explained = _first_explained(config_path, codec)
        maps = explained.table.num_rows
        size = len(encode_block(explained, "bench"))
        seconds = _cpu_seconds(lambda block=explained: encode_block(block, "bench"))  # type: ignore[misc]
        figures[codec] = {"encode_us_a_map": 1e6 * seconds / maps, "bytes_a_map": size / maps}
    assert explained is not None  # noqa: S101 - there are codecs
    summary = explained.table.drop_columns(["map"])
    sketch_shape = tuple(summary.schema.field("sketch").type.shape)

    def aggregate() -> None:
        AtlasSums(sketch_shape, statistic_names(with_boxes=False)).add(summary)

    figures["statistics_rows_per_second"] = summary.num_rows / _cpu_seconds(aggregate)
    return figures


def measure_report(config_path: str, _: Sequence[str]) -> Figures:
    """The page of the atlas that a run with this configuration has made."""
    from pipeline.atlas import Atlas
    from pipeline.config.keys import load_config
    from pipeline.report import write

    path = load_config(config_path).output.path
    stopwatch = Stopwatch()
    atlas = Atlas.open(path)
    written = write(atlas, f"{path}/report.html")
    return stopwatch.figures(atlas.manifest["explained_examples"]) | {"bytes": written["bytes"]}


def _prepare(config_path: str) -> Prepared:
    from pipeline.config.keys import load_config
    from pipeline.run.job import prepare
    from transforms.storage import LocalStorage

    return prepare(load_config(config_path), LocalStorage(), "overwrite")


def _decoded_batches(prepared: Prepared) -> Iterator[tuple[Any, Any]]:
    """(inputs, labels) of the mini-batches that a run would make."""
    from transforms.formats.images.decoding import InputDecoder
    from transforms.formats.reader import read_blocks
    from transforms.storage import LocalStorage

    job = prepared.job
    decoder = InputDecoder(job.inputs, threads=1)
    size = job.explain.program.batch_size
    for shard in job.shards:
        for block in read_blocks(shard, job.source, job.inputs, job.block_size, LocalStorage()):
            for start in range(0, len(block.examples), size):
                inputs, _ = decoder.decode(block.examples.inputs[start : start + size])
                yield inputs, block.examples.labels[start : start + size]


def _first_explained(config_path: str, codec: str) -> ExplainedBlock:
    """The first block, explained, for a codec."""
    from pipeline.config.keys import load_config
    from pipeline.run.job import prepare
    from transforms.formats.reader import read_blocks
    from transforms.storage import LocalStorage

    document = load_config(config_path).as_dict()
    document["output"]["codec"] = codec
    config = type(load_config(config_path)).from_dict(document)
    prepared = prepare(config, LocalStorage(), "overwrite")
    job = prepared.job
    blocks = read_blocks(job.shards[0], job.source, job.inputs, job.block_size, LocalStorage())
    return prepared.explainer.explain(next(blocks))


def _cpu_seconds(work: Callable[[], object]) -> float:
    """The least of a few calls' CPU time."""
    taken = []
    for _ in range(REPEATS):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken)


MEASURES: dict[str, Callable[[str, Sequence[str]], Figures]] = {
    "pipeline": measure_pipeline,
    "maps_alone": measure_maps_alone,
    "bare": measure_bare,
    "decode": measure_decode,
    "batch_sizes": measure_batch_sizes,
    "plan": measure_plan,
    "storing": measure_storing,
    "report": measure_report,
}

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "BENCH_CORES" in os.environ:
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, usable[: int(os.environ["BENCH_CORES"])])
    print(json.dumps(MEASURES[sys.argv[1]](sys.argv[2], sys.argv[3:])))
