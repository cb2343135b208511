"""Measures what grows with an atlas and needs no model: listing, resume check, aggregation.

An atlas of fake examples is written block by block. Then a run that finds every block committed is
made of the stages of a real one: each shard's blocks are listed and read back, their rows are
summed by class, statistics, failures and manifest are written. Every size has a process of its
own, whose largest resident memory is part of the result.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from made_up_atlas import FINGERPRINT, RUN, begin_blocks, made_up_manifest
from rich.console import Console
from rich.table import Table

from transforms.elements import BlockKey, ExplainedBlock, Shard
from transforms.statistics.columns import SKETCH_UNIT_BITS
from transforms.storage import LocalStorage
from transforms.store.blocks import commit_block, list_maps_folder
from transforms.store.layout import CLASSES, MANIFEST
from transforms.store.map_format import MapFormat
from transforms.store.publishing import Publication

EXAMPLES_A_SHARD = 500
CLASSES_EXPLAINED = 1000
# The maps themselves are never read back, so they may be small; the sketch is the default one.
FORMAT = MapFormat(map_shape=(8, 8), codec="uint8", sketch_shape=(28, 28), with_boxes=False)


@dataclasses.dataclass(frozen=True)
class Costs:
    """What one size came to.

    Attributes:
      examples: How many.
      blocks: How many files.
      listing_seconds: Listing all blocks once.
      run_seconds: Listing each shard's, reading all back, summing and publishing.
      cpu_seconds: Of the processor in that time, which tells more where others share the machine.
      peak_bytes: Largest resident memory of the process.
    """

    examples: int
    blocks: int
    listing_seconds: float
    run_seconds: float
    cpu_seconds: float
    peak_bytes: int


def write_atlas(root: Path, shards: int) -> list[Shard]:
    """Writes a block for each of so many shards; the rows are the same but for their names."""
    made = [Shard(f"/simulated/shard-{number:06d}.tfrecord", 1) for number in range(shards)]
    table = fake_rows(np.random.default_rng(0))
    storage = begin_blocks(root)
    for shard in made:
        names = pa.array([shard.name] * table.num_rows)
        key = BlockKey(shard, 0, 0, table.num_rows, last=True)
        rows = table.set_column(1, table.schema.field(1), names)
        block = ExplainedBlock(key, rows, table.num_rows, (), 0.0)
        commit_block(str(root), block, FINGERPRINT, storage, RUN)
    return made


def fake_rows(random: np.random.Generator, stored: MapFormat = FORMAT) -> pa.Table:
    """A block's rows, of classes at random, with values that compress as badly as real ones."""
    count = EXAMPLES_A_SHARD
    weights = random.exponential(size=(count, *stored.sketch_shape))
    sketches = weights / weights.sum(axis=(1, 2), keepdims=True) * 2**SKETCH_UNIT_BITS
    classes = random.integers(0, CLASSES_EXPLAINED, count, np.int32)
    return stored.table(
        {
            "example_id": pa.array([f"example-{number}" for number in range(count)]),
            "shard": pa.array(["shard"] * count),
            "record": np.arange(count, dtype=np.int64),
            "label": pa.array(classes),
            "target": classes,
            "predicted": classes,
            "score": random.normal(size=count).astype(np.float32),
            "predicted_score": random.normal(size=count).astype(np.float32),
            "map": random.integers(0, 256, (count, *stored.map_shape), np.uint8),
            "map_scale": random.random(count, np.float32),
            "sketch": np.floor(sketches).astype(np.int32),
            **{name: random.random(count, np.float32) for name in stored.statistic_names},
        }
    )


def measure(root: Path, shards: Sequence[Shard]) -> Costs:
    """Lists the atlas, and runs it again with every block committed."""
    import apache_beam as beam

    from transforms.formats.features import Features
    from transforms.formats.source import InputSpec, SourceSpec
    from transforms.stages.aggregate import AggregateStatistics
    from transforms.stages.publish import PublishAtlas
    from transforms.stages.read import Committed, ReadBlocks

    started = time.perf_counter()
    folder = list_maps_folder(str(root), shards, LocalStorage())
    blocks = sum(map(len, folder.blocks.values()))
    listing = time.perf_counter() - started

    source = SourceSpec("tfrecord", Features(id=None, input="image", label="label"))
    committed = Committed(str(root), FINGERPRINT)
    config = {"source": {"features": {"id": None}}}
    manifest = made_up_manifest(FORMAT, settings={}, config=config)
    publication = Publication(str(root), manifest, time.time(), 1.0, run=RUN)
    started, cpu_started = time.perf_counter(), time.process_time()
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = (
            pipeline
            | "Shards" >> beam.Create(shards, reshuffle=False)
            | "SpreadShards" >> beam.Reshuffle()
            | "ReadBlocks" >> ReadBlocks(source, InputSpec("image", (8, 8, 3)), 512, committed)
            | "AggregateStatistics" >> AggregateStatistics(FORMAT, with_ids=False)
            | "PublishAtlas" >> PublishAtlas(publication)
        )
    run, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    published = json.loads((root / MANIFEST).read_text())
    assert (root / CLASSES).exists()  # noqa: S101 - else nothing was measured
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return Costs(published["explained_examples"], blocks, listing, run, cpu, peak)


def simulate(shards: int) -> Costs:
    """Measures one size in a process of its own."""
    root = Path(tempfile.mkdtemp(prefix="simulated-atlas-"))
    try:
        write_atlas(root, shards)
        command = [sys.executable, __file__, "--measure", str(root), str(shards)]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
        fields: dict[str, Any] = json.loads(found.stdout)
        return Costs(**fields)
    finally:
        shutil.rmtree(root)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", nargs="*", type=int, default=[250, 500, 1000, 2000])
    parser.add_argument("--measure", metavar="ATLAS", type=Path, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if parsed.measure:
        (count,) = parsed.shards
        shards = [Shard(f"/simulated/shard-{number:06d}.tfrecord", 1) for number in range(count)]
        print(json.dumps(dataclasses.asdict(measure(parsed.measure, shards))))
        return 0
    table = Table(
        "examples", "blocks", "listing", "resume and aggregate", "CPU", "CPU a block", "peak memory"
    )
    for count in parsed.shards:
        costs = simulate(count)
        table.add_row(
            f"{costs.examples:,}",
            f"{costs.blocks:,}",
            f"{costs.listing_seconds:.2f} s",
            f"{costs.run_seconds:.1f} s",
            f"{costs.cpu_seconds:.1f} s",
            f"{1000 * costs.cpu_seconds / costs.blocks:.1f} ms",
            f"{costs.peak_bytes / 2**30:.2f} GiB",
        )
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
