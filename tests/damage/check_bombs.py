"""Reads every bomb and says how it ended, at what peak of memory and after how long, as JSON.

    python tests/damage/check_bombs.py

Run in a process of its own, so that its memory is its own too.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import pyarrow as pa
from bombs import MAX_BLOCK_BYTES, MAX_PIXELS, MAX_RECORD_BYTES, Bomb, bombs

from transforms.elements import Failure, Shard
from transforms.errors import RunError
from transforms.formats.features import Features
from transforms.formats.images.decoding import InputDecoder
from transforms.formats.reader import read_blocks
from transforms.formats.source import InputSpec, SourceSpec
from transforms.storage import LocalStorage

INPUTS = InputSpec("image", (8, 8, 3), max_pixels=MAX_PIXELS)
MINI_BATCH = 8


def main() -> None:
    decoder = InputDecoder(INPUTS, threads=2)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bomb"
        for bomb in bombs():
            bomb.write(path)
            if not results:
                _read(bomb, path, decoder)  # warms up
            _settle()
            before = _memory("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
            begun = time.monotonic()
            ending = _read(bomb, path, decoder)
            results.append(
                {
                    "name": bomb.name,
                    "file_kib": path.stat().st_size >> 10,
                    "ending": ending,
                    "expected": bomb.ending,
                    "peak_mib": (_memory("VmHWM") - before) >> 10,
                    "seconds": round(time.monotonic() - begun, 2),
                }
            )
    sys.stdout.write(f"{json.dumps(results, indent=2)}\n")


def _read(bomb: Bomb, path: Path, decoder: InputDecoder) -> str:
    """How it ended: `too large`, or the errors of its records."""
    boxes = "boxes" if bomb.name.startswith("boxes") else None
    source = SourceSpec(
        bomb.format,
        Features(bomb.input, boxes=boxes),
        max_record_bytes=MAX_RECORD_BYTES,
        max_block_bytes=MAX_BLOCK_BYTES,
    )
    shard = Shard(str(path), path.stat().st_size)
    errors: set[str] = set()
    failures: list[Failure] = []  # as a run holds them until it publishes
    try:
        for block in read_blocks(shard, source, INPUTS, 512, LocalStorage()):
            failures += block.failures
            errors.update(failure.error for failure in block.failures)
            for start in range(0, len(block.examples), MINI_BATCH):
                _, faults = decoder.decode(block.examples.inputs[start : start + MINI_BATCH])
                errors.update("none" if fault is None else fault.error for fault in faults)
    except RunError as error:
        return "too large" if "limits.max_block_bytes" in str(error) else str(error)
    return ", ".join(sorted(errors))


def _settle() -> None:
    """Gives free memory back, so that it cannot hide what is taken next."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def _memory(name: str) -> int:
    """KiB of this process."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
