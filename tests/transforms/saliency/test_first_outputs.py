"""First outputs that are remembered: the same as computed ones, and never another model's."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from transforms.errors import ConfigurationError
from transforms.formats.source import InputSpec
from transforms.models.expectations import LayerMoments, Rescaled
from transforms.models.functions import KerasFunction
from transforms.models.loading import LoadedModel
from transforms.process.cache_folder import CACHE_VARIABLE
from transforms.saliency.first_outputs import remembered
from transforms.saliency.first_outputs.outputs import FirstOutputs, first_outputs
from transforms.saliency.first_outputs.remembered import (
    find_first_outputs,
    read_outputs,
    written_outputs,
)
from transforms.saliency.program import ProgramSpec
from transforms.saliency.scores.targets import TargetSpec

SHAPE = (6, 6, 3)
IMAGES = np.random.default_rng(0).uniform(0, 255, (4, *SHAPE)).astype(np.float32)
SPEC = ProgramSpec(
    InputSpec("image", SHAPE), TargetSpec("predicted"), "classification", "max", "uint8", 4
)


def make_model(seed: int = 3, **normalizing: Any) -> LoadedModel:
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    stack = [
        keras.Input(SHAPE),
        layers.Rescaling(1 / 255, name="rescale"),
        layers.Conv2D(4, 3, name="conv"),
        layers.BatchNormalization(name="norm", **normalizing),
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(3, name="dense"),
    ]
    function = KerasFunction(keras.Sequential(stack, name="network"))
    return LoadedModel("it", "", function, SHAPE).read_as("classes")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    return tmp_path / "first-outputs"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was computed, though it might have been remembered."""
    calls: list[Any] = []

    def counted(*given: Any) -> FirstOutputs | None:
        calls.append(given)
        return first_outputs(*given)

    monkeypatch.setattr(remembered, "first_outputs", counted)
    return calls


def assert_equal(first: FirstOutputs | None, second: FirstOutputs | None) -> None:
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.outputs, second.outputs)
    assert first.outputs.dtype == second.outputs.dtype
    assert first.rescaling == second.rescaling
    assert (first.moments is None) == (second.moments is None)
    if first.moments is not None and second.moments is not None:
        one, other = vars(first.moments), vars(second.moments)
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])


def test_they_are_computed_once(
    computed: list[Any], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = find_first_outputs(make_model(), SPEC, IMAGES)
    again = find_first_outputs(make_model(), SPEC, IMAGES)
    assert (len(computed), len(list(cache.iterdir()))) == (1, 1)
    monkeypatch.setenv(CACHE_VARIABLE, "")
    without = find_first_outputs(make_model(), SPEC, IMAGES)
    assert len(computed) == 2
    assert_equal(first, again)
    assert_equal(first, without)
    assert first is not None
    assert first.moments is not None
    assert first.rescaling is not None


def changed_weights() -> LoadedModel:
    model = make_model()
    bias = model.function.keras_model.get_layer("dense").bias  # type: ignore[union-attr]
    bias.assign(np.nextafter(np.asarray(bias), np.float32(9)))
    return model


def of_scale(scale: Any) -> ProgramSpec:
    return dataclasses.replace(SPEC, inputs=dataclasses.replace(SPEC.inputs, scale=scale))


OTHERS: dict[str, Callable[[], tuple[LoadedModel, ProgramSpec, Any]]] = {
    "weights": lambda: (make_model(4), SPEC, IMAGES),
    "weights changed since loaded": lambda: (changed_weights(), SPEC, IMAGES),
    "layers": lambda: (make_model(epsilon=0.5), SPEC, IMAGES),
    "reading": lambda: (make_model().read_as("values"), SPEC, IMAGES),
    "scale": lambda: (make_model(), of_scale("unit"), IMAGES),
    "examples": lambda: (make_model(), SPEC, np.nextafter(IMAGES, np.float32(999))),
    "fewer examples": lambda: (make_model(), SPEC, IMAGES[:3]),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_nothing_else_is_taken_for_them(
    other: Callable[[], tuple[LoadedModel, ProgramSpec, Any]], computed: list[Any]
) -> None:
    find_first_outputs(make_model(), SPEC, IMAGES)
    find_first_outputs(*other())
    assert len(computed) == 2


def test_what_feeds_other_inputs_counts() -> None:
    model = make_model()
    keys = [remembered._key(model, SPEC, (IMAGES, np.array(values))) for values in ([1, 2], [1, 3])]
    assert None not in keys
    assert keys[0] != keys[1]


def test_they_hold_for_the_same_machine_and_code_alone(
    computed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_first_outputs(make_model(), SPEC, IMAGES)
    monkeypatch.setattr(remembered, "surroundings", lambda: "another machine")
    find_first_outputs(make_model(), SPEC, IMAGES)
    assert len(computed) == 2


def test_what_is_damaged_is_made_anew(
    computed: list[Any], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model()
    first = find_first_outputs(model, SPEC, IMAGES)
    [path] = cache.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        assert_equal(find_first_outputs(model, SPEC, IMAGES), first)
    assert caplog.messages == [f"{path} is damaged, and is made anew"]
    assert len(computed) == 2
    find_first_outputs(model, SPEC, IMAGES)
    assert len(computed) == 2


def test_what_cannot_be_kept_is_computed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with caplog.at_level(logging.INFO):
        assert find_first_outputs(make_model(), SPEC, IMAGES) is not None
    assert "what the model makes of the first examples is not remembered" in caplog.text


def test_large_outputs_and_refused_examples_are_not_remembered(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "_MOST_BYTES_OF_ONE", 4 * 3 * 8 - 1)
    assert find_first_outputs(make_model(), SPEC, IMAGES) is not None
    assert find_first_outputs(make_model(), SPEC, IMAGES[:0]) is None

    def refuse(*_: Any) -> None:
        raise ConfigurationError("not a function of its input")

    monkeypatch.setattr(remembered, "first_outputs", refuse)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="not a function of its input"):
            find_first_outputs(make_model(), SPEC, IMAGES)
    monkeypatch.setattr(remembered, "first_outputs", lambda *_: None)
    assert find_first_outputs(make_model(), SPEC, IMAGES) is None
    assert not cache.exists()


def test_what_is_not_known_is_written_and_read() -> None:
    mean = np.arange(3, dtype=np.float64)
    outputs = np.array([[np.nan, np.inf]])
    for moments in (None, LayerMoments("norm", mean, mean + 1, mean + 2, mean + 3, 7)):
        for rescaling in (None, Rescaled("rescale", 0.1, -1.0)):
            found = FirstOutputs(outputs, moments, rescaling)
            assert_equal(read_outputs(written_outputs(found)), found)
