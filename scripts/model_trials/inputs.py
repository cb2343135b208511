"""Models that are tried for what they take, and detectors: bytes, tokens, channels first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from model_trials.kind import EXAMPLES, IMAGE, ROW, SERIES, TOKENS, FileKind, Kind

_FIRST = (3, 16, 20)
_SEQUENCE = SERIES[:1]
_FILES: tuple[FileKind, ...] = ("model.keras", "saved")
_CLASS = 1


def kinds_of_inputs() -> Iterator[Kind]:
    """Every kind, each once; nothing is made yet."""
    for file in _FILES:
        yield Kind(f"channels first, {file}", _channels_first, _FIRST, file, channels="first")
        yield Kind(f"bytes, {file}", _bytes, IMAGE, file, data="bytes", plain=_of_numbers)
        for name, body in _BODIES.items():
            yield Kind(
                f"tokens, {name}, {file}",
                _of_tokens(body),
                _SEQUENCE,
                file,
                "as a .keras file" if (name, file) == ("GRU", "saved") else None,
                data="tokens",
                plain=_at_embedding,
            )
        yield Kind(
            f"detection, {file}", _detector, IMAGE, file, operator="detection", plain=_confidence
        )
    yield from _fed_kinds()
    yield Kind("a column per feature", _row, ROW, columns=True)
    yield Kind("channels first, not said", _channels_first, _FIRST, refusal="channels: first")
    yield Kind(
        "tokens as a bag", _bag, _SEQUENCE, data="tokens", refusal="export it with a floating-point"
    )
    yield Kind(
        "detection of a classifier",
        _row,
        ROW,
        operator="detection",
        refusal="it needs boxes before suppression",
    )


def _fed_kinds() -> Iterator[Kind]:
    generator = np.random.default_rng(5)
    values = {
        "age": generator.normal(size=(EXAMPLES, 1)).astype(np.float32),
        "site": generator.integers(0, 3, (EXAMPLES, 1)).astype(np.int32),
    }

    def plain(model: Any, rows: Any) -> Any:
        import tensorflow as tf

        others = {name: tf.constant(each) for name, each in values.items()}
        return _gradient(lambda inputs: model({"row": inputs, **others}), rows)

    for file in _FILES:
        for engine in ("tensorflow", "openvino"):
            yield Kind(
                f"two inputs fed by features, {file}, {engine}",
                _of_three_inputs,
                ROW,
                file,
                engine=engine,
                explained="row",
                fed=values,
                plain=plain,
            )


def _of_three_inputs() -> Any:
    import keras

    k = keras.layers
    row, age = keras.Input(ROW, name="row"), keras.Input((1,), name="age")
    site = keras.Input((1,), dtype="int32", name="site")
    embedded = k.Flatten()(k.Embedding(3, ROW[0])(site))
    hidden = k.Dense(8, "tanh")(row * age + row * embedded)
    return keras.Model({"row": row, "age": age, "site": site}, k.Dense(3)(hidden))


def _channels_first() -> Any:
    import keras

    k = keras.layers
    layers = [k.Permute((2, 3, 1)), k.Conv2D(6, 3, activation="relu"), k.Flatten(), k.Dense(3)]
    return keras.Sequential([keras.Input(_FIRST), *layers])


def _bytes() -> Any:
    import keras

    k = keras.layers
    layers = [
        k.Rescaling(1 / 127.5, -1),
        k.Conv2D(6, 3, activation="relu"),
        k.GlobalAveragePooling2D(),
        k.Dense(3),
    ]
    return keras.Sequential([keras.Input(IMAGE, dtype="uint8"), *layers])


def _of_numbers(model: Any, values: Any) -> Any:
    """Of the same layers, given numbers."""
    import keras

    return _gradient(keras.Sequential([keras.Input(IMAGE), *model.layers]), values)


def _mean(k: Any) -> list[Any]:
    return [k.GlobalAveragePooling1D()]


def _convolution(k: Any) -> list[Any]:
    return [k.Conv1D(5, 3, activation="relu"), k.GlobalMaxPooling1D()]


def _recurrent(k: Any) -> list[Any]:
    return [k.GRU(6)]


_BODIES: dict[str, Callable[[Any], list[Any]]] = {
    "mean": _mean,
    "convolution": _convolution,
    "GRU": _recurrent,
}


def _of_tokens(body: Callable[[Any], list[Any]]) -> Callable[[], Any]:
    def make() -> Any:
        import keras

        k = keras.layers
        return keras.Sequential(
            [
                keras.Input(_SEQUENCE, dtype="int32"),
                k.Embedding(TOKENS, 8),
                *body(k),
                k.Dense(3),
            ]
        )

    return make


def _at_embedding(model: Any, values: Any) -> Any:
    """(N, T, 1, width): of the layers after the embedding, by its output."""
    import keras

    embedding, *layers = model.layers
    rows = embedding(values.astype("int32"))
    after = keras.Sequential([keras.Input(rows.shape[1:]), *layers])
    return _gradient(after, rows)[:, :, None]


def _bag() -> Any:
    import keras

    k = keras.layers
    layers = [k.CategoryEncoding(TOKENS, "multi_hot"), k.Dense(3)]
    return keras.Sequential([keras.Input(_SEQUENCE, dtype="int32"), *layers])


def _row() -> Any:
    import keras

    return keras.Sequential([keras.Input(ROW), keras.layers.Dense(3)])


def _detector() -> Any:
    import keras

    k = keras.layers
    inputs = keras.Input(IMAGE)
    hidden = k.Conv2D(8, 3, strides=4, activation="relu")(inputs)
    corners = k.Reshape((-1, 4))(k.Conv2D(4, 1, activation="sigmoid")(hidden))
    scores = k.Reshape((-1, 3))(k.Conv2D(3, 1, activation="sigmoid")(hidden))
    return keras.Model(inputs, k.Concatenate()([corners, scores]))


def _confidence(model: Any, values: Any) -> Any:
    """Of the class's score of the most confident proposal."""
    import tensorflow as tf

    return _gradient(lambda inputs: tf.reduce_max(model(inputs)[..., 4:], axis=1), values)


def _gradient(model: Callable[[Any], Any], values: Any) -> Any:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        inputs = tf.convert_to_tensor(values)
        tape.watch(inputs)
        score = model(inputs)[:, _CLASS]
    return tape.gradient(score, inputs).numpy()
