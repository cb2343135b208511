"""Compiled models that are kept: the same bits with and without, and never another model's."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gradients import batch_of, gradient_of

from transforms.process.cache_folder import CACHE_VARIABLE
from transforms.saliency.attribution import Attribution, AttributionFunction
from transforms.saliency.engines import compiled_models, openvino_engine
from transforms.saliency.engines.compiled_models import CompiledModel, CompiledModels
from transforms.saliency.engines.engine import EngineSpec, EngineUnavailableError
from transforms.saliency.engines.function_digest import outside_operation
from transforms.saliency.engines.openvino_engine import ENGINE

pytest.importorskip("openvino")

SHAPE = (8, 8, 3)
SPEC = EngineSpec("openvino", threads=2)


def make_model(seed: int = 5) -> keras.Model:
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(3, name="dense"),
        ],
        name="network",
    )


class Cache:
    """A cache folder, and how often something was compiled though it might have been there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "compiled"
        self.compiled = 0
        make = openvino_engine._compiled

        def counted(*given: Any) -> CompiledModel:
            self.compiled += 1
            return make(*given)

        monkeypatch.setenv(CACHE_VARIABLE, str(folder))
        monkeypatch.setattr(openvino_engine, "_compiled", counted)

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir()) if self.folder.exists() else []

    def run(self, function: AttributionFunction, spec: EngineSpec = SPEC) -> Attribution:
        result = ENGINE.compile(function, spec).run(*batch_of(SHAPE, function.batch_size))
        return Attribution(*(np.asarray(field) for field in result.fields))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    return Cache(tmp_path, monkeypatch)


