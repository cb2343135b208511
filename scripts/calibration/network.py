"""Small networks of the demo's kind, trained in seconds: compiled once, trained many times."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from demonstration.data import TILE
from tensorflow.keras import Input, Sequential, initializers, layers, optimizers

from calibration.kinds import Head, Scene
from calibration.pictures import Pixels

STEPS = {2: 120, 4: 150, 10: 210}
"""Of training, by the number of classes."""

BATCH = 64
LEARNING_RATE = 2e-3


class Network:
    """A network whose weights are drawn and trained again for each model.

    Args:
      classes: How many outputs.
      head: How it ends.

    Attributes:
      model: The Keras model, whose weights are those of the model trained last.
    """

    def __init__(self, classes: int, head: Head) -> None:
        first, ending = layers.Conv2D(8, 3, padding="same"), layers.GlobalMaxPooling2D()
        if head == "everywhere":
            first, ending = layers.Conv2D(8, 5, strides=2, padding="same"), layers.Flatten()
        self.model = Sequential(
            [
                Input((TILE, TILE, 3)),
                first,
                layers.ReLU(),
                layers.MaxPooling2D(),
                layers.Conv2D(16, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(32, 3, padding="same", activation="relu"),
                ending,
                layers.Dense(classes, name="logits"),
            ]
        )
        self._classes = classes
        self._optimizer = optimizers.Adam(LEARNING_RATE)
        self._optimizer.build(self.model.trainable_variables)
        self._fresh = [variable.numpy() for variable in self._optimizer.variables]
        self._loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._step = tf.function(self._train_step, autograph=False)
        self._outputs = tf.function(self._predict, reduce_retracing=True, autograph=False)

    def train(self, scene: Scene, random: np.random.Generator) -> None:
        """Draws weights anew and trains them."""
        for weight in self.model.trainable_variables:
            drawn = initializers.GlorotUniform(int(random.integers(2**31)))
            is_kernel = len(weight.shape) > 1
            weight.assign(drawn(weight.shape) if is_kernel else tf.zeros(weight.shape))
        for variable, value in zip(self._optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        pixels, labels = scene.trained.pixels, scene.trained.labels
        order = np.zeros(0, np.int64)
        for _ in range(STEPS[self._classes]):
            if len(order) < BATCH:
                order = np.concatenate([order, random.permutation(len(labels))])
            rows, order = order[:BATCH], order[BATCH:]
            images = pixels[rows]
            if scene.flips:
                mirrored = random.random(BATCH) < 1 / 2
                images[mirrored] = images[mirrored, :, ::-1]
            self._step(tf.constant(images), tf.constant(labels[rows]))

    def predict(self, images: npt.NDArray[np.float32] | Pixels) -> npt.NDArray[np.float32]:
        """(N, TILE, TILE, 3) in 0..255 -> (N, classes)."""
        outputs: npt.NDArray[np.float32] = self._outputs(
            tf.constant(np.asarray(images, np.float32))
        ).numpy()
        return outputs

    def accuracy(self, images: Pixels, label: int) -> float:
        """The share of images that it takes for a class."""
        return float((self.predict(images).argmax(axis=-1) == label).mean())

    def _predict(self, images: tf.Tensor) -> tf.Tensor:
        return self.model(images / 255)

    def _train_step(self, images: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = self._loss(labels, self.model(tf.cast(images, tf.float32) / 255))
        gradients = tape.gradient(loss, self.model.trainable_variables)
        self._optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))


@functools.cache
def network(classes: int, head: Head) -> Network:
    """The network of so many classes that ends so."""
    return Network(classes, head)
