"""Fake atlases for reports, in the real files: C classes of N maps, one with a bright corner.

write_atlas(tmp_path / "atlas", classes=10, examples=50)
"""

from __future__ import annotations

import dataclasses
import html
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from made_up_atlas import made_up_manifest, write_made_up
from PIL import Image

from transforms.elements import BlockKey, ExplainedBlock, Failure, Shard
from transforms.statistics.columns import SKETCH_UNIT_BITS
from transforms.store.manifest import Manifest, Status
from transforms.store.map_format import MapFormat

PLANTED = 1
"""The class with the corner."""

BLOCK_ROWS = 500
_DIFFERENT = 40  # rows that differ; the others repeat them under other ids


@dataclasses.dataclass(frozen=True)
class Fake:
    """What an atlas is made up of.

    Attributes:
      classes: How many.
      examples: Of each.
      names: Of the classes; classes beyond them have none.
      ids: What ids begin with.
      kind: `image`, or `tensor` of the shape.
      shape: Of a map.
      sketch: Of a sketch.
      labelled: Whether the examples have labels.
      predicted: Whether the model predicts classes.
      method: As a configuration names it.
      thumbnails: Whether pictures are stored.
      failures: Records that could not be explained.
      status: Of the atlas; `incomplete` leaves out all tables.
      model: Which model; another one than `first` looks at another corner, and is wrong elsewhere.
      folder: Of the input files.
      cameras: Values of a slice `camera`, which a class's rows have in turn; none for no slice.
    """

    classes: int = 10
    examples: int = 50
    names: Sequence[str] = ()
    ids: str = "example"
    kind: str = "image"
    shape: tuple[int, ...] = (32, 32)
    sketch: tuple[int, ...] = (16, 16)
    labelled: bool = True
    predicted: bool = True
    method: Any = "saliency"
    thumbnails: bool = True
    failures: Sequence[Failure] = ()
    status: Status = "complete"
    model: str = "first"
    folder: str = "/made-up"
    cameras: Sequence[str | None] = ()

    @property
    def map_format(self) -> MapFormat:
        """What is stored."""
        return MapFormat(
            map_shape=self.shape,
            codec="uint8",
            sketch_shape=self.sketch,
            with_boxes=False,
            with_predictions=self.predicted,
            thumbnail_shape=(48, 48) if self.thumbnails else None,
            slices=("camera",) if self.cameras else (),
        )


def write_atlas(root: Path, fake: Fake) -> None:
    """Writes an atlas, deterministic in what it is made up of."""
    blocks = list(_blocks(fake))
    manifest = _manifest(fake, [block.key.shard for block in blocks])
    write_made_up(root, manifest, blocks, status=fake.status)


def _blocks(fake: Fake) -> Iterator[ExplainedBlock]:
    """A block of each input file; the first has the failures."""
    for number, table in enumerate(_tables(fake)):
        shard = Shard(f"{fake.folder}/shard-{number:05d}.tfrecord", 1)
        failures = tuple(fake.failures) if number == 0 else ()
        key = BlockKey(shard, 0, 0, table.num_rows + len(failures), last=True)
        yield ExplainedBlock(key, table, table.num_rows, failures, 0.0)