def assert_same_bits(first: Attribution, second: Attribution) -> None:
    for one, other in zip(first.fields, second.fields, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize("target", ["label", {"class": 1}], ids=str)
def test_the_same_bits_whether_it_was_kept_or_not(
    target: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = gradient_of(make_model(), SHAPE, batch_size=6, target=target)
    first = cache.run(function)
    assert (cache.compiled, len(cache.files)) == (1, 1)
    again = cache.run(gradient_of(make_model(), SHAPE, batch_size=6, target=target))
    assert (cache.compiled, len(cache.files)) == (1, 1)
    monkeypatch.setenv(CACHE_VARIABLE, "")
    without = cache.run(function)
    assert cache.compiled == 2
    assert_same_bits(first, again)
    assert_same_bits(first, without)


def changed_weights() -> keras.Model:
    model = make_model()
    kernel = model.get_layer("conv").kernel
    kernel.assign(np.nextafter(np.asarray(kernel), np.float32(9)))
    return model


def of_other_activation() -> keras.Model:
    model = make_model()
    model.get_layer("conv").activation = keras.activations.elu
    return model


def of_halves(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda inputs: model(inputs / 2)


OTHERS: dict[str, Callable[[], tuple[AttributionFunction, EngineSpec]]] = {
    "weights of other values": lambda: (gradient_of(make_model(6), SHAPE), SPEC),
    "weights changed since loaded": lambda: (gradient_of(changed_weights(), SHAPE), SPEC),
    "a layer of other code": lambda: (gradient_of(of_other_activation(), SHAPE), SPEC),
    "another target": lambda: (gradient_of(make_model(), SHAPE, target="predicted"), SPEC),
    "another class": lambda: (gradient_of(make_model(), SHAPE, target={"class": 2}), SPEC),
    "another operator": lambda: (
        gradient_of(make_model(), SHAPE, operator=lambda f, x, y: tf.reduce_sum(f(x) * y, -1) ** 2),
        SPEC,
    ),
    "another constant": lambda: (gradient_of(of_halves(make_model()), SHAPE), SPEC),
    "another batch": lambda: (gradient_of(make_model(), SHAPE, batch_size=8), SPEC),
    "mixed": lambda: (
        gradient_of(make_model(), SHAPE),
        dataclasses.replace(SPEC, precision="mixed"),
    ),
    "threads": lambda: (gradient_of(make_model(), SHAPE), dataclasses.replace(SPEC, threads=1)),
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with one model."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        ENGINE.compile(gradient_of(make_model(), SHAPE), SPEC)
    return folder


@pytest.fixture
def compiles(filled: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Whether a function would be compiled, rather than found in the folder."""

    def refuse(*_: Any) -> CompiledModel:
        raise EngineUnavailableError("it would be compiled")

    monkeypatch.setenv(CACHE_VARIABLE, str(filled))
    monkeypatch.setattr(openvino_engine, "_compiled", refuse)

    def would_be_compiled(function: AttributionFunction, spec: EngineSpec = SPEC) -> bool:
        try:
            ENGINE.compile(function, spec)
        except EngineUnavailableError as error:
            return str(error) == "it would be compiled"
        return False

    return would_be_compiled


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_nothing_else_is_taken_for_it(
    other: Callable[[], tuple[AttributionFunction, EngineSpec]], compiles: Callable[..., bool]
) -> None:
    assert not compiles(gradient_of(make_model(), SHAPE))
    assert compiles(*other())


@pytest.mark.parametrize("what", ["surroundings", "version"])
def test_it_holds_for_the_same_machine_code_and_libraries_alone(
    what: str, compiles: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "surroundings":
        monkeypatch.setattr(compiled_models, "surroundings", lambda: "another machine")
    else:
        monkeypatch.setattr("openvino.get_version", lambda: "0.0")
    assert compiles(gradient_of(make_model(), SHAPE))


def test_a_damaged_file_is_made_anew(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    function = gradient_of(make_model(), SHAPE)
    first = cache.run(function)
    cache.files[0].write_bytes(cache.files[0].read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        assert_same_bits(cache.run(function), first)
    assert cache.compiled == 2
    assert caplog.messages == [f"{cache.files[0]} is damaged, and is made anew"]
    assert_same_bits(cache.run(function), first)
    assert cache.compiled == 2


def test_a_model_that_openvino_refuses_is_made_anew(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    function = gradient_of(make_model(), SHAPE)
    first = cache.run(function)
    kept, key = CompiledModels(cache.folder.parent), cache.files[0].stem
    found = kept.find(key)
    assert found is not None
    kept.keep(key, dataclasses.replace(found, content=b"no model"))
    with caplog.at_level(logging.WARNING):
        assert_same_bits(cache.run(function), first)
    [said] = caplog.messages
    assert said.startswith(f"the compiled model {key} is refused, and is made anew: OpenVINO: ")


def test_what_cannot_be_kept_is_computed_all_the_same(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    function = gradient_of(make_model(), SHAPE)
    first = cache.run(function)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with caplog.at_level(logging.INFO):
        assert_same_bits(cache.run(function), first)
    assert any(said.startswith("the compiled model is not kept: ") for said in caplog.messages)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "small"))
    monkeypatch.setattr(compiled_models, "_MOST_BYTES", 100)
    assert_same_bits(cache.run(function), first)
    assert not (tmp_path / "small").exists()


def test_what_cannot_be_compiled_is_refused_every_time(cache: Cache) -> None:
    random = gradient_of(lambda x: tf.reshape(x, (-1, 192))[:, :2] * tf.random.uniform((2,)), SHAPE)
    for _ in range(2):
        with pytest.raises(EngineUnavailableError, match="RandomUniform has an effect or a state"):
            ENGINE.compile(random, SPEC)
    assert not cache.files


def test_what_reads_a_table_has_no_key(tmp_path: Path) -> None:
    values = tf.lookup.KeyValueTensorInitializer([0, 1], [1.0, 2.0], tf.int64, tf.float32)
    table = tf.lookup.StaticHashTable(values, 0.0)

    @tf.function(input_signature=[tf.TensorSpec((2,), tf.int64)])
    def look_up(keys: tf.Tensor) -> tf.Tensor:
        return table.lookup(keys)

    kept = CompiledModels(tmp_path)
    assert kept.key(look_up.get_concrete_function(), "any") is None
    assert kept.find(None) is None
    kept.keep(None, CompiledModel(b"model", ("outputs",), {}))
    assert list(tmp_path.iterdir()) == []


def in_python(values: tf.Tensor, *, stateful: bool) -> tf.Tensor:
    return tf.numpy_function(np.sin, [values], tf.float32, stateful=stateful)


@pytest.mark.parametrize(
    "call",
    [
        lambda values: in_python(values, stateful=True),
        lambda values: in_python(values, stateful=False),
        lambda values: tf.py_function(tf.sin, [values], tf.float32),
        lambda values: values * tf.strings.to_number(tf.io.read_file("factor.txt")),
        lambda values: tf.map_fn(lambda each: in_python(each, stateful=True), values),
    ],
    ids=["numpy", "numpy without state", "py_function", "file", "in a loop"],
)
def test_what_calls_python_or_reads_files_has_no_key(
    tmp_path: Path, call: Callable[[tf.Tensor], tf.Tensor]
) -> None:
    traced = tf.function(call, autograph=False)
    function = traced.get_concrete_function(tf.TensorSpec([2], tf.float32))

    assert CompiledModels(tmp_path).key(function, ()) is None


def test_a_later_trace_of_the_same_has_the_same_key(tmp_path: Path) -> None:
    model, kept = make_model(), CompiledModels(tmp_path)
    model.get_layer("conv").activation = keras.activations.silu  # Its gradient is one of its own.
    keys = {kept.key(gradient_of(model, SHAPE).trace(2), "any") for _ in range(2)}
    assert len(keys) == 1
    assert None not in keys


def test_what_has_operators_of_another_library_has_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = tf.function(tf.nn.relu, autograph=False).get_concrete_function(
        tf.TensorSpec([2], tf.float32)
    )
    kept = CompiledModels(tmp_path)
    assert (outside_operation(function), kept.key(function, ()) is None) == (None, False)
    monkeypatch.delattr(tf.raw_ops, "Relu")  # As if it was of a library loaded later.
    assert (outside_operation(function), kept.key(function, ())) == ("Relu", None)


def test_a_model_is_written_and_read() -> None:
    constants = {"targets": np.full((2, 1), 3, np.int32), "empty": np.empty((2, 0), np.float32)}
    model = CompiledModel(b"content", ("outputs", "targets", "empty"), constants)
    found = CompiledModel.of_bytes(b"".join(model.parts()))
    assert (bytes(found.content), found.names) == (b"content", model.names)
    assert found.constants.keys() == constants.keys()
    for name, value in constants.items():
        np.testing.assert_array_equal(found.constants[name], value)
        assert found.constants[name].dtype == value.dtype
