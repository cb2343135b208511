"""Trains the demo's models: a small CNN that ends in logits, with the mark and without it.

Its head sees every place of the last feature map by itself (Flatten, then Dense), so it can learn
a mark that is always at the same place. With global average pooling the same network does not.
"""

from __future__ import annotations

import argparse
import pathlib

import tensorflow as tf
from tensorflow.keras import Input, Sequential, layers

from demonstration.data import PHOTOGRAPHS, TILE

EPOCHS = 10
BATCH = 64
SEED = 1


def read_tiles(path: pathlib.Path) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads a TFRecord file of tiles.

    Returns:
      (N, TILE, TILE, 3) float32 in 0..1, and (N,) int64 labels.
    """
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }
    records = list(tf.data.TFRecordDataset(str(path)))
    examples = tf.io.parse_example(records, features)
    images = tf.stack([tf.io.decode_jpeg(image, channels=3) for image in examples["image"]])
    return tf.image.convert_image_dtype(images, tf.float32), examples["label"]


def train(tiles: tf.Tensor, labels: tf.Tensor) -> tf.keras.Model:
    """Trains a model, to the same weights each time on the same machine.

    Args:
      tiles: (N, TILE, TILE, 3) float32 in 0..1.
      labels: (N,) int64.
    """
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    model = Sequential(
        [
            Input((TILE, TILE, 3)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(len(PHOTOGRAPHS), name="logits"),
        ]
    )
    model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(tiles, labels, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return model


def main() -> None:
    """Trains on the tiles that data.py has made in a folder, and saves the models there."""
    parser = argparse.ArgumentParser(description="Trains the demo's models.")
    parser.add_argument("folder", type=pathlib.Path)
    folder: pathlib.Path = parser.parse_args().folder
    for tiles_name, model_name in (("train", "model"), ("train-unmarked", "model-unmarked")):
        tiles, labels = read_tiles(folder / "data" / f"{tiles_name}.tfrecord")
        train(tiles, labels).save(folder / f"{model_name}.keras")


if __name__ == "__main__":
    main()
