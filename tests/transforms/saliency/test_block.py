"""Blocks with real models: one bad example costs itself, and not a bit of its batch-mates' maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import tensorflow as tf

from transforms.codec import decode
from transforms.elements import Block, BlockKey, Examples, ExplainedBlock, Shard
from transforms.errors import RunError
from transforms.formats.source import InputSpec
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.saliency.program import Program, ProgramSpec
from transforms.saliency.scores.targets import TargetSpec
from transforms.storage import LocalStorage
from transforms.store.map_format import tensor_values

SIDE, CLASSES, BATCH = 6, 3, 8
SPEC = ExplainSpec(
    model=ModelSpec(""),
    program=ProgramSpec(
        inputs=InputSpec("tensor", (SIDE, SIDE, 3)),
        target=TargetSpec.parse("predicted"),
        operator="classification",
        reducer="max",
        codec="uint8",
        batch_size=BATCH,
    ),
    threads=None,
    sketch=(3, 3),
    with_boxes=False,
)


def save(call: Callable[[Any], Any], path: Path, batch: int | None = None) -> LoadedModel:
    """A SavedModel of a convolution after `call`, which may refuse inputs."""
    generator = np.random.default_rng(5)
    kernel = tf.Variable(generator.normal(size=(3, 3, 3, 4)), dtype=tf.float32)
    dense = tf.Variable(generator.normal(size=(4, CLASSES)), dtype=tf.float32)

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.variables_ = [kernel, dense]

        @tf.function(input_signature=[tf.TensorSpec([batch, SIDE, SIDE, 3], tf.float32)])
        def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
            features = tf.nn.relu(tf.nn.conv2d(call(inputs), kernel, 1, "SAME"))
            return tf.reduce_mean(features, axis=[1, 2]) @ dense

    tf.saved_model.save(Model(), str(path))
    return load_model(ModelSpec(str(path)), LocalStorage())


def refusing_large(inputs: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.assert_less(inputs, 100.0, "inputs are too large")]):
        return tf.identity(inputs)


def block_of(inputs: npt.NDArray[np.float32]) -> Block:
    count = len(inputs)
    examples = Examples(
        records=np.arange(count, dtype=np.int64),
        ids=tuple(map(str, range(count))),
        inputs=inputs,
        labels=np.full(count, -1, np.int32),
    )
    return Block(BlockKey(Shard("/data/a.tfrecord", 1), 0, 0, count, last=True), examples)


def inputs_of(count: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=(count, SIDE, SIDE, 3)).astype(np.float32)


def without(table: pa.Table, *records: int) -> pa.Table:
    keep = [record not in records for record in table["record"].to_pylist()]
    return table.filter(pa.array(keep)).combine_chunks()


def failed(explained: ExplainedBlock) -> list[tuple[int | None, str]]:
    return [(failure.record, failure.error) for failure in explained.failures]


def test_examples_that_the_model_refuses_cost_themselves_alone(tmp_path: Path) -> None:
    explainer = BlockExplainer(save(refusing_large, tmp_path / "model"), SPEC)
    inputs = inputs_of(19)
    expected = explainer.explain(block_of(inputs)).table
    assert len(expected) == 19
    inputs[[4, 5, 17]] = 1000
    explained = explainer.explain(block_of(inputs))
    assert failed(explained) == [(4, "ModelError"), (5, "ModelError"), (17, "ModelError")]
    assert "inputs are too large" in explained.failures[0].message
    assert "\n" not in explained.failures[0].message
    assert explained.table == without(expected, 4, 5, 17)


def test_a_gradient_that_is_not_finite_costs_itself_alone(tmp_path: Path) -> None:
    # The root of a negative number is NaN, and that of 0 has an infinite gradient.
    explainer = BlockExplainer(save(lambda x: tf.sqrt(x + 10), tmp_path / "model"), SPEC)
    inputs = inputs_of(BATCH)
    expected = explainer.explain(block_of(inputs)).table
    inputs[2], inputs[6, 1, 1, 1] = -20, -10
    explained = explainer.explain(block_of(inputs))
    assert failed(explained) == [(2, "NonFiniteGradient"), (6, "NonFiniteGradient")]
    assert explained.table == without(expected, 2, 6)


def test_a_model_that_refuses_padding_explains_the_last_mini_batch(tmp_path: Path) -> None:
    def refusing_zeros(inputs: tf.Tensor) -> tf.Tensor:
        largest = tf.reduce_max(tf.abs(inputs), axis=[1, 2, 3])
        with tf.control_dependencies([tf.debugging.assert_positive(largest, "an empty input")]):
            return tf.identity(inputs)

    explainer = BlockExplainer(save(refusing_zeros, tmp_path / "model"), SPEC)
    explained = explainer.explain(block_of(inputs_of(BATCH + 3)))
    assert failed(explained) == []
    assert len(explained.table) == BATCH + 3


def test_inputs_that_could_not_be_decoded_are_no_mini_batch_mates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = BlockExplainer(save(tf.identity, tmp_path / "model"), SPEC)
    inputs = inputs_of(BATCH + 3)
    expected = explainer.explain(block_of(inputs)).table
    inputs[[2, BATCH], 0, 0, 0] = np.nan  # one of them the first of the mini-batch that is padded
    seen: list[npt.NDArray[np.float32]] = []
    run = Program.run

    def watched(self: Program, *arrays: Any) -> Any:
        seen.append(arrays[0])
        return run(self, *arrays)

    monkeypatch.setattr(Program, "run", watched)
    explained = explainer.explain(block_of(inputs))
    assert failed(explained) == [(2, "NotFinite"), (BATCH, "NotFinite")]
    assert explained.table == without(expected, 2, BATCH)
    assert sorted(map(len, seen)) == [3, BATCH]
    assert all(batch.any(axis=(1, 2, 3)).all() for batch in seen)


def test_nothing_is_computed_where_no_example_could_be_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = BlockExplainer(save(tf.identity, tmp_path / "model"), SPEC)
    monkeypatch.setattr(Program, "run", lambda *_: pytest.fail("there is nothing to run"))
    explained = explainer.explain(block_of(np.full((3, SIDE, SIDE, 3), np.nan, np.float32)))
    assert failed(explained) == [(row, "NotFinite") for row in range(3)]


def test_a_label_that_is_missing_is_not_explained(tmp_path: Path) -> None:
    program = dataclasses.replace(SPEC.program, target=TargetSpec.parse("label"))
    spec = dataclasses.replace(SPEC, program=program)
    explainer = BlockExplainer(save(tf.identity, tmp_path / "model"), spec)
    block = block_of(inputs_of(3))
    block.examples.labels[[0, 2]] = [1, 2]
    explained = explainer.explain(block)
    assert failed(explained) == [(1, "MissingLabel")]
    assert explained.failures[0].message.startswith("the target is the label, but the example has")
    assert explained.table["target"].to_pylist() == [1, 2]


def test_a_resized_explainer_makes_the_same_maps_and_shares_what_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = BlockExplainer(save(tf.identity, tmp_path / "model"), SPEC)
    expected = explainer.explain(block_of(inputs_of(11))).table
    assert explainer.claim_load()
    monkeypatch.setattr(Program, "compile", lambda *_: pytest.fail("it has been compiled"))
    resized = explainer.resized(4)
    assert resized.spec == dataclasses.replace(
        explainer.spec, program=dataclasses.replace(SPEC.program, batch_size=4)
    )
    assert explainer.spec == SPEC
    assert resized.claim_load()
    found = resized.explain(block_of(inputs_of(11))).table
    assert found["example_id"] == expected["example_id"]
    np.testing.assert_allclose(found["map_scale"], expected["map_scale"], rtol=1e-5)


def test_lack_of_memory_halves_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save(tf.identity, tmp_path / "model")
    inputs = inputs_of(11)
    expected = BlockExplainer(model, SPEC).explain(block_of(inputs)).table
    run = Program.run

    def run_if_it_fits(self: Program, *arrays: Any) -> Any:
        if self.batch_size > 2:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor")
        return run(self, *arrays)

    monkeypatch.setattr(Program, "run", run_if_it_fits)
    explainer = BlockExplainer(model, SPEC)
    explained = explainer.explain(block_of(inputs))
    assert explainer.claim_halvings() == 2
    assert failed(explained) == []
    for name in ("example_id", "target", "predicted"):
        assert explained.table[name] == expected[name]
    maps, expected_maps = (
        decode(tensor_values(table["map"]), np.asarray(table["map_scale"]))
        for table in (explained.table, expected)
    )
    limit = np.asarray(expected["map_scale"])[:, np.newaxis, np.newaxis] / 255
    assert (np.abs(maps - expected_maps) <= limit).all()


def test_a_fixed_batch_cannot_be_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save(tf.identity, tmp_path / "model", batch=BATCH)
    explainer = BlockExplainer(model, SPEC)

    def out_of_memory(*_: Any) -> Any:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor")

    monkeypatch.setattr(Program, "run", out_of_memory)
    with pytest.raises(RunError, match="a mini-batch of 8 does not fit into memory"):
        explainer.explain(block_of(inputs_of(3)))


def test_bugs_are_not_taken_for_bad_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = BlockExplainer(save(tf.identity, tmp_path / "model"), SPEC)

    def broken(*_: Any) -> Any:
        raise TypeError("our own mistake")

    monkeypatch.setattr(Program, "run", broken)
    with pytest.raises(TypeError, match="our own mistake"):
        explainer.explain(block_of(inputs_of(3)))
