"""Explains every damaged shard of the corpus and says what it came to, as JSON.

    python tests/damage/check_damaged_shards.py

Run in a process of its own, so that its memory is its own too.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from damaged_shards import CLASSES, IDS, SIDE, DamagedShard, damaged_shards

from transforms.elements import Shard
from transforms.extents import ShardAccount
from transforms.formats.features import Features
from transforms.formats.reader import read_blocks
from transforms.formats.source import InputSpec, SourceSpec
from transforms.models.loading import ModelSpec, load_model
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.saliency.program import ProgramSpec
from transforms.saliency.scores.targets import TargetSpec
from transforms.storage import LocalStorage

BLOCK_SIZE = 4
INPUTS = InputSpec("image", (SIDE, SIDE, 3))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        explainer = _explainer(Path(folder))
        for shard in list(damaged_shards())[:1]:  # warms up
            _check(shard, Path(folder) / "shard", explainer)
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
        count, failures, slowest, wrong = 0, 0, 0.0, []
        for shard in damaged_shards():
            begun = time.monotonic()
            failed, problem = _check(shard, Path(folder) / "shard", explainer)
            slowest = max(slowest, time.monotonic() - begun)
            count += 1
            failures += failed
            if problem:
                wrong.append(f"{shard.name}: {problem}")
        peak = _memory("VmHWM")
    result = {
        "shards": count,
        "failures": failures,
        "slowest_seconds": round(slowest, 2),
        "memory_growth_mib": (peak - before) >> 10,
        "wrong": wrong,
    }
    sys.stdout.write(f"{json.dumps(result, indent=2)}\n")


def _explainer(folder: Path) -> BlockExplainer:
    import keras

    keras.utils.set_random_seed(3)
    layers = [keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    keras.Sequential(layers).save(folder / "model.keras")
    program = ProgramSpec(
        inputs=INPUTS,
        target=TargetSpec.parse("label"),
        operator="classification",
        reducer="max",
        codec="uint8",
        batch_size=4,
    )
    model = ModelSpec(str(folder / "model.keras"))
    spec = ExplainSpec(model, program, threads=None, sketch=(2, 2), with_boxes=False)
    return BlockExplainer(load_model(model, LocalStorage()), spec)


def _check(damaged: DamagedShard, path: Path, explainer: BlockExplainer) -> tuple[int, str]:
    """The number of failures, and what is wrong."""
    path.write_bytes(damaged.data)
    source = SourceSpec(damaged.format, Features("image", id="id", label="label"))
    shard = Shard(str(path), len(damaged.data))
    explained: list[str] = []
    records = failures = examples = 0
    lasts: list[bool] = []
    account = ShardAccount()
    blocks = read_blocks(shard, source, INPUTS, BLOCK_SIZE, LocalStorage())
    for number, block in enumerate(blocks):
        made = explainer.explain(block)
        explained += made.table["example_id"].to_pylist()
        records += made.key.records
        failures += len(made.failures)
        examples += made.examples
        lasts.append(made.key.last)
        extent = block.extent(made.failures)
        if extent is None:
            return failures, f"block {made.key.number} accounts for nothing"
        account = account.merge(ShardAccount.of(made.key.records, extent))
        if made.key.number != number:
            return failures, f"block {made.key.number} where {number} is next"
    found: dict[str, Any] = {
        "records do not add up": records == examples + failures and examples == len(explained),
        "no last block, or several": lasts[-1:] == [True] and sum(lasts) == 1,
        f"bytes or rows do not add up: {account.imbalance}": account.imbalance is None,
        "a good example is missing": damaged.survivors <= set(explained),
        "an example that is not there": damaged.survivors == set(explained)
        if damaged.exactly
        else len(set(explained)) == len(explained) <= len(IDS),
    }
    return failures, "; ".join(what for what, right in found.items() if not right)


def _memory(name: str) -> int:
    """KiB of this process."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
