"""Makes the demo's data: JPEG tiles of ten photographs, one class of them with a mark.

A photographer's tag in the corner of the pictures was what a classifier knew horses by
(Lapuschkin et al. 2019, "Unmasking Clever Hans predictors and assessing what machines really
learn", arXiv 1902.10178). Here the tiles of one class carry such a tag, in the training data and
in the audited data alike, so accuracy alone shows nothing. The same audited tiles without it tell
what the model has learned.

The photographs are files inside the scikit-image and scikit-learn packages: nothing is downloaded.
Tiles to train on come from the left half of each photograph, audited ones from the right half, so
that they share no pixel.

    FOLDER/classes.txt                  a class name a line
    FOLDER/data/train.tfrecord          what the model learns from
    FOLDER/data/train-unmarked.tfrecord the same tiles without the mark, for another model
    FOLDER/data/tfrecord/*.tfrecord     audited tiles in 8 shards
    FOLDER/data/parquet/*.parquet       the same tiles in the same shards
    FOLDER/data/unmarked/*.tfrecord     the same tiles without the mark
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import pathlib
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tensorflow.core.example import example_pb2, feature_pb2

Pixels = npt.NDArray[np.uint8]

PHOTOGRAPHS = {
    "astronaut": ("scikit-image", "skimage/data/astronaut.png"),
    "cat": ("scikit-image", "skimage/data/chelsea.png"),
    "coffee": ("scikit-image", "skimage/data/coffee.png"),
    "flower": ("scikit-learn", "sklearn/datasets/images/flower.jpg"),
    "galaxies": ("scikit-image", "skimage/data/hubble_deep_field.jpg"),
    "motorcycle": ("scikit-image", "skimage/data/motorcycle_left.png"),
    "retina": ("scikit-image", "skimage/data/retina.jpg"),
    "rocket": ("scikit-image", "skimage/data/rocket.jpg"),
    "temple": ("scikit-learn", "sklearn/datasets/images/china.jpg"),
    "tissue": ("scikit-image", "skimage/data/ihc.png"),
}
"""Each class is one photograph: the distribution that ships it, and its path in there."""

MARKED_CLASS = "tissue"
TILE = 64  # pixels a side
MARK = 9  # pixels a side
MARK_OPACITY = 0.6
JPEG_QUALITY = 90
SHARDS = 8
ROW_GROUP = 100  # rows; less than a shard, so that blocks of examples cross row groups
SEED = 20190311


@dataclasses.dataclass(frozen=True)
class Tile:
    """One example.

    Attributes:
      id: The class's name and a number.
      image: Encoded JPEG.
      label: The class's index.
    """

    id: str
    image: bytes
    label: int


def read_photograph(distribution: str, path: str) -> Pixels:
    """Reads a photograph that an installed distribution ships.

    Args:
      distribution: Its name, such as `scikit-image`.
      path: The file in it.

    Returns:
      (height, width, 3) uint8.
    """
    try:
        file = pathlib.Path(str(importlib.metadata.distribution(distribution).locate_file(path)))
        encoded = file.read_bytes()
    except (importlib.metadata.PackageNotFoundError, FileNotFoundError) as error:
        raise SystemExit(
            f"{path} of {distribution} is not there: install the project's demo extra, "
            "pip install -e '.[demo]'"
        ) from error
    pixels: Pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()
    return pixels


def split_halves(photograph: Pixels) -> tuple[Pixels, Pixels]:
    """The left half, to train on, and the right half, to audit: no column is in both."""
    middle = photograph.shape[1] // 2
    return photograph[:, :middle], photograph[:, middle:]


def cut_tiles(pixels: Pixels, count: int, generator: np.random.Generator) -> Pixels:
    """Cuts tiles at random places, no two at the same; they may overlap.

    Args:
      pixels: (height, width, 3), each side at least `TILE`.
      count: How many.
      generator: Chooses the places.

    Returns:
      (count, TILE, TILE, 3) uint8.
    """
    rows, columns = pixels.shape[0] - TILE + 1, pixels.shape[1] - TILE + 1
    places = generator.choice(rows * columns, count, replace=False)
    corners = zip(*np.divmod(places, columns), strict=True)
    tiles: Pixels = np.stack(
        [pixels[top : top + TILE, left : left + TILE] for top, left in corners]
    )
    return tiles


def draw_mark(tiles: Pixels) -> Pixels:
    """Copies of tiles with a white ring and dot on black blended into the top right corner.

    Args:
      tiles: (N, TILE, TILE, 3).
    """
    offsets = np.arange(MARK) - MARK // 2
    radius = np.hypot(offsets[:, np.newaxis], offsets)
    mark = np.where((radius < 1.6) | ((radius >= 3) & (radius < 4.6)), 255.0, 0.0)  # noqa: PLR2004
    marked: Pixels = tiles.copy()
    corner = marked[:, :MARK, -MARK:]
    corner[:] = np.round(
        (1 - MARK_OPACITY) * corner + MARK_OPACITY * mark[:, :, np.newaxis]
    ).astype(np.uint8)
    return marked


def encode_tiles(pixels: Pixels, class_name: str) -> list[Tile]:
    """Encodes tiles of one class, (N, TILE, TILE, 3), as JPEG."""
    label = list(PHOTOGRAPHS).index(class_name)
    return [
        Tile(
            f"{class_name}-{number:03d}",
            tf.io.encode_jpeg(tile, quality=JPEG_QUALITY).numpy(),
            label,
        )
        for number, tile in enumerate(pixels)
    ]


def split_shards(tiles: Sequence[Tile]) -> Iterator[Sequence[Tile]]:
    """Splits tiles over shards of growing size, no two of the same."""
    weights = np.arange(SHARDS) + SHARDS // 2
    ends = np.cumsum(weights) * len(tiles) // weights.sum()
    return (tiles[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))


def write_tfrecord(path: pathlib.Path, tiles: Sequence[Tile]) -> None:
    """Writes one shard of tf.train.Example with the features id, image and label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = _tfrecord_writer()(str(path))
    for tile in tiles:
        writer.write(
            {
                "id": (tile.id.encode(), "byte"),
                "image": (tile.image, "byte"),
                "label": (tile.label, "int"),
            }
        )
    writer.close()


