"""The models that are tried: how each is made, and what is to come of it.

All have random weights: what is compared are gradients, not what a model has learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from model_trials.inputs import kinds_of_inputs
from model_trials.kind import IMAGE, ROW, SERIES, FileKind, Kind
from model_trials.made_under_jax import kinds_of_jax
from model_trials.makers import kinds_of_makers

# Sides below which an architecture has nothing left to pool; the others take 32.
_APPLICATIONS = {
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "MobileNetV3Large": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "VGG19": 32,
    "DenseNet121": 32,
    "NASNetMobile": 32,
    "ConvNeXtTiny": 32,
    "Xception": 71,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
}


def all_kinds(jax: Path | None = None) -> Iterator[Kind]:
    """Every kind, each once; nothing is made yet.

    Args:
      jax: An environment with JAX; None leaves out what needs one.
    """
    yield from _recurrent()
    yield from _images()
    yield from _refused()
    yield from kinds_of_inputs()
    yield from kinds_of_makers()
    if jax is not None:
        yield from kinds_of_jax(jax)
    # Last, as they take the longest.
    for name, side in _APPLICATIONS.items():
        shape = (side, side, 3)
        yield Kind(f"applications.{name}", _application(name, shape), shape, output="logits")
    for name in ("MobileNetV2", "EfficientNetB0"):
        yield Kind(f"applications.{name} saved", _application(name, IMAGE), IMAGE, "saved")


def _application(name: str, shape: tuple[int, ...]) -> Callable[[], Any]:
    def make() -> Any:
        import keras

        # With its default head: a softmax within the last layer.
        return getattr(keras.applications, name)(weights=None, input_shape=shape, classes=5)

    return make


def _stack(shape: tuple[int, ...], layers: Callable[[Any], list[Any]]) -> Callable[[], Any]:
    def make() -> Any:
        import keras

        return keras.Sequential([keras.Input(shape), *layers(keras.layers)])

    return make


def _recurrent() -> Iterator[Kind]:
    bodies: dict[str, Callable[[Any], list[Any]]] = {
        "LSTM": lambda k: [k.LSTM(8)],
        "GRU": lambda k: [k.GRU(8)],
        "SimpleRNN": lambda k: [k.SimpleRNN(8)],
        "bidirectional LSTM": lambda k: [k.Bidirectional(k.LSTM(6))],
        "stacked GRU": lambda k: [k.GRU(6, return_sequences=True), k.GRU(6)],
        "unrolled LSTM": lambda k: [k.LSTM(8, unroll=True)],
        "convolution 1D": lambda k: [k.Conv1D(8, 3, activation="relu"), k.GlobalMaxPooling1D()],
        "convolution and GRU": lambda k: [k.Conv1D(8, 3), k.GRU(6)],
        "time-distributed": lambda k: [k.TimeDistributed(k.Dense(4)), k.Flatten()],
    }
    files: tuple[FileKind, ...] = ("model.keras", "saved")
    for name, body in bodies.items():
        for file in files:
            yield Kind(f"{name}, {file}", _stack(SERIES, _with_head(body)), SERIES, file)


def _with_head(body: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    return lambda k: [*body(k), k.Dense(3)]


def _images() -> Iterator[Kind]:
    def small(k: Any) -> list[Any]:
        return [k.Conv2D(6, 3, activation="relu"), k.GlobalAveragePooling2D()]

    files: tuple[FileKind, ...] = ("model.keras", "model.h5", "saved")
    for file in files:
        yield Kind(
            f"convolutions, {file}", _stack(IMAGE, lambda k: [*small(k), k.Dense(3)]), IMAGE, file
        )
        yield Kind(
            f"table, {file}", _stack(ROW, lambda k: [k.Dense(8, "gelu"), k.Dense(3)]), ROW, file
        )
        binary = _stack(ROW, lambda k: [k.Dense(8, "tanh"), k.Dense(1, "sigmoid")])
        yield Kind(f"one sigmoid, {file}", binary, ROW, file)
        yield Kind(f"one sigmoid's logit, {file}", binary, ROW, file, output="logits")
    yield Kind("one logit", _stack(ROW, lambda k: [k.Dense(1)]), ROW)
    yield Kind(
        "softmax layer", _stack(ROW, lambda k: [k.Dense(3), k.Softmax()]), ROW, output="logits"
    )
    number = _stack(ROW, lambda k: [k.Dense(8, "relu"), k.Dense(2)])
    yield Kind("regression", number, ROW, operator="regression")
    zones = _stack(
        IMAGE, lambda k: [k.Conv2D(4, 3, padding="same", activation="relu"), k.Conv2D(3, 1)]
    )
    yield Kind("segmentation", zones, IMAGE, operator="segmentation")
    one = _stack(IMAGE, lambda k: [k.Conv2D(1, 3, padding="same", activation="sigmoid")])
    yield Kind("segmentation of one channel", one, IMAGE, operator="segmentation")
    yield Kind("attention", _attention, SERIES)
    yield Kind("attention, saved", _attention, SERIES, "saved")
    augmented = _stack(
        IMAGE, lambda k: [k.RandomFlip(), k.RandomRotation(0.1), *small(k), k.Dense(3)]
    )
    yield Kind("augmentation, called for inference", augmented, IMAGE)
    dropped = _stack(
        ROW, lambda k: [k.Dense(8), k.BatchNormalization(), k.Dropout(0.5), k.Dense(3)]
    )
    yield Kind("dropout and normalisation, saved", dropped, ROW, "saved")
    yield Kind("augmentation, exported", augmented, IMAGE, "saved", "draws random numbers")


def _attention() -> Any:
    import keras

    inputs = keras.Input(SERIES)
    hidden = keras.layers.MultiHeadAttention(2, 4)(inputs, inputs)
    hidden = keras.layers.LayerNormalization()(hidden + inputs)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(hidden)))


def _refused() -> Iterator[Kind]:
    yield Kind("normalisation in training mode", _training_mode, ROW, "saved", "training=False")
    yield Kind("dropout always on", _always_dropping, ROW, "saved", "draws random numbers")
    yield Kind("two inputs, none named", _two_inputs, ROW, refusal="name it by model.inputs")
    for file in ("model.keras", "saved"):
        known: FileKind = "saved" if file == "saved" else "model.keras"
        yield Kind(
            f"two inputs, {file}", _two_inputs, ROW, known, explained="first", plain=_beside_half
        )
    yield Kind("two outputs", _two_outputs, ROW, refusal="choose one by output_layer")
    positions = _stack(IMAGE, lambda k: [k.Conv2D(3, 1)])
    yield Kind(
        "positions as classes", positions, IMAGE, refusal="a class is explained in (N, outputs)"
    )
    argmax = _stack(ROW, lambda k: [k.Dense(3)])
    yield Kind("logits of a linear end", argmax, ROW, refusal="leave it out", output="logits")


def _training_mode() -> Any:
    import keras

    inputs = keras.Input(ROW)
    hidden = keras.layers.BatchNormalization(name="normal")(inputs, training=True)
    return keras.Model(inputs, keras.layers.Dense(3)(hidden))


def _always_dropping() -> Any:
    import keras

    inputs = keras.Input(ROW)
    hidden = keras.layers.Dropout(0.5, name="drop")(inputs, training=True)
    return keras.Model(inputs, keras.layers.Dense(3)(hidden))


def _two_inputs() -> Any:
    import keras

    first, second = keras.Input(ROW, name="first"), keras.Input(ROW, name="second")
    hidden = keras.layers.Dense(8, "tanh")(first * second)
    return keras.Model([first, second], keras.layers.Dense(3)(hidden))


def _beside_half(model: Any, values: Any) -> Any:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        inputs = tf.constant(values)
        tape.watch(inputs)
        score = model([inputs, tf.fill(values.shape, 0.5)])[:, 1]
    return tape.gradient(score, inputs).numpy()


def _two_outputs() -> Any:
    import keras

    inputs = keras.Input(ROW)
    return keras.Model(inputs, [keras.layers.Dense(3)(inputs), keras.layers.Dense(2)(inputs)])
