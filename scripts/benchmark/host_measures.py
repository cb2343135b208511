"""What the host does for an image, measured in a process of its own.

python scripts/benchmark/host_measures.py run CONFIG      # a whole run with canned results
python scripts/benchmark/host_measures.py steps CONFIG    # each step alone
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmark.canned import with_canned_results
from benchmark.measures import Stopwatch

if TYPE_CHECKING:
    from pipeline.run.job import Prepared
    from transforms.elements import Block
    from transforms.storage import Storage

REPEATS = 5
SAMPLING_SECONDS = 0.05
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_USER_TICKS, _SYSTEM_TICKS = 11, 12  # fields of /proc/PID/task/TID/stat behind the name

Figures = dict[str, Any]


class BusiestThread:
    """Watches how much CPU time each thread of this process takes, while it is entered."""

    def __init__(self) -> None:
        self._begun = _seconds_by_thread()
        self._taken: dict[str, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> BusiestThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """The most that one of them has taken."""
        return max(self._taken.values(), default=0.0)

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLING_SECONDS):
            for thread, seconds in _seconds_by_thread().items():
                self._taken[thread] = seconds - self._begun.get(thread, 0.0)


def measure_run(config_path: str) -> Figures:
    """From files on disk to committed blocks and the manifest, without a device's work."""
    from pipeline.run.begin import begin_atlas
    from pipeline.run.launch import execute
    from pipeline.run.progress import Progress
    from pipeline.runners.options import pipeline_options
    from transforms.filesystems import BeamStorage
    from transforms.store.lease_file import run_folder

    storage = BeamStorage()
    prepared = _canned(config_path, storage)
    options = pipeline_options({}, [])
    folder = run_folder(prepared.job.atlas, prepared.job.attempt)
    rounds = []
    for _ in range(2):  # The first warms up.
        storage.make_folder(folder)
        begin_atlas(prepared.job.publication, "overwrite", storage)
        stopwatch = Stopwatch()
        with BusiestThread() as busiest:
            manifest = execute(prepared, options, Progress(None), storage)
        figures = stopwatch.figures(manifest["explained_examples"])
        rounds.append(figures | {"busiest_thread_seconds": busiest.seconds})
    return rounds[-1]


def measure_steps(config_path: str) -> Figures:
    """CPU time an image of each step, alone, in microseconds: the median of a few rounds."""
    from transforms.storage import LocalStorage

    storage = LocalStorage()
    prepared = _canned(config_path, storage)
    steps = _Steps(prepared, storage)
    rounds = [steps.microseconds() for _ in range(1 + REPEATS)][1:]
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


class _Steps:
    """Goes through a run step by step, all images at each."""

    def __init__(self, prepared: Prepared, storage: Storage) -> None:
        self._job = prepared.job
        self._explainer = prepared.explainer
        self._storage = storage

    def microseconds(self) -> Figures:
        """CPU time an image of each step."""
        taken = {
            "read": _cpu_seconds(self._read),
            "checksum": _cpu_seconds(self._frames),
            "parse": _cpu_seconds(self._blocks),
        }
        blocks = self._blocks()
        images = sum(len(block.examples) for block in blocks)
        decoding = self._decoding(blocks)
        taken |= decoding
        taken |= self._storing(blocks, sum(decoding.values()))
        taken["parse"] -= taken["checksum"]
        taken["checksum"] -= taken["read"]
        return {name: 1e6 * seconds / images for name, seconds in taken.items()}

    def _decoding(self, blocks: list[Block]) -> Figures:
        """From encoded images to pixels, and what those look like."""
        from transforms.formats.images.decoding import InputDecoder
        from transforms.formats.images.properties import input_properties

        decoder = InputDecoder(self._job.inputs, threads=1)
        size = self._job.explain.program.batch_size
        taken = {"decode": 0.0, "properties": 0.0}
        for block in blocks:
            for start in range(0, len(block.examples), size):
                begun = time.process_time()
                pixels, _ = decoder.decode(block.examples.inputs[start : start + size])
                decoded = time.process_time()
                input_properties(pixels)
                taken["decode"] += decoded - begun
                taken["properties"] += time.process_time() - decoded
        return taken

    def _storing(self, blocks: list[Block], decoding: float) -> Figures:
        """From decoded images to statistics."""
        from transforms.statistics.maps import gini_from_codes
        from transforms.statistics.peak_windows import peak_windows
        from transforms.store.block_file import encode_block
        from transforms.store.blocks import commit_block
        from transforms.store.lease_file import run_folder
        from transforms.store.map_format import map_codes

        job = self._job
        explained: list[Any] = []
        explaining = _cpu_seconds(
            lambda: explained.extend(self._explainer.explain(block) for block in blocks)
        )
        codes = [map_codes(block.table) for block in explained]
        gini = _cpu_seconds(lambda: [gini_from_codes(each) for each in codes])
        windows = _cpu_seconds(lambda: [peak_windows(each) for each in codes])
        encoding = _cpu_seconds(lambda: [encode_block(each, "bench") for each in explained])
        self._storage.make_folder(run_folder(job.atlas, job.attempt))
        committed: list[Any] = []
        committing = _cpu_seconds(
            lambda: committed.extend(
                commit_block(job.atlas, each, job.fingerprint, self._storage, job.attempt)
                for each in explained
            )
        )

        def aggregate() -> None:
            sums = job.explain.map_format.no_sums()
            for block in committed:
                sums.add(block.summary)

        return {
            "rows": explaining - decoding - gini - windows,
            "gini": gini,
            "windows": windows,
            "encode": encoding,
            "commit": committing - encoding,
            "aggregate": _cpu_seconds(aggregate),
        }

    def _read(self) -> None:
        for shard in self._job.shards:
            with self._storage.open(shard.path) as file:
                while file.read(1 << 20):
                    pass

    def _frames(self) -> None:
        from transforms.formats.tfrecord.framing import read_frames

        for shard in self._job.shards:
            with self._storage.open(shard.path) as file:
                for _ in read_frames(file):
                    pass

    def _blocks(self) -> list[Block]:
        from transforms.formats.reader import read_blocks

        job = self._job
        return [
            block
            for shard in job.shards
            for block in read_blocks(shard, job.source, job.inputs, job.block_size, self._storage)
        ]


def _canned(config_path: str, storage: Storage) -> Prepared:
    from pipeline.config.keys import load_config
    from pipeline.run.job import prepare
    from transforms.formats.reader import probe

    prepared = prepare(load_config(config_path), storage, "overwrite").without_lease()
    job = prepared.job
    size = job.explain.program.batch_size
    examples = probe(job.shards[0], job.source, job.inputs, storage, size)
    return with_canned_results(prepared, examples)


def _cpu_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _seconds_by_thread() -> dict[str, float]:
    """CPU time of this process's threads by number; none where the system does not tell."""
    found: dict[str, float] = {}
    for path in pathlib.Path("/proc/self/task").glob("*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # It has just ended.
            continue
        ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
        found[path.parent.name] = ticks / _TICKS_PER_SECOND
    return found


MEASURES: dict[str, Callable[[str], Figures]] = {"run": measure_run, "steps": measure_steps}

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "BENCH_CORES" in os.environ:
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, usable[: int(os.environ["BENCH_CORES"])])
    print(json.dumps(MEASURES[sys.argv[1]](sys.argv[2])))
