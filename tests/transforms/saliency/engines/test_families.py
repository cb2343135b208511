"""Keras's application models: each converts and agrees, or its refusal names why.

The small ones are always tested, all of them by `scripts/test -m families`.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from gradients import gradient_of, run_engine

from transforms.saliency.engines.agreement import measure_agreement
from transforms.saliency.engines.engine import EngineSpec, EngineUnavailableError, find_engine

pytest.importorskip("openvino")

_SMALL = {"MobileNetV3Small": 32}
_ALL = {
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Large": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "DenseNet121": 32,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
    "NASNetMobile": 32,
    "VGG16": 32,
    "Xception": 71,
}


def _application(name: str, side: int) -> keras.Model:
    keras.utils.set_random_seed(1)
    make = getattr(keras.applications, name)
    shape = (side, side, 3)
    return make(weights=None, classes=10, classifier_activation=None, input_shape=shape)


def _check(name: str, side: int) -> None:
    model = _application(name, side)
    function = gradient_of(lambda inputs: model(inputs, training=False), (side, side, 3))
    reference, maps = (
        np.abs(run_engine(engine, function).gradients).max(axis=-1).reshape(2, -1)
        for engine in ("tensorflow", "openvino")
    )
    assert reference.max() > 0
    agreement = measure_agreement(reference, maps)
    assert agreement.holds, str(agreement)


@pytest.mark.parametrize(("name", "side"), _SMALL.items())
def test_a_small_family_converts(name: str, side: int) -> None:
    _check(name, side)


@pytest.mark.families
@pytest.mark.parametrize(("name", "side"), _ALL.items())
def test_a_family_converts(name: str, side: int) -> None:
    _check(name, side)


@pytest.mark.families
def test_convnext_falls_back() -> None:
    model = _application("ConvNeXtTiny", 32)
    function = gradient_of(lambda inputs: model(inputs, training=False), (32, 32, 3))
    with pytest.raises(EngineUnavailableError, match="grouped convolutions"):
        find_engine("openvino").compile(function, EngineSpec("openvino", threads=2))
