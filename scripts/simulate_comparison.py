"""Measures what comparing two atlases costs, beside summarizing one of them: fake maps, no model.

Two atlases of the same examples are written, whose maps have half of their values in common. Then
`summarize` and `compare` run in processes of their own, in turns.
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

import numpy as np
import pyarrow as pa
from made_up_atlas import made_up_manifest, write_made_up
from rich.console import Console
from rich.table import Table
from simulate import EXAMPLES_A_SHARD, FORMAT, fake_rows

from transforms.elements import BlockKey, ExplainedBlock, Shard
from transforms.store.map_format import MAP, MapFormat, map_codes

COMMANDS = ("summarize", "compare")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a command came to.

    Attributes:
      seconds: By the wall clock.
      cpu_seconds: Of the processor.
      peak_bytes: Largest resident memory of the process.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def write_pair(root: Path, shards: int, side: int) -> tuple[Path, Path]:
    """Writes two atlases, `first` and `second`, of so many shards with maps of side x side."""
    stored = dataclasses.replace(FORMAT, map_shape=(side, side))
    random = np.random.default_rng(0)
    rows = fake_rows(random, stored)
    codes = map_codes(rows)
    others = np.where(random.random(codes.shape) < 1 / 2, codes, np.flip(codes))
    field = stored.map_field
    maps = pa.array([each.tobytes() for each in others], field.type)
    moved = rows.set_column(rows.column_names.index(MAP), field, maps)
    paths = root / "first", root / "second"
    for path, table in zip(paths, (rows, moved), strict=True):
        _write_atlas(path, shards, table, stored)
    return paths


def _write_atlas(root: Path, shards: int, rows: pa.Table, stored: MapFormat) -> None:
    files = [Shard(f"/simulated/shard-{number:06d}.tfrecord", 1) for number in range(shards)]
    manifest = made_up_manifest(
        stored,
        settings={
            "model": {"digest": root.name},
            "explain": {"method": "saliency"},
            "output": {"block_size": EXAMPLES_A_SHARD},
        },
        config={"source": {"features": {"id": None}}, "model": {"uri": f"{root.name}.keras"}},
        shards=files,
    )
    keys = (BlockKey(shard, 0, 0, rows.num_rows, last=True) for shard in files)
    blocks = (ExplainedBlock(key, rows, rows.num_rows, (), 0.0) for key in keys)
    write_made_up(root, manifest, blocks)


def measure(command: str, root: Path) -> Cost:
    """Runs a command in this process, imports apart."""
    from pipeline.commands.compare import compare_atlases
    from pipeline.commands.summarize import summarize
    from pipeline.run.progress import unheard
    from pipeline.runners import options
    from transforms.filesystems import BeamStorage

    assert options  # noqa: S101 - importing it imports Beam
    first, second = str(root / "first"), str(root / "second")
    started, cpu_started = time.perf_counter(), time.process_time()
    if command == "summarize":
        summarize(first, BeamStorage())
    else:
        compare_atlases(first, second, [], None, unheard)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    return Cost(seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a line a size and command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", nargs="*", type=int, default=[40, 200])
    parser.add_argument("--side", type=int, default=64, help="pixels of a map's side")
    parser.add_argument(
        "--measure", nargs=2, metavar=("COMMAND", "ATLASES"), help=argparse.SUPPRESS
    )
    parsed = parser.parse_args(arguments)
    if parsed.measure:
        command, root = parsed.measure
        print(json.dumps(dataclasses.asdict(measure(command, Path(root)))))
        return 0
    table = Table("pairs", "command", "wall time", "CPU", "peak memory")
    for count in parsed.shards:
        root = Path(tempfile.mkdtemp(prefix="simulated-atlases-"))
        try:
            write_pair(root, count, parsed.side)
            for command in COMMANDS:
                program = [sys.executable, __file__, "--measure", command, str(root)]
                found = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
                cost = Cost(**json.loads(found.stdout))
                table.add_row(
                    f"{count * EXAMPLES_A_SHARD:,}",
                    command,
                    f"{cost.seconds:.1f} s",
                    f"{cost.cpu_seconds:.1f} s",
                    f"{cost.peak_bytes / 2**30:.2f} GiB",
                )
        finally:
            shutil.rmtree(root)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
