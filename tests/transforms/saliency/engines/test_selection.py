"""Which engine is used, and what is said about the others."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gradients import batch_of, gradient_of

from transforms.errors import ConfigurationError
from transforms.saliency.attribution import Attribution, AttributionFunction
from transforms.saliency.engines import engine, selection
from transforms.saliency.engines.engine import (
    CompiledAttribution,
    EngineSpec,
    EngineUnavailableError,
    engine_names,
    find_engine,
)
from transforms.saliency.engines.selection import EngineChoice, choose_engine

SHAPE = (5, 5, 3)


@dataclasses.dataclass(frozen=True)
class FakeEngine:
    """TensorFlow's gradients, times a factor or the next of several; or none."""

    factor: Any = 1.0
    refusal: str | None = None
    exact: bool = False  # in float32: the factor is for other precisions

    def compile(self, function: AttributionFunction, spec: EngineSpec) -> CompiledAttribution:
        if self.refusal:
            raise EngineUnavailableError(self.refusal)
        real = find_engine("tensorflow").compile(
            function, dataclasses.replace(spec, precision="float32")
        )

        def run(inputs: Any, labels: Any) -> Attribution:
            result = real.run(inputs, labels)
            if self.exact and spec.precision == "float32":
                return result
            factor = next(self.factor) if isinstance(self.factor, Iterator) else self.factor
            return dataclasses.replace(result, gradients=np.asarray(result.gradients) * factor)

        return CompiledAttribution(run)


def magnitudes(attribution: Attribution) -> tf.Tensor:
    return tf.abs(np.reshape(attribution.gradients, (-1, *SHAPE)))


def _model(inputs: tf.Tensor) -> tf.Tensor:
    weights = tf.reshape(tf.sin(tf.range(75.0 * 4)), (75, 4))
    return tf.tanh(tf.reshape(inputs, (-1, 75))) @ weights


Choose = Callable[..., EngineChoice]


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Choose:
    def run(
        name: str,
        fakes: dict[str, FakeEngine],
        shares: dict[str, float] | None = None,
        examples: int = 2,
        model: Any = _model,
        **spec: Any,
    ) -> EngineChoice:
        engines = {"tensorflow": find_engine("tensorflow"), **fakes}
        monkeypatch.setattr(selection, "engine_names", lambda: tuple(engines))
        monkeypatch.setattr(engine, "find_engine", engines.__getitem__)
        monkeypatch.setattr(
            selection._Comparison,
            "share_of_time",
            lambda _, choice, *__: (shares or {})[
                choice.spec.name + (" mixed" if choice.spec.precision == "mixed" else "")
            ],
        )
        inputs, labels = batch_of(SHAPE)
        function = gradient_of(model, SHAPE)
        wanted = EngineSpec(name, threads=2, **spec)
        return choose_engine(wanted, function, magnitudes, inputs[:examples], labels[:examples])

    return run


def test_auto_takes_the_fastest(choose: Choose) -> None:
    fakes = {"fast": FakeEngine(), "faster": FakeEngine(), "slow": FakeEngine()}
    found = choose("auto", fakes, {"fast": 0.7, "faster": 0.5, "slow": 1.4})
    assert found.spec == EngineSpec("faster", threads=2)
    assert found.agreement is not None
    assert found.agreement.holds
    assert found.agreement.maps == 2
    assert [note.split(";")[0] for note in found.notes] == [
        "fast takes 0.70 times as long as tensorflow",
        "faster takes 0.50 times as long as tensorflow",
        "slow takes 1.40 times as long as tensorflow",
    ]


def test_auto_stays_where_nothing_is_gained(choose: Choose) -> None:
    found = choose("auto", {"same": FakeEngine()}, {"same": 0.97})
    assert found.spec.name == "tensorflow"
    assert found.agreement is None


def test_engines_that_are_not_used_are_let_go(choose: Choose) -> None:
    compiled: list[weakref.ref[Any]] = []

    class Watched(FakeEngine):
        def compile(self, function: AttributionFunction, spec: EngineSpec) -> CompiledAttribution:
            made = super().compile(function, spec)
            compiled.append(weakref.ref(made.run))
            return made

    assert choose("auto", {"slow": Watched()}, {"slow": 1.4}).spec.name == "tensorflow"
    gc.collect()

    assert [run() for run in compiled] == [None]


def test_auto_takes_no_engine_that_disagrees(choose: Choose) -> None:
    noise = 1.0 + 0.01 * np.random.default_rng(2).normal(size=(2, 1, *SHAPE))
    found = choose("auto", {"wrong": FakeEngine(noise.astype(np.float32))}, {"wrong": 0.1})
    assert found.spec.name == "tensorflow"
    (note,) = found.notes
    assert note.startswith("wrong is not used: it differs from tensorflow, Spearman at least 0.9")


def test_an_engine_that_is_right_at_its_first_call_alone_disagrees(choose: Choose) -> None:
    factors = itertools.chain([1.0], itertools.repeat(np.linspace(0, 1, 75).reshape(SHAPE)))
    found = choose("auto", {"wrong": FakeEngine(factors)}, {"wrong": 0.1})
    assert found.spec.name == "tensorflow"
    assert found.notes[0].startswith("wrong is not used: it differs from tensorflow")


def test_auto_says_why_an_engine_cannot_be_used(choose: Choose) -> None:
    found = choose("auto", {"absent": FakeEngine(refusal="it is not installed")})
    assert found.spec.name == "tensorflow"
    assert found.notes == ("absent is not used: it is not installed",)


