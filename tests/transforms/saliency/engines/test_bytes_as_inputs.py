"""Pixels that reach an engine as bytes give the bits that they give as floats."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from gradients import gradient_of

from transforms.saliency.engines.engine import Engine, EngineSpec, engine_names, find_engine
from transforms.saliency.engines.tensorflow_engine import TensorFlowEngine

SIDE, BATCH = 12, 4
ENGINES = [*map(find_engine, engine_names()), TensorFlowEngine(xla=True)]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: f"{engine}"[:40])
def test_bytes_and_floats_give_the_same_bits(engine: Engine) -> None:
    generator = np.random.default_rng(2)
    kernel = tf.constant(generator.normal(size=(3, 3, 3, 5)), tf.float32)

    def model(inputs: tf.Tensor) -> tf.Tensor:
        features = tf.nn.conv2d(inputs / 255.0 - 0.5, kernel, 1, "SAME")
        return tf.reduce_mean(tf.nn.relu(features) ** 2, axis=[1, 2])

    function = gradient_of(model, (SIDE, SIDE, 3), batch_size=BATCH)
    pixels = generator.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)
    labels = np.arange(BATCH, dtype=np.int32)
    compiled = engine.compile(function, EngineSpec(threads=2))
    found = [
        [np.array(field) for field in compiled.run(inputs, labels).fields if field is not None]
        for inputs in (pixels, pixels.astype(np.float32))
    ]
    assert np.abs(found[0][3]).max() > 0
    for of_bytes, of_floats in zip(*found, strict=True):
        np.testing.assert_array_equal(of_bytes, of_floats)
