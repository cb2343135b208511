"""BlockCoder: how Beam stores blocks, and how it knows their size."""

from __future__ import annotations

import abc
import pickle
from typing import Any

import apache_beam as beam
import numpy as np

from transforms.elements import Block, CommittedBlock, ExplainedBlock


class AnyBlock(abc.ABC):  # noqa: B024 - a type, and nothing to be made
    """A block in any of its states: the type of collections that may hold several of them.

    >>> issubclass(Block, AnyBlock), issubclass(CommittedBlock, AnyBlock)
    (True, True)
    """


class BlockCoder(beam.coders.Coder):
    """Pickles blocks, and tells their size without doing so.

    Beam samples for its counters how large elements are: the first ten of each collection, and
    some of those that follow. Its own way to see is to pickle them. With the maps of a block that
    takes milliseconds and fresh memory for all of them, with Python's lock held meanwhile.
    """

    def encode(self, value: Any) -> bytes:
        """The block, pickled."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Any:
        """The block again."""
        return pickle.loads(encoded)  # noqa: S301 - what this pipeline has encoded

    def estimate_size(self, value: Any) -> int:
        """Bytes of the inputs or of the table, which are nearly all of a block.

        >>> import pyarrow as pa
        >>> from transforms.elements import BlockKey, Shard
        >>> key = BlockKey(Shard("a.tfrecord", 99), 0, 0, 1, last=True)
        >>> table = pa.table({"target": pa.array([3], pa.int32())})
        >>> BlockCoder().estimate_size(ExplainedBlock(key, table, 1, (), started=0.0))
        4
        """
        if isinstance(value, Block):
            inputs = value.examples.inputs
            return inputs.nbytes if isinstance(inputs, np.ndarray) else sum(map(len, inputs))
        table = value.table if isinstance(value, ExplainedBlock) else value.summary
        return int(table.nbytes)


def typed(blocks: beam.PCollection[Any], kind: type) -> beam.PCollection[Any]:
    """The same collection, said to hold blocks, so that it has a `BlockCoder`.

    By type hints alone it has none where Beam's check of types is off, as it is in a run.

    Args:
      blocks: A collection of blocks.
      kind: `AnyBlock`, or the state that all of them are in.
    """
    blocks.element_type = kind
    return blocks


for _state in (Block, ExplainedBlock, CommittedBlock):
    AnyBlock.register(_state)
for _type in (AnyBlock, Block, ExplainedBlock, CommittedBlock):
    beam.coders.registry.register_coder(_type, BlockCoder)
