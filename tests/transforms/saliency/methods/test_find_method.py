"""Methods by name, and what is said of those that there are not."""

from __future__ import annotations

from typing import Any

import pytest

from transforms.errors import ConfigurationError
from transforms.formats.source import InputSpec
from transforms.saliency.contract.method import resolve_form
from transforms.saliency.methods import find_method, method_names
from transforms.saliency.methods.saliency import SaliencyMethod

IMAGE = InputSpec("image", (8, 6, 3))
TENSOR = InputSpec("tensor", (8, 6, 3))


def test_methods_are_found_by_their_files() -> None:
    assert find_method("saliency") == SaliencyMethod()
    for name in method_names():
        assert find_method(name).name == name
        assert find_method({name: {}}) == find_method(name)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("salience", r"explain.method is 'salience', which is unknown \(the nearest is 'saliency'"),
        ({"smoothgrid": {}}, r"'smoothgrid', which is unknown \(the nearest is 'smoothgrad'\)"),
        ({"smoothgrad": {"sample": 3}}, r"no parameter 'sample' \(the nearest is 'samples'\)"),
        (
            {"saliency": {"steps": 3}},
            "explain.method.saliency has no parameter 'steps'; it has none",
        ),
        ({"a": {}, "b": {}}, "give a name, or {NAME: {parameter: value}}"),
        ({"integrated_gradients": {"steps": 0}}, "steps is 0; give an integer of at least 2"),
        ({"integrated_gradients": {"steps": True}}, "steps is True; give an integer"),
        ({"integrated_gradients": {"baseline": "black"}}, "baseline is 'black'; give a number, or"),
        ({"smoothgrad": {"noise": -1}}, "noise is -1; give a number of at least 0"),
        ({"smoothgrad": {"samples": 0}}, "samples is 0; give an integer of at least 1"),
        ({"vargrad": {"samples": 1}}, "samples is 1; give an integer of at least 2"),
        ({"squaregrad": {"seed": 0.5}}, "squaregrad.seed is 0.5; give an integer of at least 0"),
    ],
)
def test_what_there_is_not_is_refused(document: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        find_method(document)


def test_a_baseline_of_other_channels_is_refused() -> None:
    method = find_method({"integrated_gradients": {"baseline": [1, 2]}})
    with pytest.raises(ConfigurationError, match="have 3 channels: give 3 numbers, or one for all"):
        method.of_inputs(IMAGE)


def test_noise_follows_the_range_of_images_and_is_asked_for_elsewhere() -> None:
    found = find_method("smoothgrad").of_inputs(IMAGE)
    assert found.parameters == {"samples": 50, "noise": 38.25, "seed": 0}
    assert found.document == {"smoothgrad": found.parameters}
    scaled = InputSpec("tensor", (8, 6, 3), scale="unit")
    assert find_method("vargrad").of_inputs(scaled).parameters["noise"] == 38.25
    with pytest.raises(ConfigurationError, match=r"explain\.method\.smoothgrad\.noise is missing"):
        find_method("smoothgrad").of_inputs(TENSOR)


@pytest.mark.parametrize(
    ("name", "sign", "reducer"),
    [
        ("saliency", "absolute", "max"),
        ("gradient_input", "signed", "sum"),
        ("integrated_gradients", "signed", "sum"),
        ("smoothgrad", "signed", "mean"),
        ("squaregrad", "absolute", "mean"),
        ("vargrad", "absolute", "mean"),
    ],
)
def test_sign_and_reducer_are_the_methods_own(name: str, sign: str, reducer: str) -> None:
    form = resolve_form(find_method(name), IMAGE, None, None)
    assert (form.sign, form.reducer) == (sign, reducer)
    assert form.positions == (8, 6)


def test_a_sign_that_maps_do_not_have_is_refused() -> None:
    assert resolve_form(find_method("saliency"), IMAGE, "min", "signed").signed
    with pytest.raises(
        ConfigurationError, match="'signed', but maps of vargrad have no other sign"
    ):
        resolve_form(find_method("vargrad"), IMAGE, None, "signed")
