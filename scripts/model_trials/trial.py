"""Tries each kind of model: its gradients beside a plain tape's, or the sentence that refuses it.

python -m model_trials.trial [NAME ...]: kinds whose names hold one of these; all without.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model_trials.kinds import Kind, all_kinds, save
from transforms.errors import ConfigurationError
from transforms.formats.source import InputSpec
from transforms.models.loading import ModelSpec, load_model
from transforms.saliency.attribution import check_explained
from transforms.saliency.engines.agreement import measure_agreement
from transforms.saliency.engines.engine import EngineSpec, find_engine
from transforms.saliency.first_outputs import first_outputs
from transforms.saliency.program import ProgramSpec, attribution_function
from transforms.saliency.scores.operators import output_reading, resolve_operator
from transforms.saliency.scores.targets import TargetSpec
from transforms.storage import LocalStorage

_EXAMPLES = 3
_CLASS = 1


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
      verdict: `right` and `refused` are as they should be.
      detail: The largest difference, or the sentence.
    """

    verdict: Literal["right", "refused", "WRONG", "UNEXPECTED REFUSAL", "NOT REFUSED", "TRACEBACK"]
    detail: str

    @property
    def is_good(self) -> bool:
        """Whether it is right, or refused as it is to be."""
        return self.verdict in ("right", "refused")


def attempt(kind: Kind, folder: Path) -> Outcome:
    """Makes, saves, loads and explains a model, and compares."""
    import keras

    keras.utils.set_random_seed(0)
    model = kind.make()
    uri = str(save(model, kind, folder))
    inputs = np.random.default_rng(1).normal(size=(_EXAMPLES, *kind.shape)).astype(np.float32)
    try:
        found = _explained(kind, uri, inputs)
    except ConfigurationError as error:
        expected = kind.refusal is not None and kind.refusal in str(error)
        return Outcome("refused" if expected else "UNEXPECTED REFUSAL", str(error))
    except Exception as error:  # Whatever is raised here would be a user's traceback.
        return Outcome("TRACEBACK", f"{type(error).__name__}: {str(error)[:200]}")
    if kind.refusal is not None:
        return Outcome("NOT REFUSED", f"to be refused: {kind.refusal}")
    expected_gradients = _plain(kind, model, inputs)
    flat = (np.abs(each).reshape(_EXAMPLES, -1) for each in (expected_gradients, found))
    agreement = measure_agreement(*flat)
    right = agreement.holds and bool(expected_gradients.any())
    return Outcome("right" if right else "WRONG", str(agreement))


def _explained(kind: Kind, uri: str, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Gradients (N, *shape), as a run computes them with the tensorflow engine."""
    operator = resolve_operator(kind.operator)
    spec = ProgramSpec(
        inputs=InputSpec("tensor", kind.shape),
        target=TargetSpec("class", _CLASS),
        operator=kind.operator,
        reducer="max",
        codec="uint8",
        batch_size=_EXAMPLES,
    )
    model_spec = ModelSpec(uri, input_shape=kind.shape, output=kind.output)
    model = load_model(model_spec, LocalStorage()).read_as(output_reading(operator))
    check_explained(model, operator, spec.target)
    first_outputs(model, spec, inputs)
    compiled = find_engine("tensorflow").compile(attribution_function(model, spec), EngineSpec())
    labels = np.full(_EXAMPLES, _CLASS, np.int32)
    return np.asarray(compiled.run(inputs, labels).gradients)[:, 0]


def _plain(kind: Kind, model: Any, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The same of the model in memory, by a tape, with the score written out."""
    import keras
    import tensorflow as tf

    if kind.output == "logits":
        last = model.layers[-1]
        if isinstance(last, keras.layers.Softmax):
            model = keras.Model(model.inputs, model.layers[-2].output)
        else:
            last.activation = keras.activations.linear
    with tf.GradientTape() as tape:
        inputs = tf.constant(values)
        tape.watch(inputs)
        outputs = model(inputs, training=False)
        if kind.operator == "segmentation":
            one = outputs.shape[-1] == 1
            own = outputs[..., 0] if one else outputs[..., _CLASS]
            zone = own > 0.5 if one else tf.argmax(outputs, axis=-1) == _CLASS  # noqa: PLR2004
            zone = tf.cast(zone, tf.float32)
            axes = list(range(1, len(zone.shape)))
            score = tf.reduce_sum(own * zone, axes) / tf.reduce_sum(zone, axes)
        else:
            score = outputs[:, min(_CLASS, outputs.shape[-1] - 1)]
    return np.asarray(tape.gradient(score, inputs))


def main(names: list[str]) -> int:
    """Tries all kinds, or those named; returns 1 if one of them is wrong."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kinds = [kind for kind in all_kinds() if not names or any(name in kind.name for name in names)]
    good = 0
    for kind in kinds:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="saliency-atlas-") as folder:
            outcome = attempt(kind, Path(folder))
        good += outcome.is_good
        seconds = time.perf_counter() - begun
        print(f"{kind.name:44} {outcome.verdict:10} {seconds:5.1f} s  {outcome.detail}", flush=True)
    print(f"{good} of {len(kinds)} right or refused with the remedy")
    return 0 if kinds and good == len(kinds) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
