"""Certificates of models whose maps are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from small_dataset import CLASSES, SIDE, MakeConfig

from pipeline.certificate.drawn_weights import MOST_STEPS, draw_weights, layers_with_kernels
from pipeline.certificate.result import Certificate, Ordering, Weights, WeightsStep
from pipeline.certificate.sampling import sample_examples
from pipeline.certificate.words import sentences
from pipeline.commands.plan import plan
from pipeline.compare.result import Estimate
from pipeline.report.provenance import certified as certified_in_report
from pipeline.run.in_memory import run_in_memory
from pipeline.run.inspect import inspect_inputs
from transforms.errors import ConfigurationError
from transforms.filesystems import BeamStorage
from transforms.storage import LocalStorage

SAMPLES = 10


@pytest.fixture(scope="module")
def linear_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its gradient is its weights, whatever the image."""
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    )
    path = tmp_path_factory.mktemp("linear") / "model.keras"
    model.save(path)
    return path


def certified(config: Any) -> Certificate:
    made = plan(config, BeamStorage(), samples=SAMPLES)
    assert made.certificate is not None
    return Certificate.model_validate(made.certificate)


def map_of(kernel: np.ndarray, target: int) -> np.ndarray:
    """The codes of a linear model's map of a class."""
    values = np.abs(kernel[:, target]).reshape(SIDE, SIDE, 3).max(axis=-1)
    codes: np.ndarray = np.rint(255 * np.sqrt(values / values.max()))
    return codes


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    return float(stats.spearmanr(first.reshape(-1), second.reshape(-1)).statistic)


def test_figures_of_a_linear_model_are_those_of_its_weights(
    make_config: MakeConfig, linear_model: Path
) -> None:
    import keras

    config = make_config(
        model={"uri": str(linear_model)},
        explain={"target": {"class": 1}, "certificate": {"samples": SAMPLES}},
    )
    found = certified(config)

    model = keras.saving.load_model(linear_model)
    before = np.array(model.layers[-1].kernel)
    assert [*draw_weights(layers_with_kernels(model))] == [1]
    after = np.array(model.layers[-1].kernel)
    assert found.samples == SAMPLES
    assert (found.examples, found.maps, found.identical) == (9, 9, 9)  # One is no image.
    assert found.weights is not None
    assert found.weights.layers == 1
    expected = spearman(map_of(before, 1), map_of(after, 1))
    assert found.weights.steps[0].similarity.value == pytest.approx(expected, abs=1e-9)
    # The other classes' maps, each as often as it is the next likely one.
    others = [spearman(map_of(before, 1), map_of(before, each)) for each in (0, 2, 3)]
    assert found.other_class is not None
    assert found.other_class.value is not None
    assert min(others) <= found.other_class.value <= max(others)
    assert found.score == "probability"
    assert found.notes == []


def test_the_manifest_holds_it_and_the_fingerprint_does_not(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    plain = run_in_memory(make_config(output={"path": str(tmp_path / "plain")}))
    config = make_config(explain={"certificate": {"samples": SAMPLES}})
    manifest = run_in_memory(config)

    assert plain["certificate"] is None
    assert manifest["fingerprint"] == plain["fingerprint"]
    found = Certificate.model_validate(manifest["certificate"])
    assert found.weights is not None
    assert [step.layers for step in found.weights.steps] == [1, 2]
    assert found.weights.steps[-1].similarity.low is not None
    written = json.loads((tmp_path / "atlas" / "manifest.json").read_text())
    assert written["certificate"] == manifest["certificate"]
    assert run_in_memory(config, "resume")["certificate"] == manifest["certificate"]


def test_methods_of_many_calls_and_several_targets_are_certified(make_config: MakeConfig) -> None:
    found = certified(
        make_config(
            explain={
                "method": {"integrated_gradients": {"steps": 3}},
                "target": {"top": 2},
                "certificate": {"samples": 6},
            },
            source={"features": {"id": "id", "input": "image"}},
        )
    )

    assert found.maps == 2 * found.examples
    assert found.identical == found.maps


def test_none_that_can_be_explained_is_refused(make_config: MakeConfig, tmp_path: Path) -> None:
    import tensorflow as tf
    from small_dataset import serialized_example

    with tf.io.TFRecordWriter(str(tmp_path / "broken.tfrecord")) as writer:
        for number in range(4):
            writer.write(serialized_example(str(number), b"no image", 0))
    source = {**make_config().as_dict()["source"], "pattern": str(tmp_path / "broken.tfrecord")}

    with pytest.raises(ConfigurationError, match=r"explain\.certificate: none of the 4 examples"):
        plan(make_config(source=source), BeamStorage(), samples=SAMPLES)


def test_the_sample_is_spread_over_files(make_config: MakeConfig) -> None:
    inputs = inspect_inputs(make_config(), LocalStorage(), None)
    given = (inputs.source, inputs.spec, LocalStorage())

    def shards_of(count: int) -> list[str]:
        found = sample_examples(inputs.shards, *given, count)
        assert found is not None
        assert found.records.tolist() == list(range(len(found)))
        return [each.split("/")[0] for each in found.ids]

    counts = [shards_of(7).count(number) for number in "012"]
    assert sorted(counts) == [1, 3, 3]
    assert len(shards_of(7)) == 7
    assert shards_of(7) == shards_of(7)
    reordered = sample_examples(inputs.shards[::-1], *given, 7)
    assert reordered is not None
    assert [each.split("/")[0] for each in reordered.ids] == shards_of(7)


def test_weights_are_drawn_from_the_output_on_and_biases_stay() -> None:
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3))])
    for filters in range(2, 9):
        model.add(keras.layers.Conv2D(filters, 1))
        model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(4, bias_initializer="ones"))
    layers = layers_with_kernels(model)
    before = {named.path: [np.array(each) for each in named.layer.weights] for named in layers}

    assert layers[0].layer is model.layers[-1]
    assert layers[-1].layer is model.layers[0]
    steps = draw_weights(layers)
    assert next(steps) == 2
    changed = [
        not np.array_equal(before[named.path][0], np.array(named.layer.kernel)) for named in layers
    ]
    assert changed == [True, True, *[False] * 6]
    assert [2, *steps] == [2, 4, 6, 7, 8]
    assert len([2, 4, 6, 7, 8]) == MOST_STEPS
    for named in layers:
        kernel, bias = before[named.path]
        np.testing.assert_array_equal(bias, np.array(named.layer.bias))
        assert np.array(named.layer.kernel).std() == pytest.approx(kernel.std(), rel=0.9)


