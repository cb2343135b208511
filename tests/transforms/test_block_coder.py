from __future__ import annotations

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from pipeline.runners.options import pipeline_options
from transforms.block_coder import AnyBlock, BlockCoder, typed
from transforms.elements import Block, BlockKey, CommittedBlock, Examples, ExplainedBlock, Shard
from transforms.formats.features import Features
from transforms.formats.source import InputSpec, SourceSpec
from transforms.stages.read import ReadBlocks
from transforms.stages.write import WriteBlocks

SHARD = Shard("/data/a.tfrecord", 10)
KEY = BlockKey(SHARD, 0, 0, 2, last=True)
RECORDS, LABELS = np.arange(2), np.zeros(2, np.int32)
TABLE = pa.table({"target": pa.array([3, 4], pa.int32())})
ENCODED = Block(KEY, Examples(RECORDS, ("a", "b"), (b"GIF", b"PNGPNG"), LABELS))
NUMBERS = Block(KEY, Examples(RECORDS, ("a", "b"), np.zeros((2, 5), np.float32), LABELS))
EXPLAINED = ExplainedBlock(KEY, TABLE, 2, (), started=0.0)
COMMITTED = CommittedBlock(KEY, TABLE, 2, (), 4096, 0, time_span=None)


class NoPickle(bytes):
    def __reduce_ex__(self, _: object) -> str:
        raise AssertionError("a block was pickled")


@pytest.mark.parametrize(
    ("block", "size"), [(ENCODED, 9), (NUMBERS, 40), (EXPLAINED, 8), (COMMITTED, 8)]
)
def test_sizes(block: AnyBlock, size: int) -> None:
    assert isinstance(block, AnyBlock)
    assert BlockCoder().estimate_size(block) == size
    assert BlockCoder().get_impl().estimate_size(block) == size


def test_blocks_come_back() -> None:
    coder = BlockCoder()
    assert coder.decode(coder.encode(COMMITTED)) == COMMITTED
    assert coder.decode(coder.encode(ENCODED)).examples.inputs == ENCODED.examples.inputs
    assert not coder.is_deterministic()


@pytest.mark.parametrize("checked", [True, False])
def test_collections_of_blocks_have_the_coder(checked: bool) -> None:
    options = beam.options.pipeline_options.PipelineOptions() if checked else None
    pipeline = beam.Pipeline(options=options or pipeline_options({}, []))
    source = SourceSpec("tfrecord", Features(input="image"))
    read = pipeline | beam.Create([SHARD]) | ReadBlocks(source, InputSpec("image", (4, 4, 3)), 8)
    written = read | WriteBlocks("atlas", "3f2a", "run")
    for collection in (read, written):
        coder = beam.coders.registry.get_coder(collection.element_type)
        assert isinstance(coder, BlockCoder)


def test_a_run_pickles_no_block() -> None:
    def make(number: int) -> Block:
        inputs = (NoPickle(b"GIF"), NoPickle(b"PNG"))
        return Block(KEY, Examples(RECORDS, (f"a{number}", "b"), inputs, LABELS))

    with beam.Pipeline("FnApiRunner", options=pipeline_options({}, [])) as pipeline:
        numbers = pipeline | beam.Create([1, 2])
        blocks = typed(numbers | "Make" >> beam.Map(make), AnyBlock)
        _ = blocks | "Look" >> beam.Map(lambda block: len(block.examples))
