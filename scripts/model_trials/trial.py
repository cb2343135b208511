"""Tries each kind of model: its gradients beside a plain tape's, or the sentence that refuses it.

python -m model_trials.trial [NAME ...]: kinds whose names hold one of these; all without. With
--jax FOLDER also those that need JAX.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from model_trials.kind import EXAMPLES, TOKENS, Kind, save
from model_trials.kinds import all_kinds
from transforms.elements import Shard
from transforms.errors import ConfigurationError
from transforms.formats.features import Features
from transforms.formats.reader import read_blocks
from transforms.formats.source import InputSpec, SourceSpec
from transforms.models.loading import ModelSpec, load_model
from transforms.saliency.attribution import check_explained
from transforms.saliency.engines.agreement import spearman
from transforms.saliency.engines.engine import EngineSpec, find_engine
from transforms.saliency.first_outputs.outputs import first_outputs
from transforms.saliency.program import ProgramSpec, attribution_function
from transforms.saliency.scores.operators import output_reading, resolve_operator
from transforms.saliency.scores.targets import TargetSpec
from transforms.storage import LocalStorage

_CLASS = 1

_SMALLEST_SPEARMAN = 0.999
_LARGEST_DIFFERENCE = 1e-3
"""sum |found - plain| / sum |plain|, signs counted: a map that is minus the plain one has 2."""

_LARGEST_AT_TIES = 0.05
_MOST_TIES = 1 / 3
_DRAWS = 3
"""Where a unit lies on the kink of its ReLU, the last bits of a sum decide whether it is on. Of 75
maps of ResNet50 two differed from the plain tape's by 4e-3, all others by at most 2e-8; and these
two were those of a tape in float64 to 1e-6: the plain tape was off. An error is at all inputs,
a tie is not. So where a map differs, more inputs are drawn; a few may differ, and by a little."""


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
    inputs = some_inputs(kind)
    try:
        found = _explained(kind, uri, inputs)
    except ConfigurationError as error:
        expected = kind.refusal is not None and kind.refusal in str(error)
        return Outcome("refused" if expected else "UNEXPECTED REFUSAL", str(error))
    except Exception as error:  # Whatever is raised here would be a user's traceback.
        return Outcome("TRACEBACK", f"{type(error).__name__}: {str(error)[:200]}")
    if kind.refusal is not None:
        return Outcome("NOT REFUSED", f"to be refused: {kind.refusal}")
    plain = _plain(kind, model, inputs)
    if found.shape != plain.shape:
        return Outcome("WRONG", f"{found.shape} for {plain.shape}")
    outcome = _compared(plain, found)
    if outcome.is_good:
        return outcome
    drawn = [some_inputs(kind, seed) for seed in range(2, 1 + _DRAWS)]
    plain = np.concatenate([plain, *(_plain(kind, model, each) for each in drawn)])
    found = np.concatenate([found, *(_explained(kind, uri, each) for each in drawn)])
    return _compared(plain, found)


def spec_of_model(kind: Kind, uri: str) -> ModelSpec:
    """How a model is loaded."""
    return ModelSpec(
        uri,
        input_shape=kind.shape,
        output=kind.output,
        signature=kind.signature,
        explained_input=kind.explained,
        constants=() if kind.explained is None or kind.fed else (("second", 0.5),),
        fed=tuple(sorted(kind.fed)),
    )


def some_inputs(kind: Kind, seed: int = 1) -> npt.NDArray[np.float32]:
    """(N, *shape), as the model takes them."""
    generator = np.random.default_rng(seed)
    shape = (EXAMPLES, *kind.shape)
    if kind.data == "numbers":
        return generator.normal(size=shape).astype(np.float32)
    return generator.integers(0, 256 if kind.data == "bytes" else TOKENS, shape).astype(np.float32)


def _compared(expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> Outcome:
    """Gradients with their signs, example by example."""
    pairs = [
        (reference.astype(np.float64).ravel(), values.astype(np.float64).ravel())
        for reference, values in zip(expected, found, strict=True)
    ]
    differences = [
        np.abs(values - reference).sum() / np.abs(reference).sum() if reference.any() else np.inf
        for reference, values in pairs
    ]
    correlations = [spearman(*pair) for pair in pairs]
    alike = [
        difference <= _LARGEST_DIFFERENCE and correlation >= _SMALLEST_SPEARMAN
        for difference, correlation in zip(differences, correlations, strict=True)
    ]
    ties = alike.count(False)
    worst, least = max(differences), min(correlations)
    may_be_ties = ties <= _MOST_TIES * len(pairs) and worst <= _LARGEST_AT_TIES
    right = not ties or (len(pairs) > EXAMPLES and may_be_ties)
    said = f", {ties} of {len(pairs)} maps at a tie" if ties and right else ""
    return Outcome(
        "right" if right else "WRONG",
        f"relative difference at most {worst:.1e}, Spearman at least {least:.6f}, with signs{said}",
    )


def _from_columns(inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N, W) rows, written as a column per number and read again."""
    names = [f"feature {number}" for number in range(inputs.shape[1])]
    columns = {name: inputs[:, number] for number, name in reversed([*enumerate(names)])}
    with tempfile.TemporaryDirectory(prefix="saliency-atlas-") as folder:
        path = Path(folder, "rows.parquet")
        pq.write_table(pa.table(columns), path)
        shard = Shard(str(path), path.stat().st_size)
        source = SourceSpec("parquet", Features(input=tuple(names)))
        spec = InputSpec("tensor", inputs.shape[1:])
        (block,) = read_blocks(shard, source, spec, len(inputs), LocalStorage())
    return np.asarray(block.examples.inputs, np.float32)


