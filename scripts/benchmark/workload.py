"""What the benchmark measures with: crops of photographs, a model, configurations."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any, Literal

Precision = Literal["float32", "mixed"]

SHARDS = 4
SEED = 0


@dataclasses.dataclass(frozen=True)
class Workload:
    """What is explained.

    Attributes:
      model: Path of a Keras model.
      side: Height and width of its input.
      scale: Its `source.input.scale`.
      batch_size: `auto` or a number.
      block_size: Records in one output file.
      engine: Who computes the gradient. With auto two runs might use different ones.
      pattern: Shards of one's own, with features `image` and `label`; None makes photographs.
      thumbnails: Whether they are stored, as they are unless one asks for none.
      precision: Of matrix products and convolutions.
    """

    model: str
    side: int
    scale: str
    batch_size: str
    block_size: int
    engine: str = "tensorflow"
    pattern: str | None = None
    thumbnails: bool = True
    precision: Precision = "float32"


def make_model(folder: pathlib.Path, side: int, small: bool = False) -> str:
    """A MobileNetV2 with random weights that ends in logits; or the demo's small CNN."""
    import keras

    keras.utils.set_random_seed(SEED)
    if small:
        model = keras.Sequential([keras.Input((side, side, 3))])
        for filters in (16, 32, 32):  # the demo's
            model.add(keras.layers.Conv2D(filters, 3, padding="same", activation="relu"))
            model.add(keras.layers.MaxPooling2D())
        model.add(keras.layers.Flatten())
        model.add(keras.layers.Dense(10, name="logits"))
    else:
        model = keras.applications.MobileNetV2(
            weights=None, classes=1000, classifier_activation=None, input_shape=(side, side, 3)
        )
    path = folder / ("small.keras" if small else "model.keras")
    model.save(path)
    return str(path)


def write_config(folder: pathlib.Path, load: Workload, examples: int) -> str:
    """Writes a configuration, and the photographs it is for where they are not there yet.

    Args:
      folder: Where to.
      load: What is explained.
      examples: How many photographs.
    """
    import yaml

    data = folder / f"data-{load.side}-{examples}"
    if load.pattern is None and not data.exists():
        write_photographs(data, examples, load.side)
    batch_size = load.batch_size if load.batch_size == "auto" else int(load.batch_size)
    without = "" if load.thumbnails else "-without-thumbnails"
    precisely = "" if load.precision == "float32" else f"-{load.precision}"
    name = f"{pathlib.Path(load.model).stem}-{examples}{without}{precisely}"
    document: dict[str, Any] = {
        "source": {
            "pattern": load.pattern or str(data / "*.tfrecord"),
            "features": {"input": "image", "label": "label"},
            "input": {"shape": [load.side, load.side, 3], "scale": load.scale},
        },
        "model": {"uri": load.model},
        "explain": {
            "batch_size": batch_size,
            "engine": load.engine,
            "precision": load.precision,
        },
        "output": {"path": str(folder / f"atlas-{name}"), "block_size": load.block_size},
    }
    if not load.thumbnails:
        document["output"]["thumbnail"] = None
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def write_photographs(folder: pathlib.Path, count: int, side: int) -> None:
    """Writes random crops of photographs as JPEG, their labels by photograph."""
    import numpy as np
    import tensorflow as tf
    from demonstration.data import PHOTOGRAPHS, read_photograph
    from tensorflow.core.example import example_pb2

    folder.mkdir()
    photographs = [read_photograph(*place) for place in PHOTOGRAPHS.values()]
    generator = np.random.default_rng(SEED)
    writers = [
        tf.io.TFRecordWriter(str(folder / f"photographs-{number}.tfrecord"))
        for number in range(SHARDS)
    ]
    for number in range(count):
        label = number % len(photographs)
        photograph = photographs[label]
        top, left = (int(generator.integers(0, each - side + 1)) for each in photograph.shape[:2])
        crop = photograph[top : top + side, left : left + side]
        example = example_pb2.Example()
        features = example.features.feature
        features["image"].bytes_list.value.append(tf.io.encode_jpeg(crop).numpy())
        features["label"].int64_list.value.append(label)
        writers[number % SHARDS].write(example.SerializeToString(deterministic=True))
    for writer in writers:
        writer.close()
