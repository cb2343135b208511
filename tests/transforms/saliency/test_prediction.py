"""What a model puts out for inputs in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from transforms.formats.source import InputSpec
from transforms.models.loading import ModelSpec, load_model
from transforms.saliency.prediction import predictor
from transforms.storage import LocalStorage


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
