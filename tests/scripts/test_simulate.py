from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import simulate
import simulate_comparison

from pipeline.atlas import Atlas
from pipeline.compare.compare import compare
from pipeline.compare.relation import relate
from transforms.store.layout import CLASSES


def test_every_example_is_found_and_summed(tmp_path: Path) -> None:
    shards = simulate.write_atlas(tmp_path, 3)
    costs = simulate.measure(tmp_path, shards)
    assert (costs.examples, costs.blocks) == (1500, 3)
    assert sum(pq.read_table(tmp_path / CLASSES)["n"].to_pylist()) == 1500
    assert costs.peak_bytes > 0


def test_a_comparison_meets_every_example(tmp_path: Path) -> None:
    paths = simulate_comparison.write_pair(tmp_path, 2, side=8)
    found = compare(relate(*(Atlas.open(str(path)) for path in paths))).joined
    assert found is not None
    assert (found.examples, found.only_first, found.only_second) == (1000, 0, 0)
    assert 0.2 < (found.spearman.mean.value or 0) < 0.8
