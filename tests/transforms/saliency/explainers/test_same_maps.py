"""Whoever explains, in memory or in a run, makes the same maps of the same model and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from transforms.formats.source import InputSpec
from transforms.saliency import Saliency
from transforms.saliency.block import ExplainSpec, load_explainer
from transforms.saliency.examples import Example, Explanation, explain_examples, explain_spec
from transforms.saliency.reducers import Reducer
from transforms.stages.inference import SaliencyModelHandler
from transforms.storage import LocalStorage

CLASSES = 3
COUNT = 5  # in batches of 2, so that the last one is padded

Array = npt.NDArray[np.float32]


def model_of(shape: tuple[int, ...], path: Path) -> keras.Model:
    keras.utils.set_random_seed(4)
    layers = [keras.layers.Conv2D(4, 3, activation="relu")] if len(shape) == 3 else []
    head = [keras.layers.Flatten(), keras.layers.Dense(8, "tanh"), keras.layers.Dense(CLASSES)]
    model = keras.Sequential([keras.Input(shape), *layers, *head])
    model.save(path)
    return model


def explained_by_a_run(spec: ExplainSpec, examples: Sequence[Example]) -> Array:
    return maps_of(explain_examples(load_explainer(spec, LocalStorage()), examples))


def explained_by_the_handler(spec: ExplainSpec, examples: Sequence[Example]) -> Array:
    handler = SaliencyModelHandler(spec)
    return maps_of(handler.run_inference(examples, handler.load_model()))


def maps_of(found: Sequence[object]) -> Array:
    maps = []
    for explanations in found:
        assert isinstance(explanations, tuple)
        (explanation,) = explanations
        assert isinstance(explanation, Explanation)
        maps.append(explanation.map)
    return np.stack(maps)


@pytest.mark.parametrize("explained", [explained_by_a_run, explained_by_the_handler])
@pytest.mark.parametrize(
    ("shape", "reducer"),
    [
        ((6,), "max"),
        ((4, 3), "max"),
        ((6, 5, 3), "max"),
        ((6, 5, 3), "mean"),
        ((6, 5, 3), "sum"),
        ((6, 5, 3), "none"),
        ((6, 5, 1), "max"),
    ],
)
def test_maps_are_those_of_saliency(
    explained: object, shape: tuple[int, ...], reducer: Reducer, tmp_path: Path
) -> None:
    model = model_of(shape, tmp_path / "model.keras")
    generator = np.random.default_rng(9)
    inputs = generator.normal(size=(COUNT, *shape)).astype(np.float32)
    labels = generator.integers(0, CLASSES, COUNT)

    maps = Saliency(model, batch_size=2, reducer=reducer)(inputs, tf.one_hot(labels, CLASSES))

    spec = explain_spec(
        str(tmp_path / "model.keras"),
        InputSpec("tensor", shape),
        "label",
        reducer=reducer,
        codec="float32",
        batch_size=2,
        sketch=(2, 2),
    )
    examples = [
        Example(str(row), inputs[row], int(label)) for row, label in enumerate(labels.tolist())
    ]
    found = explained(spec, examples)  # type: ignore[operator]
    expected = np.asarray(maps)
    if len(shape) == 3 and reducer != "none":
        expected = expected[..., 0]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * expected.max())