def test_what_normalises_has_no_kernel_though_it_has_several_axes() -> None:
    import keras

    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            keras.layers.Normalization(axis=(1, 2)),
            keras.layers.LayerNormalization(axis=[1, 2]),
            keras.layers.Dense(2, name="drawn"),
        ]
    )

    assert [named.path for named in layers_with_kernels(model)] == ["drawn"]


def test_layers_that_hold_others_have_their_weights_drawn() -> None:
    import keras

    class Block(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="block")
            self.layers = [keras.layers.Dense(3), keras.layers.Dense(3)]

        def build(self, shape: Any) -> None:
            for layer in self.layers:
                layer.build(shape)

        def call(self, inputs: Any) -> Any:
            return self.layers[1](self.layers[0](inputs))

    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="a")], name="inner")
    model = keras.Sequential([keras.Input((3,)), Block(), inner])

    layers = layers_with_kernels(model)
    before = [np.array(each) for each in model.weights[::2]]  # Without the biases.
    list(draw_weights(layers))

    assert [named.path for named in layers] == ["inner/a", "block"]
    after = [np.array(each) for each in model.weights[::2]]
    assert len(before) == 3
    assert not any(np.array_equal(*pair) for pair in zip(before, after, strict=True))


def estimate(value: float, spread: float = 0.05) -> Estimate:
    return Estimate(value=value, low=value - spread, high=value + spread)


def test_sentences_say_what_figures_mean() -> None:
    steps = [WeightsStep(layers=3, similarity=estimate(0.9))]
    found = Certificate(
        samples=64,
        examples=60,
        maps=60,
        identical=58,
        weights=Weights(layers=3, steps=steps, entropy_rise=estimate(0.1)),
        other_class=estimate(0.1),
        deletion=Ordering(by_map=0.2, at_random=0.5, gain=estimate(0.3)),
        insertion=Ordering(by_map=0.5, at_random=0.5, gain=estimate(0.0)),
        score="probability",
        notes=["another thing: no reason"],
    )

    said = dict(sentences(found))

    assert "58 of 60 maps are the same" in said["explained again"]
    assert said["weights drawn anew"] == (
        "with new weights in all 3 layers the maps' rank correlation with those before is "
        "0.9 (0.85 to 0.95); their entropy changes by +10% (+5% to +15%): the maps show little of "
        "what the model has learned"
    )
    assert said["another class"].endswith("0.1 (0.05 to 0.15): the maps tell classes apart")
    assert said["deletion"] == (
        "mean probability 0.2 as the most salient places are taken away first, 0.5 in a random "
        "order; better by 0.3 (0.25 to 0.35): the places that maps name matter more to it than "
        "others"
    )
    assert said["insertion"].endswith("0 (-0.05 to 0.05): undecided")
    assert said["not tried"] == "another thing: no reason"
    nothing = Estimate(value=None, low=None, high=None)
    unscored = Ordering(by_map=None, at_random=None, gain=nothing)
    without = dict(sentences(found.model_copy(update={"deletion": unscored})))
    assert without["deletion"].startswith("undefined: the model has no finite probability")
    of_report = certified_in_report({"certificate": found.as_dict()})
    assert of_report is not None
    assert of_report[0].endswith("tried on 60 examples")
    assert dict(of_report[1]) == said
    assert certified_in_report({}) is None


def saved(model: Any, path: Path) -> dict[str, Any]:
    model.save(path)
    return {"uri": str(path)}


def test_weights_that_have_become_constants_are_not_said_to_be_drawn(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    import keras

    image = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    numbers = keras.layers.Rescaling(1 / 255)(image)
    scores = keras.layers.Dense(CLASSES)(keras.layers.Flatten()(numbers))
    model = saved(keras.Model(image, scores), tmp_path / "bytes.keras")

    shape = {"kind": "image", "shape": [SIDE, SIDE, 3]}
    source = {"features": {"id": "id", "input": "image"}, "input": shape}

    found = certified(make_config(model=model, source=source, explain={"target": {"class": 1}}))

    assert found.weights is None
    assert found.notes == [
        "new weights: the model takes uint8, and is explained with its weights as constants"
    ]


def test_outputs_of_a_regression_are_certified(make_config: MakeConfig, linear_model: Path) -> None:
    found = certified(
        make_config(
            model={"uri": str(linear_model)},
            explain={"operator": "regression", "target": {"class": 1}},
        )
    )

    assert found.score == "score"
    assert found.weights is not None
    assert found.notes == ["another class: the model returns no scores of classes"]


def test_the_probability_of_one_score_is_its_sigmoid(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    import keras

    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(1, kernel_initializer="zeros", bias_initializer="ones"),
        ]
    )
    config = make_config(
        model=saved(model, tmp_path / "one.keras"), explain={"target": {"class": 1}}
    )

    found = certified(config)

    assert found.score == "probability"
    assert found.deletion is not None
    assert found.deletion.by_map == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-6)
