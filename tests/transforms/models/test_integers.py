"""Images of bytes and tokens: explained as what follows their integers, else refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.storage import LocalStorage

layers = keras.layers
BYTES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.float32)
TOKENS = np.array([[1, 2, 3, 0], [7, 7, 1, 2], [4, 0, 0, 0]], np.float32)


def body(dtype: str) -> keras.Sequential:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), dtype=dtype),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, "softmax", name="scores"),
        ]
    )


def tokens(mask_zero: bool, body: Callable[[Any], Any]) -> keras.Model:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((4,), dtype="int32", name="tokens")
    embedded = layers.Embedding(10, 5, mask_zero=mask_zero, name="embedding")(inputs)
    return keras.Model(inputs, layers.Dense(3, name="scores")(body(embedded)))


def load(model: keras.Model, path: Path, **changes: Any) -> LoadedModel:
    if path.suffix:
        model.save(path)
    else:
        model.export(path, verbose=False)
    return load_model(ModelSpec(str(path), **changes), LocalStorage())


def gradient(call: Callable[[tf.Tensor], tf.Tensor], values: Any) -> Any:
    with tf.GradientTape() as tape:
        inputs = tf.convert_to_tensor(values)
        tape.watch(inputs)
        score = call(inputs)[:, 1]
    return tape.gradient(score, inputs).numpy()


@pytest.mark.parametrize("name", ["model.keras", "exported"])
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_images_are_explained_without_the_cast(name: str, dtype: str, tmp_path: Path) -> None:
    model, floating = body(dtype), body("float32")

    loaded = load(model, tmp_path / name)

    assert (loaded.integer_dtype, loaded.input_dtype) == (dtype, "float32")
    assert loaded.describe()["input"]["dtype"] == dtype
    assert loaded.softmax is not None
    np.testing.assert_allclose(loaded(tf.constant(BYTES)), model(BYTES.astype(dtype)), atol=1e-6)
    expected = gradient(floating, BYTES)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(gradient(loaded, BYTES), expected, atol=1e-7)


def test_logits_of_images_of_bytes(tmp_path: Path) -> None:
    floating = body("float32")
    floating.layers[-1].activation = keras.activations.linear
    for name in ("model.keras", "exported"):
        loaded = load(body("uint8"), tmp_path / name, output="logits")
        np.testing.assert_allclose(loaded(tf.constant(BYTES)), floating(BYTES), atol=1e-5)


BODIES = {
    "mean": layers.GlobalAveragePooling1D(),
    "flat": lambda embedded: layers.Flatten()(layers.Dense(2)(embedded)),
    "GRU": layers.GRU(6),
}


@pytest.mark.parametrize("name", ["model.keras", "exported"])
@pytest.mark.parametrize(("kind", "masked"), [("mean", False), ("mean", True), ("flat", False)])
def test_tokens_are_explained_at_their_embedding(
    kind: str, masked: bool, name: str, tmp_path: Path
) -> None:
    model = tokens(masked, BODIES[kind])

    loaded = load(model, tmp_path / name)

    assert (loaded.integer_dtype, loaded.embedding_width) == ("int32", 5)
    np.testing.assert_allclose(loaded(tf.constant(TOKENS)), model(TOKENS.astype(int)), atol=1e-6)
    rows, outputs = loaded.embedded(tf.constant(TOKENS))
    embedding = model.get_layer("embedding")
    np.testing.assert_allclose(rows, embedding(TOKENS.astype(int)), atol=1e-6)
    found = gradient(outputs, rows)
    # A difference quotient, as the embedding is the only way in that a tape could watch.
    place, step = (1, 2, 3), 1e-2
    moved = rows.numpy()
    moved[place] += step
    quotient = (outputs(tf.constant(moved)) - outputs(rows))[1, 1] / step
    assert abs(float(quotient)) > 1e-3
    assert found[place] == pytest.approx(float(quotient), rel=1e-3)
    if masked:  # zeros count for nothing
        assert not found[2, 1:].any()
        assert found[2, 0].any()


def test_tokens_of_a_recurrent_model(tmp_path: Path) -> None:
    model = tokens(False, BODIES["GRU"])
    loaded = load(model, tmp_path / "model.keras")
    rows, outputs = loaded.embedded(tf.constant(TOKENS))
    after = keras.Sequential([keras.Input((4, 5)), *model.layers[2:]])
    np.testing.assert_allclose(gradient(outputs, rows), gradient(after, rows), atol=1e-6)


def one_hot() -> keras.Model:
    inputs = keras.Input((4,), dtype="int32", name="tokens")
    hot = layers.CategoryEncoding(10, "multi_hot")(inputs)
    return keras.Model(inputs, layers.Dense(3)(hot))


def two_embeddings() -> keras.Model:
    inputs = keras.Input((4,), dtype="int32", name="tokens")
    first, second = layers.Embedding(10, 5)(inputs), layers.Embedding(10, 5)(inputs)
    return keras.Model(inputs, layers.Flatten()(first + second))


def shifted() -> keras.Model:
    inputs = keras.Input((4,), dtype="int32", name="tokens")
    return keras.Model(
        inputs, layers.Lambda(lambda x: tf.cast(x // 2, tf.float32), output_shape=(4,))(inputs)
    )


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            one_hot,
            "which go into DenseBincount: integers have no gradient; export it with a floating",
        ),
        (two_embeddings, r"which 2 embeddings of inputs \(4,\) look up; .*: export it from"),
        (shifted, "which go into Cast: integers have no gradient; export it"),
    ],
)
def test_other_integers_are_refused(
    make: Callable[[], keras.Model], why: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=rf"takes int32 inputs \('tokens'\), {why}"):
        load(make(), tmp_path / "exported")


def test_a_signature_is_chosen_by_its_name(tmp_path: Path) -> None:
    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
        def once(self, inputs: tf.Tensor) -> tf.Tensor:
            return inputs

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
        def twice(self, inputs: tf.Tensor) -> tf.Tensor:
            return 2 * inputs

    module, path, storage = Two(), str(tmp_path / "saved"), LocalStorage()
    tf.saved_model.save(module, path, signatures={"one": module.once, "two": module.twice})
    loaded = load_model(ModelSpec(path, signature="two"), storage)
    np.testing.assert_array_equal(loaded(tf.ones((1, 3))), [[2, 2, 2]])
    message = r"no signature '{}' \(it has: one, two\); choose one by model.signature"
    for name, wanted in (("serving_default", None), ("three", "three")):
        with pytest.raises(ConfigurationError, match=message.format(name)):
            load_model(ModelSpec(path, signature=wanted), storage)
    keras.Sequential([keras.Input((3,)), layers.Dense(2)]).save(tmp_path / "model.keras")
    with pytest.raises(ConfigurationError, match="only SavedModels have signatures, so leave it"):
        load_model(ModelSpec(str(tmp_path / "model.keras"), signature="two"), storage)