def _tables(fake: Fake) -> Iterator[pa.Table]:
    """Blocks whose rows are of the classes in turn."""
    columns = _different(fake)
    total = fake.classes * fake.examples
    random = np.random.default_rng(1 if fake.model == "first" else 2)
    for start in range(0, total, BLOCK_ROWS):
        rows = np.arange(start, min(total, start + BLOCK_ROWS))
        target = (rows % fake.classes).astype(np.int32)
        taken = (rows // fake.classes + target) % (_DIFFERENT // 2)
        taken = np.where(target == PLANTED, taken + _DIFFERENT // 2, taken)
        wrong = random.random(len(rows)) < 0.2
        predicted = np.where(wrong, (target + 1) % max(2, fake.classes), target).astype(np.int32)
        label = target if fake.labelled else None
        made: dict[str, Any] = {
            "example_id": pa.array([f"{fake.ids}-{row:06d}" for row in rows]),
            "shard": pa.array([f"shard-{start // BLOCK_ROWS:05d}.tfrecord"] * len(rows)),
            "record": rows - start,
            "label": pa.nulls(len(rows), pa.int32()) if label is None else label,
            "target": target,
            "predicted": predicted if fake.predicted else pa.nulls(len(rows), pa.int32()),
            "score": np.ones(len(rows), np.float32),
            "predicted_score": (
                random.random(len(rows)).astype(np.float32)
                if fake.predicted
                else pa.nulls(len(rows), pa.float32())
            ),
            "map_scale": np.ones(len(rows), np.float32),
        }
        if fake.cameras:
            turns = (rows // fake.classes % len(fake.cameras)).tolist()
            made["camera"] = pa.array([fake.cameras[turn] for turn in turns], pa.string())
        for name, values in columns.items():
            if isinstance(values, pa.Array):
                made[name] = values.take(pa.array(taken))
            else:
                made[name] = values[taken]
        noise = random.normal(0, 0.02, (len(rows), 3))
        for place, name in enumerate(("border_energy", "corner_energy", "center_energy")):
            if not isinstance(made[name], pa.Array):
                made[name] = np.clip(made[name] + noise[:, place], 0, 1).astype(np.float32)
        yield fake.map_format.table(made)


def _different(fake: Fake) -> dict[str, Any]:
    """The values of rows that differ: half of them of the planted class."""
    random = np.random.default_rng(0)
    planted = np.arange(_DIFFERENT) >= _DIFFERENT // 2
    maps = random.gamma(1.5, 1.0, (_DIFFERENT, *fake.shape))
    sketches = random.gamma(3.0, 1.0, (_DIFFERENT, *fake.sketch))
    if len(fake.sketch) == 2:
        for drawn, (height, width) in ((maps, fake.shape), (sketches, fake.sketch)):
            right = slice(-(width // 5), None)
            corner = right if fake.model == "first" else slice(width // 5)
            drawn[planted, : height // 5, corner] *= 8
    unit = sketches / sketches.reshape(_DIFFERENT, -1).sum(axis=1).reshape(
        (-1, *[1] * len(fake.sketch))
    )
    top = maps.reshape(_DIFFERENT, -1).max(axis=1).reshape((-1, *[1] * len(fake.shape)))
    names = fake.map_format.statistic_names
    columns: dict[str, Any] = {
        name: random.beta(4, 6, _DIFFERENT).astype(np.float32) for name in names
    }
    if fake.kind == "image":
        columns["corner_energy"] = np.where(planted, 0.5, 0.1).astype(np.float32)
        columns["border_energy"] = np.full(_DIFFERENT, 0.44, np.float32)
        columns["center_energy"] = np.full(_DIFFERENT, 0.25, np.float32)
    else:
        for name in ("corner_energy", "border_energy", "center_energy"):
            columns[name] = pa.nulls(_DIFFERENT, pa.float32())
    columns["map"] = np.rint(255 * np.sqrt(maps / top)).astype(np.uint8)
    columns["sketch"] = np.rint(unit * 2**SKETCH_UNIT_BITS).astype(np.int32)
    if fake.thumbnails:
        columns["thumbnail"] = pa.array([_picture(random) for _ in range(_DIFFERENT)], pa.binary())
    return columns


def _picture(random: np.random.Generator) -> bytes:
    """Waves of some length, direction and colour: about as many bytes as a photograph's."""
    rows, columns = np.mgrid[:48, :48] / 48
    angle, length = random.uniform(0, np.pi), random.uniform(5, 25)
    wave = np.sin(length * (np.cos(angle) * rows + np.sin(angle) * columns))[..., np.newaxis]
    pixels: npt.NDArray[Any] = 128 + 60 * wave * random.uniform(0.3, 1, 3)
    pixels = pixels + random.normal(0, 12, pixels.shape)
    sink = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(sink, "JPEG", quality=80)
    return sink.getvalue()


def _manifest(fake: Fake, shards: Sequence[Shard]) -> Manifest:
    channels = (3,) if fake.kind == "image" else ()
    config = {
        "source": {
            "pattern": "/made-up/*.tfrecord",
            "features": {"id": "id", "input": "image", "label": "label"},
            "input": {"kind": fake.kind, "shape": [*fake.shape, *channels]},
        },
        "model": {"uri": f"/made-up/{fake.model}.keras"},
        "explain": {
            "method": fake.method,
            "target": "label" if fake.labelled else "predicted",
            "precision": "float32",
        },
        "output": {"path": "/made-up/atlas"},
    }
    return made_up_manifest(
        fake.map_format,
        settings={
            **config,
            "model": {"digest": fake.model},
            "output": {"block_size": BLOCK_ROWS},
        },
        config=config,
        shards=shards,
        class_names=fake.names,
        versions={"python": "3.11", "saliency-atlas": "0.1.0"},
    )


def text_of(page: str) -> str:
    """What is read without scripts and styles."""
    page = re.sub(r"<(script|style|template)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())