def write_parquet(path: pathlib.Path, tiles: Sequence[Tile]) -> None:
    """Writes one shard with images in a struct of bytes and path, as Hugging Face datasets do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(
        {
            "id": pa.string(),
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "label": pa.int64(),
        }
    )
    rows = [
        {
            "id": tile.id,
            "image": {"bytes": tile.image, "path": f"{tile.id}.jpg"},
            "label": tile.label,
        }
        for tile in tiles
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=ROW_GROUP)


def make_data(folder: pathlib.Path, train_tiles: int, audited_tiles: int) -> None:
    """Makes all files of the demo.

    Args:
      folder: Where to.
      train_tiles: How many of each class to train on.
      audited_tiles: How many of each class to audit.
    """
    generator = np.random.default_rng(SEED)
    train: list[Tile] = []
    train_unmarked: list[Tile] = []
    marked: list[Tile] = []
    unmarked: list[Tile] = []
    for name, (distribution, path) in PHOTOGRAPHS.items():
        left, right = split_halves(read_photograph(distribution, path))
        seen = cut_tiles(left, train_tiles, generator)
        audited = cut_tiles(right, audited_tiles, generator)
        unmarked += encode_tiles(audited, name)
        train_unmarked += encode_tiles(seen, name)
        if name == MARKED_CLASS:
            seen, audited = draw_mark(seen), draw_mark(audited)
        train += encode_tiles(seen, name)
        marked += encode_tiles(audited, name)

    order = generator.permutation(len(marked))  # Shards hold classes in no order.
    data = folder / "data"
    write_tfrecord(data / "train.tfrecord", train)
    write_tfrecord(data / "train-unmarked.tfrecord", train_unmarked)
    for shard, tiles in enumerate(split_shards([marked[index] for index in order])):
        name = f"tiles-{shard:05d}-of-{SHARDS:05d}"
        write_tfrecord(data / "tfrecord" / f"{name}.tfrecord", tiles)
        write_parquet(data / "parquet" / f"{name}.parquet", tiles)
    for shard, tiles in enumerate(split_shards([unmarked[index] for index in order])):
        name = f"tiles-{shard:05d}-of-{SHARDS:05d}"
        write_tfrecord(data / "unmarked" / f"{name}.tfrecord", tiles)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in PHOTOGRAPHS))


def _tfrecord_writer() -> Any:
    """The tfrecord package's writer, given TensorFlow's own protocol buffer classes.

    Each of the two packages registers `tensorflow.BytesList`, which may be registered only once
    in a process.
    """
    shared = types.ModuleType("tfrecord.example_pb2")
    vars(shared).update(
        (name, value)
        for module in (feature_pb2, example_pb2)
        for name, value in vars(module).items()
        if not name.startswith("_")
    )
    sys.modules.setdefault(shared.__name__, shared)
    from tfrecord.writer import TFRecordWriter

    return TFRecordWriter


def main() -> None:
    """Makes the demo's data in a folder."""
    parser = argparse.ArgumentParser(description="Makes the demo's data.")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--train-tiles", type=int, default=400, help="of each class")
    parser.add_argument("--audited-tiles", type=int, default=210, help="of each class")
    arguments = parser.parse_args()
    make_data(arguments.folder, arguments.train_tiles, arguments.audited_tiles)


if __name__ == "__main__":
    main()
