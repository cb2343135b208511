from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import simulate

from transforms.store.layout import CLASSES


def test_every_example_is_found_and_summed(tmp_path: Path) -> None:
    shards = simulate.write_atlas(tmp_path, 3)
    costs = simulate.measure(tmp_path, shards)
    assert (costs.examples, costs.blocks) == (1500, 3)
    assert sum(pq.read_table(tmp_path / CLASSES)["n"].to_pylist()) == 1500
    assert costs.peak_bytes > 0
