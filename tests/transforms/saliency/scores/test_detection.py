"""`detection` beside D-RISE's similarity written out in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.saliency.attribution import check_explained
from transforms.saliency.scores.detection import detection
from transforms.saliency.scores.operators import output_reading
from transforms.saliency.scores.targets import TargetSpec
from transforms.storage import LocalStorage

EXAMPLES, PROPOSALS, CLASSES = 3, 5, 2


def proposals() -> npt.NDArray[np.float64]:
    generator = np.random.default_rng(6)
    corners = np.sort(generator.uniform(size=(EXAMPLES, PROPOSALS, 2, 2)), axis=2)
    scores = generator.uniform(size=(EXAMPLES, PROPOSALS, CLASSES))
    return np.concatenate([corners.reshape(EXAMPLES, PROPOSALS, 4), scores], axis=-1)


def similarity(wanted: Any, proposal: Any, number: int) -> float:
    """Equations 1 to 3 of arXiv 2006.03204, with the class's score for objectness."""
    top, left = np.maximum(wanted[:2], proposal[:2])
    bottom, right = np.minimum(wanted[2:4], proposal[2:4])
    common = max(0.0, bottom - top) * max(0.0, right - left)
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (wanted, proposal)]
    cosine = wanted[4:] @ proposal[4:]
    cosine /= np.linalg.norm(wanted[4:]) * np.linalg.norm(proposal[4:])
    return float(common / (sum(areas) - common) * cosine * proposal[4 + number])


def scored(outputs: Any, targets: Any) -> tuple[Any, Any]:
    with tf.GradientTape() as tape:
        values = tf.constant(outputs)
        tape.watch(values)
        scores = detection(lambda inputs: inputs, values, targets)
    return scores.numpy(), tape.gradient(scores, values).numpy()


def test_the_similarity_to_given_detections() -> None:
    outputs = proposals()
    wanted = np.array([[0.2, 0.1, 0.7, 0.8, 0, 1], [0.1, 0.3, 0.9, 0.6, 1, 0], [0, 0, 1, 1, 0, 1]])
    expected = [
        max(similarity(one, proposal, int(one[4:].argmax())) for proposal in of_example)
        for one, of_example in zip(wanted, outputs, strict=True)
    ]
    scores, gradients = scored(outputs, tf.constant(wanted))
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    step = 1e-6
    for place in np.argwhere(gradients[:2])[::3]:
        moved = outputs.copy()
        moved[tuple(place)] += step
        quotient = (scored(moved, tf.constant(wanted))[0] - scores)[place[0]] / step
        assert quotient == pytest.approx(gradients[tuple(place)], rel=1e-3, abs=1e-6)
    assert np.count_nonzero(gradients[..., :4]) >= 4  # boxes count, not scores alone


def test_of_a_models_own_detection_it_is_the_confidence() -> None:
    outputs = proposals()
    classes = np.array([1, 0, 1])
    own = np.take_along_axis(outputs[..., 4:], classes[:, None, None], axis=-1)[..., 0]
    scores, gradients = scored(outputs, tf.constant(classes))
    np.testing.assert_allclose(scores, own.max(axis=1), rtol=1e-9)
    expected = np.zeros_like(outputs)
    expected[np.arange(EXAMPLES), own.argmax(axis=1), 4 + classes] = 1
    np.testing.assert_allclose(gradients, expected, atol=1e-9)


def detector(path: Path, outputs: int) -> LoadedModel:
    keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(12), keras.layers.Reshape((-1, outputs))]
    ).save(path)
    loaded = load_model(ModelSpec(str(path)), LocalStorage())
    return loaded.read_as(output_reading("detection"))


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    target = TargetSpec("class", 1)
    check_explained(detector(tmp_path / "model.keras", 6), detection, target)
    with pytest.raises(ConfigurationError, match="class is 2, but the model has 2 outputs"):
        check_explained(detector(tmp_path / "model.keras", 6), detection, TargetSpec("class", 2))
    with pytest.raises(ConfigurationError, match=r"returns \(N, 3, 4\); it needs boxes before"):
        check_explained(detector(tmp_path / "model.keras", 4), detection, target)
    model = detector(tmp_path / "model.keras", 6)
    with pytest.raises(ConfigurationError, match="does not return scores of classes"):
        check_explained(model, detection, TargetSpec("predicted"))
