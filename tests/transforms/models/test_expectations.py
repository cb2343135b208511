"""What a model's layers say of the values it was made for, beside what it is given."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from transforms.errors import ConfigurationError
from transforms.formats.source import InputSpec
from transforms.models.expectations import Rescaled, first_rescaling
from transforms.models.functions import KerasFunction
from transforms.models.loading import LoadedModel
from transforms.saliency.first_outputs.outputs import FirstOutputs, first_outputs
from transforms.saliency.program import ProgramSpec
from transforms.saliency.scores.targets import TargetSpec

layers = keras.layers
SHAPE = (8, 8, 3)
IMAGES = np.random.default_rng(0).uniform(0, 255, (8, *SHAPE)).astype(np.float32)


def found(model: keras.Model, inputs: object = IMAGES) -> FirstOutputs:
    spec = ProgramSpec(
        InputSpec("image", SHAPE), TargetSpec("predicted"), "classification", "max", "uint8", 8
    )
    loaded = LoadedModel("it", "", KerasFunction(model), SHAPE).read_as("classes")
    outputs = first_outputs(loaded, spec, inputs)  # type: ignore[arg-type]
    assert outputs is not None
    return outputs


def trained() -> keras.Model:
    """Its batch normalisation has the moments of what its convolution makes of the images."""
    keras.utils.set_random_seed(1)
    inner = keras.Sequential(
        [layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="n")]
    )
    model = keras.Sequential(
        [keras.Input(SHAPE), inner, layers.GlobalAveragePooling2D(), layers.Dense(3)]
    )
    made = np.asarray(inner.layers[0](IMAGES))
    normalization = inner.layers[1]
    normalization.moving_mean.assign(made.mean(axis=(0, 1, 2)))
    normalization.moving_variance.assign(made.var(axis=(0, 1, 2)))
    return model


def test_the_moments_are_those_of_what_the_layer_is_given() -> None:
    moments = found(trained()).moments
    assert moments is not None
    assert moments.layer.endswith("/n")
    assert moments.values == 8 * 6 * 6
    np.testing.assert_allclose(moments.mean, moments.trained_mean, rtol=1e-4)
    np.testing.assert_allclose(moments.variance, moments.trained_variance, rtol=1e-3)
    assert moments.doubt() is None


@pytest.mark.parametrize(("factor", "times"), [(1 / 255, "0.00392"), (255, "255")])
def test_inputs_in_other_units_are_doubted(factor: float, times: str) -> None:
    moments = found(trained(), IMAGES * np.float32(factor)).moments
    assert moments is not None
    assert f"varies {times} times as much as what it was trained on" in str(moments.doubt())


def test_inputs_elsewhere_are_doubted() -> None:
    model = keras.Sequential([keras.Input(SHAPE), layers.Normalization(mean=2e4, variance=6e3)])
    model = keras.Sequential([*model.layers, layers.Flatten(), layers.Dense(2)])
    moments = found(model).moments
    assert moments is not None
    assert "standard deviations from what it was trained on" in str(moments.doubt())


def test_an_untrained_layer_says_nothing() -> None:
    model = keras.Sequential(
        [keras.Input(SHAPE), layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)]
    )
    moments = found(model).moments
    assert moments is not None
    assert moments.doubt() is None


def test_a_model_without_such_a_layer_has_no_moments() -> None:
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(2)])
    outputs = found(model)
    assert outputs.moments is None
    assert outputs.rescaling is None
    assert outputs.outputs.shape == (8, 2)


def test_the_first_rescaling_is_found_in_a_model_in_the_model() -> None:
    inner = keras.Sequential([keras.Input(SHAPE), layers.Rescaling(1 / 127.5, -1.0, name="r")])
    model = keras.Sequential([keras.Input(SHAPE), layers.RandomFlip(), inner, layers.Flatten()])
    assert first_rescaling(model) is None  # what a flip gives is not looked through
    model = keras.Sequential([keras.Input(SHAPE), inner, layers.Flatten(), layers.Dense(2)])
    rescaled = first_rescaling(model)
    assert rescaled is not None
    assert rescaled.layer.endswith("/r")
    assert rescaled.scale == pytest.approx(1 / 127.5)
    assert rescaled.offset == -1.0
    assert first_rescaling(None) is None


@pytest.mark.parametrize(
    ("lowest", "highest", "doubted"),
    [(0, 255, False), (0, 1, True), (-1, 1, True), (0, 40, False), (0, 0, False)],
)
def test_a_rescaling_for_bytes_doubts_small_values(
    lowest: float, highest: float, doubted: bool
) -> None:
    assert (Rescaled("r", 1 / 255, 0.0).doubt(lowest, highest) is not None) is doubted
    assert Rescaled("r", 2.0, 0.0).doubt(lowest, highest) is None


class OneAtATime(keras.Layer):
    """Takes any batch, says Keras; its code does not."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(inputs, (1, *SHAPE))[:, 0, 0]


def test_a_model_that_takes_one_input_at_a_time_without_saying_so_is_named() -> None:
    model = keras.Sequential([keras.Input(SHAPE), OneAtATime()], name="single")
    said = r"model 'single' cannot be applied to 8 inputs of shape \(8, 8, 3\) at once"
    with pytest.raises(ConfigurationError, match=said):
        found(model)
