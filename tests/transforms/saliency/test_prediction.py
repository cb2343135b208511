"""What a model puts out for inputs in memory."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from transforms.formats.source import InputSpec
from transforms.models.loading import ModelSpec, load_model
from transforms.saliency.prediction import predictor
from transforms.storage import LocalStorage


def test_a_model_of_bytes_is_given_whole_numbers(tmp_path: Path) -> None:
    inputs = keras.Input((2, 2, 1), dtype="uint8")
    pixels = keras.layers.Flatten()(keras.layers.Rescaling(1.0)(inputs))
    keras.Model(inputs, keras.layers.Dense(3)(pixels)).save(tmp_path / "model.keras")
    spec = ModelSpec(str(tmp_path / "model.keras"))
    model = load_model(spec, LocalStorage())
    kernel = model.function.keras_model.layers[-1].get_weights()[0]  # type: ignore[union-attr]
    # Means, blurs and resizes are between whole numbers, and may be a little outside of 0..255.
    images = np.array([[0.4, 0.6, 254.7, 255.4], [-0.7, 1.5, 2.5, 300]], np.float32)

    found = predictor(model, InputSpec("image", (2, 2, 1)))(images.reshape(2, 2, 2, 1))

    shown = np.array([[0, 1, 255, 255], [0, 2, 2, 255]], np.float32)
    np.testing.assert_allclose(found, shown @ kernel, rtol=1e-5)


class _OfTwo(tf.Module):
    """Sums of exactly two examples, as channels and twice as much."""

    @tf.function(input_signature=[tf.TensorSpec((2, 4, 4, 3), tf.float32, name="image")])
    def __call__(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        sums = tf.reduce_sum(image, axis=[1, 2])
        return {"scores": tf.concat([sums, 2 * sums], axis=1)}


def test_a_model_of_a_fixed_batch_is_given_that_many(tmp_path: Path) -> None:
    module = _OfTwo()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.__call__)
    model = load_model(ModelSpec(str(tmp_path / "model")), LocalStorage())
    images = np.arange(5 * 4 * 4 * 3, dtype=np.float32).reshape(5, 4, 4, 3)

    found = predictor(model, InputSpec("image", (4, 4, 3)))(images)

    sums = images.sum(axis=(1, 2))
    np.testing.assert_array_equal(found, np.concatenate([sums, 2 * sums], axis=1))
