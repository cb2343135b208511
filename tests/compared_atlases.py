"""Fake atlases to compare, in the real files: what is drawn, and over which files and blocks.

write_atlas(tmp_path / "a", Made())
write_atlas(tmp_path / "b", dataclasses.replace(Made(), model="b", codes=fake_codes(1)))

Sketches and statistics are made of the codes in some way: the same ones for the same codes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from made_up_atlas import made_up_manifest, write_made_up

from transforms.elements import BlockKey, ExplainedBlock, Shard
from transforms.statistics.columns import POSITIVE_SHARE, SKETCH_UNIT_BITS
from transforms.store.manifest import Manifest, Status
from transforms.store.map_format import MapFormat

GRID = (4, 4)
CLASSES = 3
COUNT = 47


def fake_codes(
    seed: int, count: int = COUNT, shape: Sequence[int] = (9, 7)
) -> npt.NDArray[np.uint8]:
    """Codes with many ties, as real ones have them."""
    random = np.random.default_rng(seed)
    drawn = random.gamma(1.0, 12.0, (count, *shape))
    return np.minimum(drawn, 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Made:
    """What an atlas is made up of; an example has one row, unless `targets` says more.

    Attributes:
      codes: (N, H, W) of the maps.
      ids: Of the examples; what a run makes of their places where None.
      labels: (N,) classes; None without labels.
      predicted: (N,) classes.
      targets: (N,) the classes explained; the labels unless given.
      files: The input files' paths, each with how many records it has, in order.
      block_size: Records a block.
      model: Its digest and name.
      explain: Of the settings.
      names: Of the classes.
      signed: Whether maps have a sign.
      sketch: The grid.
      status: Of the atlas.
      camera: (N,) values of a slice; None without one.
      sample: Of the settings: what was drawn, None for all examples.
    """

    codes: npt.NDArray[Any] = dataclasses.field(default_factory=lambda: fake_codes(0))
    ids: Sequence[str] | None = tuple(f"id-{n:03d}" for n in range(COUNT))
    labels: npt.NDArray[Any] | None = dataclasses.field(
        default_factory=lambda: np.arange(COUNT) % CLASSES
    )
    predicted: npt.NDArray[Any] = dataclasses.field(
        default_factory=lambda: np.arange(COUNT) // 4 % CLASSES
    )
    targets: npt.NDArray[Any] | None = None
    files: Sequence[tuple[str, int]] = (("/data/a.tfrecord", 30), ("/data/b.tfrecord", 17))
    block_size: int = 8
    model: str = "a"
    explain: dict[str, Any] = dataclasses.field(default_factory=dict)
    names: Sequence[str] = ("ant", "bee", "cat")
    signed: bool = False
    sketch: tuple[int, int] = GRID
    status: Status = "complete"
    camera: Sequence[str] | None = None
    sample: dict[str, Any] | None = None

    @property
    def map_format(self) -> MapFormat:
        """What is stored."""
        return MapFormat(
            map_shape=self.codes.shape[1:],
            codec=self.codes.dtype.name,
            sketch_shape=self.sketch,
            with_boxes=False,
            measures=(POSITIVE_SHARE,) if self.signed else (),
            slices=() if self.camera is None else ("camera",),
        )

    def taken(self, places: Sequence[int], files: Sequence[tuple[str, int]]) -> Made:
        """Some of the examples, in other files."""
        at = np.asarray(places)
        return dataclasses.replace(
            self,
            codes=self.codes[at],
            ids=None if self.ids is None else [self.ids[place] for place in places],
            labels=None if self.labels is None else self.labels[at],
            predicted=self.predicted[at],
            files=files,
        )


def write_atlas(root: Path, made: Made) -> str:
    """Writes an atlas, and returns its path."""
    shards = [Shard(path, 100 + count) for path, count in made.files]
    write_made_up(root, _manifest(made, shards), _blocks(made, shards), status=made.status)
    return str(root)


def _blocks(made: Made, shards: Sequence[Shard]) -> Iterator[ExplainedBlock]:
    done = 0
    for shard, (_, count) in zip(shards, made.files, strict=True):
        for start in range(0, count, made.block_size):
            records = np.arange(start, min(count, start + made.block_size))
            table = _table(made, shard, records, done + records)
            last = start + made.block_size >= count
            number = start // made.block_size
            key = BlockKey(shard, number, start, len(records), last=last)
            yield ExplainedBlock(key, table, len(records), (), 0.0)
        done += count


def _table(made: Made, shard: Shard, records: Any, places: Any) -> pa.Table:
    count = len(records)
    targets = made.labels if made.targets is None else made.targets
    ids = [shard.example_id(record) for record in records.tolist()]
    values = np.abs(made.codes[places].reshape(count, -1).astype(np.float64)) + 1
    weights = values[:, : math.prod(made.sketch)].reshape(count, *made.sketch)
    sketches = weights / weights.sum(axis=(1, 2), keepdims=True)
    labels = pa.nulls(count, pa.int32()) if made.labels is None else _classes(made.labels[places])
    columns = {
        "example_id": pa.array(ids if made.ids is None else [made.ids[n] for n in places]),
        "shard": pa.array([shard.name] * count),
        "record": records,
        "label": labels,
        "target": np.zeros(count, np.int32) if targets is None else _classes(targets[places]),
        "predicted": _classes(made.predicted[places]),
        "score": np.ones(count, np.float32),
        "predicted_score": np.linspace(0, 1, count, dtype=np.float32),
        "map": made.codes[places],
        "map_scale": np.ones(count, np.float32),
        "sketch": np.rint(sketches * 2**SKETCH_UNIT_BITS).astype(np.int32),
        POSITIVE_SHARE: np.full(count, 0.5, np.float32),
        "camera": pa.array([] if made.camera is None else [made.camera[n] for n in places]),
    }
    for number, name in enumerate(made.map_format.statistic_names):
        columns[name] = (values[:, number] / 300).astype(np.float32)
    return made.map_format.table(columns)


def _classes(values: Any) -> Any:
    return np.asarray(values, np.int32)


def _manifest(made: Made, shards: Sequence[Shard]) -> Manifest:
    source = {
        "features": {"id": None if made.ids is None else "id"},
        "input": {"kind": "image", "shape": [*made.codes.shape[1:3], 3]},
    }
    settings = {
        "source": {"input": source["input"], "sample_drawn": made.sample},
        "model": {"digest": made.model, "output_layer": None},
        "explain": {"method": "saliency", "target": "label", "reducer": "max", **made.explain},
        "output": {"block_size": made.block_size},
    }
    config = {
        "source": source,
        "model": {"uri": f"{made.model}.keras"},
        "explain": settings["explain"],
        "output": {"path": "/atlas"},
    }
    return made_up_manifest(
        made.map_format,
        settings=settings,
        config=config,
        shards=shards,
        class_names=made.names,
    )
