"""The host's work goes on while a device computes: shown by one that waits for it.

Each mini-batch takes the device until the next one has been decoded, the first of the next block
after the last of a block. Where anything waits for the device instead, nothing ever ends.
"""

from __future__ import annotations

import threading
from typing import Any, cast

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.shared import Shared
from benchmark.canned import CannedPrograms

from transforms.elements import Block, BlockKey, Examples, ExplainedBlock, Shard
from transforms.formats.images.decoding import InputDecoder
from transforms.formats.source import InputSpec
from transforms.models.loading import LoadedModel, ModelSpec
from transforms.saliency.attribution import Results
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.saliency.program import Programs, ProgramSpec
from transforms.saliency.scores.targets import TargetSpec
from transforms.stages.explain import ExplainBlocks

SECONDS = 60.0
SIDE, CLASSES, BATCH, BATCHES, BLOCKS = 4, 3, 2, 3, 3
SPEC = ExplainSpec(
    model=ModelSpec("model"),
    program=ProgramSpec(
        inputs=InputSpec("tensor", (SIDE, SIDE, 3)),
        target=TargetSpec.parse("predicted"),
        operator="classification",
        reducer="max",
        codec="uint8",
        batch_size=BATCH,
    ),
    threads=None,
    sketch=(2, 2),
    with_boxes=False,
)


class Model:
    """As much of a model as explaining asks for."""

    classes = explicable = CLASSES
    batch = None
    fed_inputs = ()

    def read_as(self, _: str) -> Model:
        return self


class WaitingPrograms(CannedPrograms):
    """A device that has a mini-batch until the host has decoded the next one."""

    def __init__(self, results: Results, decoded: list[threading.Event]) -> None:
        super().__init__(results)
        self._decoded = decoded

    def run(self, inputs: npt.NDArray[Any], *others: npt.NDArray[Any]) -> Results:
        number = int(inputs[0, 0, 0, 0])
        if number + 1 < len(self._decoded) and not self._decoded[number + 1].wait(SECONDS):
            raise TimeoutError(f"nothing was decoded while mini-batch {number} was on the device")
        return super().run(inputs, *others)


def results() -> Results:
    per_map = dict.fromkeys(SPEC.map_format.statistic_names, np.full((BATCH, 1), 0.5, np.float32))
    codes = np.arange(BATCH * SIDE * SIDE, dtype=np.uint8).reshape(BATCH, 1, SIDE, SIDE)
    return {
        **per_map,
        "target": np.zeros((BATCH, 1), np.int32),
        "predicted": np.zeros(BATCH, np.int32),
        "predicted_score": np.ones(BATCH, np.float32),
        "score": np.ones((BATCH, 1), np.float32),
        "finite": np.ones((BATCH, 1), bool),
        "map": codes,
        "level": codes,
        "map_scale": np.ones((BATCH, 1), np.float32),
        "sketch": np.full((BATCH, 1, 2, 2), 1 << 22, np.int32),
    }


def block_of(number: int) -> Block:
    """A block each of whose inputs is the number of its mini-batch among those of all blocks."""
    count = BATCH * BATCHES
    first = number * count
    values = np.arange(first, first + count) // BATCH
    examples = Examples(
        records=np.arange(first, first + count),
        ids=tuple(f"{each}" for each in range(first, first + count)),
        inputs=np.ones((count, SIDE, SIDE, 3)) * values[:, np.newaxis, np.newaxis, np.newaxis],
        labels=np.zeros(count, np.int32),
    )
    last = number + 1 == BLOCKS
    return Block(BlockKey(Shard("a.tfrecord", 1), number, first, count, last=last), examples)


def ids_of(block: ExplainedBlock) -> list[str]:
    found: list[str] = block.table["example_id"].to_pylist()
    return found


def test_the_next_mini_batch_and_the_next_block_are_decoded_while_the_device_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded = [threading.Event() for _ in range(BATCHES * BLOCKS)]
    decode = InputDecoder.decode_batch

    def decode_and_tell(self: InputDecoder, inputs: Any) -> Any:
        found = decode(self, inputs)
        decoded[int(inputs[0, 0, 0, 0])].set()
        return found

    makers: set[str] = set()

    def tell(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        makers.add(threading.current_thread().name.partition("_")[0])
        return np.zeros(len(codes), np.float32)

    monkeypatch.setattr(InputDecoder, "decode_batch", decode_and_tell)
    monkeypatch.setattr("transforms.saliency.rows.gini_from_codes", tell)
    programs = cast(Programs, WaitingPrograms(results(), decoded))
    explainer = BlockExplainer(cast(LoadedModel, Model()), SPEC, programs=programs)
    shared = Shared()
    shared.acquire(lambda: explainer, tag=SPEC.identity)
    per_block = BATCH * BATCHES
    expected = [
        [f"{each}" for each in range(first, first + per_block)]
        for first in range(0, BLOCKS * per_block, per_block)
    ]
    with beam.Pipeline("FnApiRunner") as pipeline:
        numbers = pipeline | beam.Create([range(BLOCKS)])
        blocks = numbers | beam.FlatMap(lambda numbers: map(block_of, numbers))
        explained = blocks | ExplainBlocks(SPEC, shared)
        assert_that(explained | beam.Map(ids_of), equal_to(expected))
    assert makers == {"rows"}