def test_an_engine_asked_for_must_be_usable(choose: Choose) -> None:
    with pytest.raises(ConfigurationError) as raised:
        choose("absent", {"absent": FakeEngine(refusal="it is not installed")})
    assert str(raised.value) == (
        "explain.engine 'absent' cannot be used: it is not installed; choose tensorflow"
    )


def test_an_engine_asked_for_is_used_though_it_disagrees(choose: Choose) -> None:
    found = choose("wrong", {"wrong": FakeEngine(1.5)})
    assert found.spec.name == "wrong"
    assert found.agreement is not None
    assert found.agreement.mean_difference == pytest.approx(0.5)
    assert found.notes[0].startswith("wrong in float32 differs from tensorflow in float32")


def test_an_engine_asked_for_that_makes_other_maps_is_refused(choose: Choose) -> None:
    factor = np.linspace(0, 1, 75).reshape(SHAPE)
    with pytest.raises(ConfigurationError) as raised:
        choose("wrong", {"wrong": FakeEngine(factor)})
    message = str(raised.value)
    assert message.startswith(
        "explain.engine 'wrong' computes other maps than tensorflow for this model: Spearman at "
        "least 0."
    )
    assert message.endswith("on 2 maps; choose tensorflow, or auto")


SHARES = {"fast": 0.5, "fast mixed": 0.8, "tensorflow mixed": 3.0}


@pytest.mark.parametrize(
    ("name", "share", "expected"),
    [
        ("auto", 0.9, ("fast", "mixed")),
        ("auto", 0.92, ("fast", "float32")),
        ("fast", 0.9, ("fast", "mixed")),
        ("fast", 0.92, ("fast", "float32")),
    ],
)
def test_auto_takes_mixed_where_it_gains_a_tenth(
    choose: Choose, name: str, share: float, expected: tuple[str, str]
) -> None:
    shares = SHARES | {"fast mixed": share}
    fake = FakeEngine(1.0 + 1e-4 * np.sin(np.arange(75.0)).reshape(SHAPE), exact=True)
    found = choose(name, {"fast": fake}, shares, precision="auto")
    assert (found.spec.name, found.spec.precision) == expected
    assert f"fast in mixed takes {share:.2f} times as long as fast; Spear" in "".join(found.notes)


def test_mixed_that_disagrees_is_not_taken(choose: Choose) -> None:
    fake = FakeEngine(np.linspace(0.5, 1, 75).reshape(SHAPE), exact=True)
    found = choose("auto", {"fast": fake}, SHARES, precision="auto")
    assert found.spec == EngineSpec("fast", threads=2)
    assert any(note.startswith("fast in mixed is not used: it differs") for note in found.notes)


def test_float32_is_the_default(choose: Choose) -> None:
    found = choose("auto", {"fast": FakeEngine()}, SHARES | {"fast mixed": 0.1})
    assert found.spec.precision == "float32"
    assert not any("mixed" in note for note in found.notes)


def test_precision_is_compared_with_float32(choose: Choose) -> None:
    found = choose("tensorflow", {}, precision="bfloat16")
    assert found.agreement is not None
    assert 1e-5 < found.agreement.mean_difference < 0.05


def test_without_examples_the_reference_is_used(choose: Choose) -> None:
    found = choose("auto", {"fast": FakeEngine()}, {"fast": 0.1}, examples=0)
    assert found.spec.name == "tensorflow"
    assert found.notes == ("no example to compare engines on",)


def test_fewer_examples_than_a_batch_are_enough(choose: Choose) -> None:
    found = choose("auto", {"fast": FakeEngine()}, {"fast": 0.1}, examples=1)
    assert found.spec.name == "fast"
    assert found.agreement is not None
    assert found.agreement.maps == 1


def test_a_first_batch_that_the_model_refuses_decides_nothing(choose: Choose) -> None:
    def picky(inputs: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_less(inputs, -100.0)]):
            return _model(tf.identity(inputs))

    found = choose("auto", {"fast": FakeEngine()}, {"fast": 0.1}, model=picky)
    assert found.spec.name == "tensorflow"
    assert "the first batch cannot be explained" in found.notes[-1]


def test_engines_are_found_by_their_files() -> None:
    assert engine_names() == ("openvino", "tensorflow")
    with pytest.raises(ConfigurationError, match="'onnx' is unknown; choose auto or one of openvi"):
        find_engine("onnx")


@pytest.mark.parametrize(
    ("shares", "rounds", "expected"),
    [
        ([0.5, 0.7], 2, 0.6),  # both below 0.8 of the limit
        ([1.4, 1.2], 2, 1.3),  # both above 1.25 times the limit
        ([0.5, 0.9, 0.6, 0.6, 0.7], 5, 0.6),  # once too near to it
        ([0.5, 1.5, 0.7, 0.8, 0.9], 5, 0.8),
    ],
)
def test_as_many_rounds_are_timed_as_it_takes_to_be_clear(
    shares: list[float], rounds: int, expected: float
) -> None:
    now, calls = 0.0, []

    def take(seconds: float, name: str) -> None:
        nonlocal now
        now += seconds
        calls.append(name)

    left = iter(shares)
    share = selection.share_of_time(
        lambda: take(next(left), "first"),
        lambda: take(1.0, "second"),
        limit=0.95,
        clock=lambda: now,
    )
    assert share == pytest.approx(expected)
    assert calls == ["first", "second"] * rounds
