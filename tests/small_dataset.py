"""A small dataset and model that pass through every stage: several shards, blocks, classes."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.keys import Config

CLASSES = 4
SIDE = 12
BLOCK_SIZE = 8
SHARD_SIZES = (19, 16, 5)  # blocks of 8, 8, 3; of 8, 8; of 5
MakeConfig = Callable[..., Config]


def _images(count: int, seed: int) -> list[bytes]:
    import tensorflow as tf

    pixels = np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    return [tf.io.encode_png(image).numpy() for image in pixels]


def serialized_example(example_id: str, image: bytes, label: int) -> bytes:
    """A tf.train.Example as the small dataset has them."""
    from tensorflow.core.example import example_pb2

    example = example_pb2.Example()
    example.features.feature["id"].bytes_list.value.append(example_id.encode())
    example.features.feature["image"].bytes_list.value.append(image)
    example.features.feature["label"].int64_list.value.append(label)
    serialized: bytes = example.SerializeToString()
    return serialized


@pytest.fixture(scope="session")
def rows() -> list[list[dict[str, Any]]]:
    """The dataset's rows by shard; two images are no images, one label is out of range."""
    shards: list[list[dict[str, Any]]] = []
    for number, size in enumerate(SHARD_SIZES):
        images = _images(size, seed=number)
        labels = np.random.default_rng(100 + number).integers(0, CLASSES, size)
        shards.append(
            [
                {"id": f"{number}/{i}", "image": images[i], "label": int(labels[i])}
                for i in range(size)
            ]
        )
    shards[0][3]["image"] = b"not an image"
    shards[2][4]["image"] = shards[2][4]["image"][:40]
    shards[1][9]["label"] = CLASSES
    return shards


@pytest.fixture(scope="session")
def tfrecords(rows: list[list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as TFRecord shards, written by TensorFlow."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("tfrecords")
    for number, shard in enumerate(rows):
        with tf.io.TFRecordWriter(str(folder / f"data-{number}.tfrecord")) as writer:
            for row in shard:
                writer.write(serialized_example(row["id"], row["image"], row["label"]))
    return folder


@pytest.fixture(scope="session")
def parquets(rows: list[list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same dataset as Parquet shards, in row groups that do not fit the blocks."""
    folder = tmp_path_factory.mktemp("parquets")
    for number, shard in enumerate(rows):
        pq.write_table(
            pa.Table.from_pylist(shard), folder / f"data-{number}.parquet", row_group_size=5
        )
    return folder


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small convolutional classifier with logits."""
    import keras

    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES, name="logits"),
        ]
    )
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return path


@pytest.fixture(scope="session")
def config_at(tfrecords: Path, model_path: Path) -> MakeConfig:
    """As `make_config`, but given the atlas's path first."""

    def make(root: Path, **sections: dict[str, Any]) -> Config:
        settings: dict[str, Any] = {
            "source": {
                "pattern": str(tfrecords / "*.tfrecord"),
                "format": "tfrecord",
                "features": {"id": "id", "input": "image", "label": "label"},
                "input": {"kind": "image", "shape": [SIDE, SIDE, 3], "scale": "unit"},
            },
            "model": {"uri": str(model_path)},
            "explain": {"batch_size": 3, "engine": "tensorflow"},
            "output": {"path": str(root), "block_size": BLOCK_SIZE},
            "statistics": {"sketch": [4, 4]},
            "failures": {"max_fraction": 1.0},
        }
        for name, keys in sections.items():
            settings[name] = {**settings.get(name, {}), **keys}
        return Config.from_dict(settings)

    return make


@pytest.fixture
def make_config(config_at: MakeConfig, tmp_path: Path) -> MakeConfig:
    """Makes a configuration of the small dataset; keyword arguments replace sections' keys."""
    return functools.partial(config_at, tmp_path / "atlas")


@pytest.fixture(scope="session")
def finished_atlas(config_at: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make_config()` makes an atlas of; for tests that change nothing in it."""
    from pipeline.run.in_memory import run_in_memory

    root = tmp_path_factory.mktemp("finished") / "atlas"
    run_in_memory(config_at(root))
    return root


@pytest.fixture
def atlas_copy(finished_atlas: Path, tmp_path: Path) -> Path:
    """The same, at the path that `make_config()` names, to be changed."""
    return Path(shutil.copytree(finished_atlas, tmp_path / "atlas"))


def atlas_bytes(root: Path) -> dict[str, bytes]:
    """Every file of an atlas but the manifest, which tells times."""
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(files)}
