"""What the host does for an image, measured in a process of its own.

python scripts/benchmark/host_measures.py run COLUMNS CONFIG FEW    # whole runs, canned results
python scripts/benchmark/host_measures.py steps COLUMNS CONFIG      # each step alone

COLUMNS is `all`, or `maps` for runs without those that came later (`canned.py`). FEW is the same
configuration with fewer images.
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
from unittest import mock

from benchmark.canned import with_canned_results, without_later_columns
from benchmark.measures import Stopwatch

if TYPE_CHECKING:
    from pipeline.run.job import Prepared
    from transforms.elements import Block
    from transforms.storage import Storage

REPEATS = 5
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_USER_TICKS, _SYSTEM_TICKS = 11, 12  # fields of /proc/PID/task/TID/stat behind the name

Figures = dict[str, Any]


class BusiestThread:
    """Sees how much CPU time each thread of this process takes, while it is entered.

    Threads of Python's say so when they end, those that go on are asked at the end: to ask all of
    them now and then would take as much as a step of a run does.
    """

    def __init__(self) -> None:
        self._begun = _seconds_by_thread()
        self._taken: dict[str, float] = {}
        self._patch = mock.patch.object(threading.Thread, "run", self._noting(threading.Thread.run))

    def __enter__(self) -> BusiestThread:
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()
        for thread, seconds in _seconds_by_thread().items():
            self._taken[thread] = seconds - self._begun.get(thread, 0.0)

    @property
    def seconds(self) -> float:
        """The most that one of them has taken."""
        return max(self._taken.values(), default=0.0)

    def _noting(self, run: Callable[[threading.Thread], None]) -> Callable[..., None]:
        def noting_run(thread: threading.Thread) -> None:
            try:
                run(thread)
            finally:
                self._taken[str(threading.get_native_id())] = time.thread_time()

        return noting_run


def measure_run(columns: str, config_path: str, few_path: str) -> Figures:
    """From files on disk to committed blocks and the manifest, without a device's work.

    Args:
      columns: Which are stored.
      config_path: The configuration.
      few_path: The same with fewer images.

    Returns:
      Figures of the run, and as `few` those of the one with fewer images.
    """
    from transforms.filesystems import BeamStorage

    storage = BeamStorage()
    few, many = (_canned(columns, path, storage) for path in (few_path, config_path))
    _run(few, storage)  # It warms up.
    of_few = _run(few, storage)
    return _run(many, storage) | {"few": of_few}


def _run(prepared: Prepared, storage: Storage) -> Figures:
    from pipeline.run.begin import begin_atlas
    from pipeline.run.launch import execute
    from pipeline.run.progress import Progress
    from pipeline.runners.options import pipeline_options
    from transforms.store.lease_file import run_folder

    storage.make_folder(run_folder(prepared.job.atlas, prepared.job.attempt))
    begin_atlas(prepared.job.publication, "overwrite", storage)
    options = pipeline_options({}, [])
    stopwatch = Stopwatch()
    with BusiestThread() as busiest:
        manifest = execute(prepared, options, Progress(None), storage)
    figures = stopwatch.figures(manifest["explained_examples"])
    return figures | {"busiest_thread_seconds": busiest.seconds}


def measure_steps(columns: str, config_path: str) -> Figures:
    """CPU time an image of each step, alone, in microseconds: the median of a few rounds."""
    from transforms.storage import LocalStorage

    storage = LocalStorage()
    prepared = _canned(columns, config_path, storage)
    steps = _Steps(prepared, storage)
    rounds = [steps.microseconds() for _ in range(1 + REPEATS)][1:]
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


class _Steps:
    """Goes through a run step by step, all images at each."""

    def __init__(self, prepared: Prepared, storage: Storage) -> None:
        self._job = prepared.job
        self._format = prepared.job.explain.map_format
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
        taken = {"decode": 0.0}
        if self._format.with_properties:
            taken["properties"] = 0.0
        for block in blocks:
            for start in range(0, len(block.examples), size):
                begun = time.process_time()
                pixels, _ = decoder.decode(block.examples.inputs[start : start + size])
                decoded = time.process_time()
                taken["decode"] += decoded - begun
                if self._format.with_properties:
                    input_properties(pixels)
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
        of_maps = {"gini": _cpu_seconds(lambda: [gini_from_codes(each) for each in codes])}
        if self._format.with_windows:
            of_maps["windows"] = _cpu_seconds(lambda: [peak_windows(each) for each in codes])
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
            sums = self._format.no_sums()
            for block in committed:
                sums.add(block.summary)

        return {
            "rows": explaining - decoding - sum(of_maps.values()),
            **of_maps,
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


def _canned(columns: str, config_path: str, storage: Storage) -> Prepared:
    from pipeline.config.keys import load_config
    from pipeline.run.job import prepare
    from transforms.formats.reader import probe

    prepared = prepare(load_config(config_path), storage, "overwrite").without_lease()
    if columns == "maps":
        prepared = without_later_columns(prepared)
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


MEASURES: dict[str, Callable[..., Figures]] = {"run": measure_run, "steps": measure_steps}

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "BENCH_CORES" in os.environ:
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, usable[: int(os.environ["BENCH_CORES"])])
    print(json.dumps(MEASURES[sys.argv[1]](*sys.argv[2:])))
