"""A smooth model of small images, explained as a run explains, and its gradients by the tape."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from transforms.formats.source import InputSpec
from transforms.saliency.block import BlockExplainer, ExplainSpec, load_explainer
from transforms.saliency.examples import Example, Explanation, explain_examples, explain_spec
from transforms.storage import LocalStorage

SHAPE = (6, 5, 3)
CLASSES = 4
COUNT = 5  # in batches of 2, so that the last one is padded

Array = npt.NDArray[np.float32]


def smooth_model(path: Path) -> keras.Model:
    """A convolutional classifier without kinks, saved."""
    keras.utils.set_random_seed(11)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(5, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES),
        ]
    )
    model.save(path)
    return model


def some_inputs(seed: int = 3) -> Array:
    """(COUNT, *SHAPE) values about 0."""
    return np.random.default_rng(seed).normal(size=(COUNT, *SHAPE)).astype(np.float32)


def tape_gradient(model: Any, inputs: Array, classes: Any) -> Array:
    """Gradients of the classes' outputs by inputs, (N, *SHAPE)."""
    tensor = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        scores = tf.gather(model(tensor, training=False), classes, batch_dims=1)
    return np.asarray(tape.gradient(scores, tensor))


@functools.lru_cache(maxsize=32)
def _loaded(spec: ExplainSpec) -> BlockExplainer:
    """Loaded once: a test explains several inputs in the same way."""
    return load_explainer(spec, LocalStorage())


def explained(
    path: Path,
    inputs: Array,
    method: Any,
    target: Any = "predicted",
    *,
    ids: list[str] | None = None,
    labels: list[int] | None = None,
    engine: str = "tensorflow",
    channels: Any = None,
    **options: Any,
) -> list[tuple[Explanation, ...]]:
    """Each example's explanations, in float32."""
    given = {"codec": "float32", "batch_size": 2, "sketch": (2, 2), **options}
    spec = explain_spec(
        str(path),
        InputSpec("tensor", inputs.shape[1:], channels=channels),
        target,
        method=method,
        **given,
    )
    program = dataclasses.replace(
        spec.program, engine=dataclasses.replace(spec.program.engine, name=engine)
    )
    explainer = _loaded(dataclasses.replace(spec, program=program))
    names = ids or [f"example {row}" for row in range(len(inputs))]
    examples = [
        Example(name, each, None if labels is None else labels[row])
        for row, (name, each) in enumerate(zip(names, inputs, strict=True))
    ]
    found = explain_examples(explainer, examples)
    assert all(isinstance(each, tuple) for each in found), found
    return found  # type: ignore[return-value] # as the line above says


def maps_of(found: list[tuple[Explanation, ...]], number: int = 0) -> Array:
    """(N, ...) maps for each example's target of a number."""
    return np.stack([each[number].map for each in found])
