"""Explains the first examples, so that what concerns all of them is seen before a run begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.run.first_look.doubts import doubts
from pipeline.run.first_look.look import FirstLook, look, outputs_seen
from pipeline.run.first_look.shrinking import shrinking_doubt
from transforms.elements import Block, BlockKey, Examples, ExplainedBlock, Shard
from transforms.formats.images.decoding import InputDecoder
from transforms.formats.source import InputSpec
from transforms.models.loading import LoadedModel
from transforms.saliency.block import BlockExplainer
from transforms.saliency.first_outputs import FirstOutputs
from transforms.saliency.preprocess import apply_scale

_TRIED_CALLS = 2  # Of a method that makes more: what it does at first it does at last.


@dataclasses.dataclass(frozen=True)
class DecodedExamples:
    """The first examples, less those that cannot be decoded.

    Attributes:
      rows: (n,) int64, which of the examples.
      inputs: (n, ...) float32, as they are before the scale.
      labels: (n,) int32.
    """

    rows: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]

    @classmethod
    def of(cls, spec: InputSpec, examples: Examples | None) -> DecodedExamples:
        """Decodes examples."""
        if examples is None:
            shape = (0, *spec.decoded_shape)
            return cls(np.empty(0, np.int64), np.empty(shape, np.float32), np.empty(0, np.int32))
        inputs, faults = InputDecoder(spec).decode(examples.inputs)
        rows = np.array([row for row, fault in enumerate(faults) if fault is None], np.int64)
        return cls(rows, inputs[rows].astype(np.float32), examples.labels[rows])

    def first(self, count: int) -> DecodedExamples:
        """At most so many of them."""
        return DecodedExamples(self.rows[:count], self.inputs[:count], self.labels[:count])


@dataclasses.dataclass(frozen=True)
class Trial:
    """The first examples, explained.

    Attributes:
      look: What the model gets and makes of them.
      records: (n,) record numbers of those that could be decoded.
      inputs: (n, ...) float32 their inputs, before the scale.
      explained: What explaining them gave.
      warnings: What looks wrong.
    """

    look: FirstLook
    records: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.float32]
    explained: ExplainedBlock
    warnings: tuple[str, ...]


def try_examples(
    shard: Shard,
    examples: Examples,
    decoded: DecodedExamples,
    *,
    explainer: BlockExplainer,
    model: LoadedModel,
    outputs: FirstOutputs | None,
) -> Trial:
    """Explains examples and says what is to be seen in them.

    Args:
      shard: The file that they are from.
      examples: At least one.
      decoded: The same, decoded.
      explainer: Of the run.
      model: What is explained.
      outputs: What it makes of the first of them.
    """
    key = BlockKey(shard, 0, 0, len(examples), last=False)
    explained = explainer.shortened(_TRIED_CALLS).explain(Block(key, examples))
    spec = explainer.spec.program.inputs
    seen = None
    if outputs is not None:
        activation = None if model.softmax is None else model.softmax.activation
        seen = outputs_seen(outputs.outputs, activation, are_classes=model.classes is not None)
    scaled = np.asarray(apply_scale(decoded.inputs, spec.scale))
    found = look(
        shard.name,
        examples,
        decoded=decoded.inputs,
        scaled=scaled,
        table=explained.table,
        outputs=seen,
    )
    warnings: Sequence[str]
    if explained.examples:
        warnings = (
            *shrinking_doubt(examples.inputs, spec),
            *doubts(
                found,
                spec,
                model.classes,
                None if outputs is None else outputs.rescaling,
                None if outputs is None else outputs.moments,
            ),
        )
    else:
        failure = explained.failures[0]
        warnings = (
            f"none of the first {len(examples)} examples of {shard.path} can be explained: "
            f"{failure.error}: {failure.message}",
        )
    return Trial(
        look=found,
        records=examples.records[decoded.rows],
        inputs=decoded.inputs,
        explained=explained,
        warnings=tuple(warnings),
    )