def _explained(kind: Kind, uri: str, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Gradients, signed, as a run computes them; (N, *shape), and of tokens (N, T, 1, width)."""
    operator = resolve_operator(kind.operator)
    spec = ProgramSpec(
        inputs=InputSpec("tensor", kind.shape, channels=kind.channels),
        target=TargetSpec("class", _CLASS),
        operator=kind.operator,
        reducer="max",
        sign="signed",  # all of the gradients, not the largest magnitudes alone
        codec="uint8",
        batch_size=EXAMPLES,
    )
    model = load_model(spec_of_model(kind, uri), LocalStorage()).read_as(output_reading(operator))
    check_explained(model, operator, spec.target)
    decoded = np.moveaxis(inputs, 1, -1) if kind.channels == "first" else inputs
    if kind.columns:
        decoded = _from_columns(decoded)
    beside = [kind.fed[each.name] for each in model.fed_inputs]
    first_outputs(model, spec, decoded, beside)
    engine = EngineSpec(kind.engine)
    compiled = find_engine(kind.engine).compile(attribution_function(model, spec), engine)
    labels = np.full(EXAMPLES, _CLASS, np.int32)
    gradients = np.asarray(compiled.run(decoded, labels, *beside).gradients)[:, 0]
    return np.moveaxis(gradients, -1, 1) if kind.channels == "first" else gradients


def _plain(kind: Kind, model: Any, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The same of the model in memory, by a tape, with the score written out."""
    if kind.plain is not None:
        return np.asarray(kind.plain(model, values))
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
        outputs = model(inputs, training=False) if hasattr(model, "layers") else model(inputs)
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


def main(arguments: list[str]) -> int:
    """Tries all kinds, or those named; returns 1 if one of them is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of the names of kinds; all without")
    parser.add_argument(
        "--jax",
        type=Path,
        metavar="FOLDER",
        help="a virtual environment with Keras and JAX, made if it is not there: tries models that "
        "were made under JAX, too",
    )
    given = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kinds = [
        kind
        for kind in all_kinds(given.jax)
        if not given.names or any(name in kind.name for name in given.names)
    ]
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
