"""Data and models that mistakes are made with: good ones, and others."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FEATURES = 6
CLASSES = 3
RECORDS = 24


def make_files(folder: Path) -> None:
    """Writes all of them."""
    _make_data(folder)
    _make_models(folder)
    (folder / "names.txt").write_text("ant\nbee\ncow\n")
    (folder / "two_names.txt").write_text("ant\nbee\n")
    (folder / "empty.txt").write_text("")
    for name in ("model.pt", "model.onnx", "model.tflite"):
        (folder / name).write_bytes(b"\x80\x02 of another library")
    (folder / "damaged.keras").write_bytes((folder / "good.keras").read_bytes()[:100])
    (folder / "empty.parquet").write_bytes(b"")
    for name, grey in (("black", 0), ("white", 255)):
        (folder / f"{name}.png").write_bytes(_png(np.full((4, 4), grey, np.uint8)))
    whole = (folder / "good.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "good_too.parquet").write_bytes(whole)


def _make_data(folder: Path) -> None:
    draw = np.random.default_rng(0)
    values = draw.integers(0, 255, (RECORDS, FEATURES)) / 256
    values[0] = 0.99609375
    values[1] = 0.0
    labels = np.arange(RECORDS) % CLASSES
    pixels = draw.integers(0, 256, (RECORDS, 8, 8, 3), np.uint8)
    pictures = [_png(each) for each in pixels]
    strange = values.copy()
    strange[:, 0] = np.nan
    columns: dict[str, Any] = {
        "values": values.tolist(),
        "five": values[:, :5].tolist(),
        "label": labels,
        "from_one": labels + 1,
        "beyond": labels * 3 + 1,
        "negative": labels - CLASSES,
        "fraction": labels + 0.5,
        "nothing": pa.nulls(RECORDS, pa.int64()),
        "name_of_class": ["wasp"] * RECORDS,
        "picture": pictures,
        "struct": [{"bytes": each, "path": "a.png"} for each in pictures],
        "path": [f"pictures/{number}.png" for number in range(RECORDS)],
        "raw": [each.tobytes() for each in pixels],
        "wide": [_png(np.tile(each, (1, 2, 1))) for each in pixels],
        "pixel_boxes": [[0.0, 0.0, 100.0, 50.0]] * RECORDS,
        "swapped_boxes": [[0.5, 0.0, 0.1, 1.0]] * RECORDS,
        "not_finite": strange.tolist(),
        "holes": [[None, *row[1:]] for row in values.tolist()],
        "integers": [np.arange(FEATURES, dtype="<i4").tobytes()] * RECORDS,
        "constant": [[7.0] * FEATURES] * RECORDS,
    }
    pq.write_table(pa.table(columns), folder / "good.parquet")


def _png(pixels: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _make_models(folder: Path) -> None:
    import keras

    layers: Any = keras.layers
    keras.utils.set_random_seed(5)

    def save(name: str, *stack: Any, shape: tuple[int, ...] = (FEATURES,)) -> Any:
        model = keras.Sequential([keras.Input(shape), *stack])
        model.save(folder / f"{name}.keras")
        return model

    def scores(**options: Any) -> Any:
        return layers.Dense(CLASSES, **{"name": "scores", **options})

    good = save("good", scores())
    good.save_weights(folder / "alone.weights.h5")
    convolved = layers.Conv2D(2, 3, name="convolved")
    save("pictures", convolved, layers.Flatten(), scores(), shape=(8, 8, 3))
    save("lambda", layers.Lambda(lambda x: x * 2), scores())
    save("softmax", layers.Dense(CLASSES), layers.Softmax())
    save("infinite", scores(bias_initializer=keras.initializers.Constant(np.inf)))
    save("dead", scores(kernel_initializer="zeros"))
    sure = keras.initializers.Constant([50.0, 0.0, 0.0])
    save("sure", scores(kernel_initializer="zeros", bias_initializer=sure))
    save("for_bytes", layers.Rescaling(1 / 255), scores())
    save("other_units", layers.Normalization(mean=[120.0] * 6, variance=[3600.0] * 6), scores())
    inputs = keras.Input((FEATURES,))
    for name, outputs in (
        ("batch", scores()(inputs - keras.ops.mean(inputs, axis=0, keepdims=True))),
        ("rounding", keras.ops.round(scores()(inputs))),
    ):
        keras.Model(inputs, outputs).save(folder / f"{name}.keras")
    first, second = (keras.Input((FEATURES,), name=name) for name in ("first", "second"))
    keras.Model([first, second], scores()(layers.Add()([first, second]))).save(
        folder / "two_inputs.keras"
    )
    keras.Model(first, {"a": layers.Dense(2)(first), "b": layers.Dense(2)(first)}).save(
        folder / "two_outputs.keras"
    )
    _make_saved_models(folder)


def _make_saved_models(folder: Path) -> None:
    import tensorflow as tf

    def noisy(values: Any) -> Any:
        return (values + tf.random.normal(tf.shape(values)))[:, :CLASSES]

    def first(values: Any) -> Any:
        return values[:, :CLASSES]

    for name, function, size in (("random", noisy, None), ("of_two", first, 2)):
        signature = tf.function(function).get_concrete_function(
            tf.TensorSpec((size, FEATURES), tf.float32)
        )
        module = tf.Module()
        tf.saved_model.save(module, str(folder / name), signatures=signature)
