"""The openvino engine: what it is asked for, it does; what it cannot, it names."""

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import subprocess
import sys
import threading
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gradients import batch_of, gradient_of, plain, run_engine

from transforms.saliency.attribution import Attribution
from transforms.saliency.engines.engine import EngineSpec, EngineUnavailableError, find_engine
from transforms.saliency.engines.openvino_engine import part_size
from transforms.saliency.reducers import largest_magnitudes

pytest.importorskip("openvino")

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(5)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


def compare(function: Any) -> None:
    expected, found = plain(function), run_engine("openvino", function)
    np.testing.assert_array_equal(found.targets, expected.targets)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.gradients, expected.gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("target", ["label", "predicted", {"class": 3}, {"top": 3}], ids=str)
def test_every_target(model: keras.Model, target: Any) -> None:
    compare(gradient_of(model, SHAPE, target=target))


def test_an_operator(model: keras.Model) -> None:
    def margin(f: Any, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        outputs = f(inputs)
        others = tf.reduce_max(outputs - 1e3 * targets, axis=-1)
        return tf.reduce_sum(outputs * targets, axis=-1) - tf.square(others)

    compare(gradient_of(model, SHAPE, operator=margin))


def _constant(f: Any, inputs: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    return tf.gather(f(inputs), 3, axis=1)


def _constant_of_each(f: Any, inputs: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    return tf.gather(f(inputs), tf.fill([inputs.shape[0]], 3), batch_dims=1)


def _several(f: Any, inputs: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.gather(f(inputs), [1, 3, 1], axis=1) ** 2, axis=1)


def _the_same_twice(f: Any, inputs: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    rows = tf.range(inputs.shape[0])
    places = tf.stack([rows, tf.fill([inputs.shape[0]], 3)], axis=1)
    return tf.reduce_sum(tf.gather_nd(f(inputs), tf.stack([places, places], 1)) ** 2, axis=1)


@pytest.mark.parametrize(
    "operator",
    [_constant, _constant_of_each, _several, _the_same_twice],
    ids=lambda each: each.__name__,
)
def test_operators_that_gather_at_every_call(model: keras.Model, operator: Any) -> None:
    function = gradient_of(model, SHAPE, operator=operator, batch_size=8)
    expected = plain(function)
    compiled = find_engine("openvino").compile(function, EngineSpec("openvino", threads=2))
    for _ in range(3):
        found = compiled.run(*batch_of(SHAPE, 8))
        np.testing.assert_allclose(found.gradients, expected.gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(7,), (6, 4)], ids=str)
def test_tensors(shape: tuple[int, ...]) -> None:
    keras.utils.set_random_seed(5)
    layers = keras.layers
    series = len(shape) > 1
    body = [layers.Conv1D(4, 3, activation="gelu"), layers.Flatten()] if series else []
    model = keras.Sequential([keras.Input(shape), *body, layers.Dense(8, "silu"), layers.Dense(3)])
    compare(gradient_of(model, shape))


def test_a_batch_that_cannot_be_split(model: keras.Model) -> None:
    compare(gradient_of(model, SHAPE, batch_size=3, separable=False))


@pytest.mark.parametrize(
    ("shape", "batch_size", "threads", "separable", "expected"),
    [
        ((224, 224, 3), 8, 2, True, 2),
        ((224, 224, 3), 2, 2, True, 1),
        ((64, 64, 3), 64, 2, True, 16),
        ((10,), 64, 2, True, 32),
        ((10,), 7, 2, True, 1),
        ((10,), 64, 4, False, 64),
        ((600, 600, 3), 3, 16, True, 1),
    ],
)
def test_parts(
    shape: tuple[int, ...], batch_size: int, threads: int, separable: bool, expected: int
) -> None:
    function = gradient_of(lambda x: x, shape, batch_size=batch_size, separable=separable)
    assert part_size(function, threads) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", range(3))
def test_one_value_that_is_not_finite_is_told_apart(channel: int, value: float) -> None:
    inputs, labels = batch_of(SHAPE)
    expected = 2 * np.abs(inputs).max(axis=-1)
    inputs[1, 4, 5, channel] = value
    expected[1, 4, 5] = np.inf
    found = _largest_of_quadratic().run(inputs, labels).gradients
    np.testing.assert_array_equal(found[:, 0, :, :, 0], expected)


@functools.cache
def _largest_of_quadratic() -> Any:
    def quadratic(x: tf.Tensor) -> tf.Tensor:
        return tf.repeat(tf.reduce_sum(tf.square(x), axis=(1, 2, 3))[:, tf.newaxis], 2, axis=1)

    function = gradient_of(quadratic, SHAPE)

    def call(*arguments: Any) -> Attribution:
        found = function.call(*arguments)
        return dataclasses.replace(found, gradients=largest_magnitudes(found.gradients))

    reduced = dataclasses.replace(function, call=call)
    return find_engine("openvino").compile(reduced, EngineSpec("openvino", threads=1))


def test_bits_depend_neither_on_the_call_nor_on_threads(model: keras.Model) -> None:
    function = gradient_of(model, SHAPE, batch_size=8)
    inputs, labels = batch_of(SHAPE, 8)
    results = []
    for threads in (1, 2, 4):
        spec = EngineSpec("openvino", threads=threads)
        compiled = find_engine("openvino").compile(function, spec)
        results += [compiled.run(inputs, labels).gradients for _ in range(3)]
    assert {each.tobytes() for each in results} == {results[0].tobytes()}


def test_a_short_batch_is_run_short_to_the_same_bits(model: keras.Model) -> None:
    function = gradient_of(model, SHAPE, batch_size=8)
    compiled = find_engine("openvino").compile(function, EngineSpec("openvino", threads=4))
    assert [compiled.size_for(count, 8) for count in (1, 2, 3, 7, 8)] == [2, 2, 4, 8, 8]
    inputs, labels = batch_of(SHAPE, 8)
    whole = compiled.run(inputs, labels)
    for size in (2, 6):
        short = compiled.run(inputs[:size], labels[:size])
        for field, expected in zip(short.fields, whole.fields, strict=True):
            np.testing.assert_array_equal(field, expected[:size])


def test_a_batch_that_cannot_be_split_is_run_whole(model: keras.Model) -> None:
    function = gradient_of(model, SHAPE, batch_size=3, separable=False)
    compiled = find_engine("openvino").compile(function, EngineSpec("openvino", threads=2))
    assert compiled.size_for(1, 3) == 3


def test_results_of_a_call_are_its_own(model: keras.Model) -> None:
    compiled = find_engine("openvino").compile(gradient_of(model, SHAPE), EngineSpec(threads=2))
    inputs, labels = batch_of(SHAPE)
    first = compiled.run(inputs, labels).gradients
    before = first.copy()
    compiled.run(-inputs, labels)
    np.testing.assert_array_equal(first, before)


def _refusal(call: Any, spec: EngineSpec | None = None) -> str:
    with pytest.raises(EngineUnavailableError) as raised:
        find_engine("openvino").compile(gradient_of(call, SHAPE), spec or EngineSpec("openvino"))
    return str(raised.value)


def test_an_unknown_operation_is_named() -> None:
    def reflect(inputs: tf.Tensor) -> tf.Tensor:
        padded = tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
        return tf.reshape(padded, (-1, 300))

    assert _refusal(reflect) == ("OpenVINO: No conversion rule found for operations: MirrorPadGrad")


def test_a_loop_is_named() -> None:
    def loop(inputs: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(inputs, (-1, 192))
        return tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, tf.sin(v)), (0, flat))[1]

    assert "the model has a loop" in _refusal(loop)


def test_an_effect_is_named() -> None:
    def noisy(inputs: tf.Tensor) -> tf.Tensor:
        return tf.reshape(inputs * tf.random.uniform(inputs.shape), (-1, 192))

    assert _refusal(noisy) == "operation RandomUniform has an effect or a state"


def test_other_precisions_are_refused(model: keras.Model) -> None:
    spec = EngineSpec("openvino", precision="bfloat16")
    assert _refusal(model, spec) == "it computes in float32 or mixed precision, not bfloat16"


def test_absence_is_said(model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert _refusal(model) == ("OpenVINO is not installed (pip install 'saliency-atlas[openvino]')")


_INTERRUPTED = """
import signal, sys, threading
import keras
from gradients import gradient_of
from transforms.saliency.engines.engine import EngineSpec, find_engine

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
engine = find_engine("openvino")
kept = [engine.compile(gradient_of(model, (4,)), EngineSpec("openvino", threads=1))]
thread = threading.Thread(target=kept.clear)
thread.start()
thread.join()
filled = [bytearray(1 << 18) for _ in range(400)]
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_signal_finds_its_stack_when_a_gradient_has_gone_in_another_thread() -> None:
    """The stack would be OpenVINO's, and gone with it: the process ended with signal 11."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", _INTERRUPTED],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_threads_end_with_the_gradient_that_they_compute(model: keras.Model) -> None:
    before = set(threading.enumerate())
    compiled = find_engine("openvino").compile(
        gradient_of(model, SHAPE, batch_size=8), EngineSpec("openvino", threads=2)
    )
    compiled.run(*batch_of(SHAPE, 8))
    started = set(threading.enumerate()) - before
    assert started
    del compiled
    gc.collect()
    for thread in started:
        thread.join(timeout=60)
        assert not thread.is_alive()
