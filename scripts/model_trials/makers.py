"""Models that are tried for who made them, and how: Keras 2, TensorFlow alone, half precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from model_trials.kind import IMAGE, ROW, SERIES, FileKind, Kind


def kinds_of_makers() -> Iterator[Kind]:
    """Every kind, each once; nothing is made yet."""
    for file in ("model.keras", "model.h5"):
        known: FileKind = "model.keras" if file == "model.keras" else "model.h5"
        yield Kind(f"Keras 2, {file}", _keras_2, IMAGE, known)
    yield Kind("Keras 2, its SavedModel", _keras_2, IMAGE, "saved", write=_by_keras_2)
    yield Kind(
        "Keras 2, exported",
        _keras_2,
        IMAGE,
        "saved",
        "draws random numbers",
        write=lambda model, path: model.export(str(path)),
    )
    yield Kind("tf.saved_model.save of Keras", _table, ROW, "saved", write=_by_tensorflow)
    yield Kind("tf.Module", _module, ROW, "saved", write=_by_tensorflow)
    yield Kind("TensorFlow 1, a graph", _module, ROW, "saved", write=_by_version_1)
    signed = {"file": "saved", "write": _with_signatures}
    yield Kind("a signature by its name", _table, ROW, signature="scores", **signed)  # type: ignore[arg-type]
    yield Kind("no default signature", _table, ROW, refusal="by model.signature", **signed)  # type: ignore[arg-type]
    for policy in ("mixed_bfloat16", "mixed_float16", "float64"):
        yield Kind(f"policy {policy}", _with_policy(policy), IMAGE)
    for engine in ("tensorflow", "openvino"):
        yield Kind(f"ViT on {engine}", _transformer(distilled=False), IMAGE, engine=engine)
        yield Kind(f"DeiT on {engine}", _transformer(distilled=True), IMAGE, engine=engine)
    yield Kind("U-Net", _unet, IMAGE, operator="segmentation")
    yield Kind("a model in a model", _nested, IMAGE)
    yield Kind("subclassed", _subclassed, ROW, "saved")
    yield Kind("series as a convolution of two rates", _two_rates, SERIES)


def _keras_2() -> Any:
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    k = tf_keras.layers
    return tf_keras.Sequential(
        [
            tf_keras.Input(IMAGE),
            k.RandomFlip(),
            k.DepthwiseConv2D(3),
            k.BatchNormalization(),
            k.ReLU(6.0),
            k.Flatten(),
            k.Dense(3),
        ]
    )


def _by_keras_2(model: Any, path: Path) -> None:
    import tf_keras

    inputs = tf_keras.Input(model.input_shape[1:])
    tf_keras.Model(inputs, model(inputs, training=False)).save(str(path))


def _table() -> Any:
    import keras

    k = keras.layers
    return keras.Sequential([keras.Input(ROW), k.Dense(8, "tanh"), k.Dense(3)])


def _module() -> Any:
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(tf.random.normal((ROW[0], 3), seed=1))

        @tf.function(input_signature=[tf.TensorSpec((None, *ROW), tf.float32)])
        def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
            return tf.nn.elu(inputs) ** 2 @ self.weights

    return Module()


def _by_tensorflow(model: Any, path: Path) -> None:
    import tensorflow as tf

    call = model if isinstance(model, tf.Module) and not hasattr(model, "layers") else None
    signatures = {} if call is None else {"signatures": model.__call__}
    tf.saved_model.save(model, str(path), **signatures)


def _by_version_1(model: Any, path: Path) -> None:
    import tensorflow as tf

    weights = model.weights.numpy()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        inputs = tf.compat.v1.placeholder(tf.float32, (None, *ROW), "rows")
        variable = tf.compat.v1.get_variable("w", initializer=weights)
        outputs = tf.nn.elu(inputs) ** 2 @ variable
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(
            session, str(path), {"rows": inputs}, {"scores": outputs}
        )


def _with_signatures(model: Any, path: Path) -> None:
    import tensorflow as tf

    spec = tf.TensorSpec((None, *ROW), tf.float32)
    scores = tf.function(lambda rows: model(rows, training=False), input_signature=[spec])
    twice = tf.function(lambda rows: 2 * model(rows, training=False), input_signature=[spec])
    tf.saved_model.save(model, str(path), signatures={"scores": scores, "twice": twice})


def _with_policy(policy: str) -> Callable[[], Any]:
    def make() -> Any:
        import keras

        k = keras.layers
        layers = [
            k.Conv2D(6, 3, activation="relu", dtype=policy),
            k.GlobalAveragePooling2D(dtype=policy),
            k.Dense(3, dtype="float32"),
        ]
        return keras.Sequential([keras.Input(IMAGE), *layers])

    return make


def _transformer(*, distilled: bool) -> Callable[[], Any]:
    """Patches, tokens of classes, two blocks of attention; DeiT has a second token and head."""

    def make() -> Any:
        import keras

        k, ops = keras.layers, keras.ops
        inputs = keras.Input(IMAGE)
        patches = k.Reshape((16, 24))(k.Conv2D(24, 8, strides=8)(inputs))
        learned = k.Embedding(2 if distilled else 1, 24)
        first = learned(ops.zeros_like(patches[:, :1, 0], dtype="int32"))
        tokens = [first]
        if distilled:
            tokens.append(learned(ops.ones_like(patches[:, :1, 0], dtype="int32")))
        hidden = k.Concatenate(axis=1)([*tokens, patches])
        places = k.Embedding(16 + len(tokens), 24)(ops.arange(16 + len(tokens)))
        hidden = hidden + places
        for _ in range(2):
            normal = k.LayerNormalization()(hidden)
            hidden = hidden + k.MultiHeadAttention(3, 8)(normal, normal)
            wide = k.Dense(48, "gelu")(k.LayerNormalization()(hidden))
            hidden = hidden + k.Dense(24)(wide)
        hidden = k.LayerNormalization()(hidden)
        outputs = k.Dense(3)(hidden[:, 0])
        if distilled:
            outputs = (outputs + k.Dense(3)(hidden[:, 1])) / 2
        return keras.Model(inputs, outputs)

    return make


def _unet() -> Any:
    import keras

    k = keras.layers
    inputs = keras.Input(IMAGE)
    first = k.Conv2D(6, 3, padding="same", activation="relu")(inputs)
    low = k.Conv2D(8, 3, padding="same", activation="relu")(k.MaxPooling2D()(first))
    up = k.Conv2DTranspose(6, 2, strides=2)(low)
    outputs = k.Conv2D(3, 1)(k.Concatenate()([up, first]))
    return keras.Model(inputs, outputs)


def _nested() -> Any:
    import keras

    k = keras.layers
    layers = [k.Conv2D(4, 3, activation="relu"), k.MaxPooling2D(), k.Conv2D(5, 3, activation="elu")]
    inside = keras.Sequential([keras.Input(IMAGE), *layers], name="inside")
    inputs = keras.Input(IMAGE)
    return keras.Model(inputs, k.Dense(3)(k.GlobalAveragePooling2D()(inside(inputs))))


def _subclassed() -> Any:
    import keras

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = keras.layers.Dense(8, "relu")
            self.last = keras.layers.Dense(3)

        def call(self, inputs: Any) -> Any:
            return self.last(self.hidden(inputs))

    model = Own()
    model(keras.ops.zeros((1, *ROW)))
    return model


def _two_rates() -> Any:
    import keras

    k = keras.layers
    inputs = keras.Input(SERIES)
    slow = k.Conv1D(4, 3, dilation_rate=2, padding="same", activation="relu")(inputs)
    fast = k.Conv1D(4, 3, padding="causal", activation="relu")(inputs)
    return keras.Model(inputs, k.Dense(3)(k.GlobalAveragePooling1D()(slow + fast)))
