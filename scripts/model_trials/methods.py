"""Tries methods on models of many kinds: each makes maps, or is refused with the remedy.

python -m model_trials.methods
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model_trials.kind import Kind, save
from model_trials.kinds import all_kinds
from model_trials.trial import Outcome, some_inputs, spec_of_model
from transforms.elements import Failure
from transforms.errors import ConfigurationError
from transforms.formats.source import InputSpec
from transforms.saliency.block import ExplainSpec, load_explainer
from transforms.saliency.contract.method import resolve_form
from transforms.saliency.examples import Example, explain_examples
from transforms.saliency.methods import find_method
from transforms.saliency.program import ProgramSpec
from transforms.saliency.scores.targets import TargetSpec
from transforms.storage import LocalStorage

METHODS: Mapping[str, Mapping[str, Any]] = {
    "integrated_gradients": {"steps": 3},
    "grad_cam": {},
    "occlusion": {},
}

_NO_LAYER = {"grad_cam": "has none before the explained output"}
_NO_SIDES = {"grad_cam": "whose maps have two sides"}
_TOKENS = "which have no values to change"

REFUSALS: Mapping[str, Mapping[str, str]] = {
    "a model in a model": {},
    "ViT on tensorflow": {},
    "attention": _NO_LAYER,
    "LSTM, model.keras": _NO_LAYER,
    "convolution and GRU, model.keras": _NO_LAYER,
    "segmentation": {},
    "U-Net": {},
    "detection, model.keras": {},
    "channels first, model.keras": {},
    "convolutions, model.h5": {},
    "convolutions, saved": {"grad_cam": "give the .keras file that it was made of"},
    "bytes, model.keras": {"grad_cam": "export it with a floating-point input"},
    "tokens, convolution, model.keras": {
        **_NO_SIDES,
        "integrated_gradients": _TOKENS,
        "occlusion": _TOKENS,
    },
    "table, model.keras": _NO_SIDES,
    "applications.MobileNetV2": {},
}
"""A part of the sentence that refuses a method; kinds that are tried, by name."""


def attempt(kind: Kind, method: str, folder: Path) -> Outcome:
    """Makes, saves, loads and explains a model by a method."""
    import keras

    keras.utils.set_random_seed(0)
    uri = str(save(kind.make(), kind, folder))
    refusal = REFUSALS[kind.name].get(method)
    inputs = some_inputs(kind)
    try:
        spec = _spec(kind, uri, method, len(inputs))
        given = [Example(str(row), each) for row, each in enumerate(inputs)]
        found = explain_examples(load_explainer(spec, LocalStorage()), given)
    except ConfigurationError as error:
        expected = refusal is not None and refusal in str(error)
        return Outcome("refused" if expected else "UNEXPECTED REFUSAL", str(error))
    if refusal is not None:
        return Outcome("NOT REFUSED", f"to be refused: {refusal}")
    failures = [each.message for each in found if isinstance(each, Failure)]
    if failures:
        return Outcome("WRONG", failures[0])
    maps = np.stack([each[0].map for each in found if not isinstance(each, Failure)])
    positions = spec.program.inputs.positions
    is_good = maps.shape[1:] == positions and np.isfinite(maps).all() and maps.any()
    largest = float(np.abs(maps).max())
    return Outcome("right" if is_good else "WRONG", f"{maps.shape}, up to {largest:.2g}")


def _spec(kind: Kind, uri: str, method: str, count: int) -> ExplainSpec:
    inputs = InputSpec("tensor", kind.shape, channels=kind.channels)
    chosen = find_method({method: METHODS[method]}).of_inputs(inputs)
    form = resolve_form(chosen, inputs, None, "signed")  # Positive maps may be all zero.
    program = ProgramSpec(
        inputs=inputs,
        target=TargetSpec("class", 1),
        operator=kind.operator,
        reducer=form.reducer,
        codec="float32",
        batch_size=count,
        method=chosen,
        sign=form.sign,
    )
    return ExplainSpec(spec_of_model(kind, uri), program, None, (2, 2), with_boxes=False)


def main() -> int:
    """Tries all methods on the kinds; returns 1 if one of them is wrong."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kinds = [kind for kind in all_kinds() if kind.name in REFUSALS]
    good = 0
    for kind in kinds:
        for method in METHODS:
            with tempfile.TemporaryDirectory(prefix="saliency-atlas-") as folder:
                outcome = attempt(kind, method, Path(folder))
            good += outcome.is_good
            print(f"{kind.name:34} {method:22} {outcome.verdict:10} {outcome.detail}", flush=True)
    print(f"{good} of {len(kinds) * len(METHODS)} right or refused with the remedy")
    return 0 if good == len(REFUSALS) * len(METHODS) else 1


if __name__ == "__main__":
    sys.exit(main())
