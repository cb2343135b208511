"""Explains the first examples, so that what concerns all of them is seen before a run begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.run.first_look.doubts import doubts
from pipeline.run.first_look.look import FirstLook, OutputsSeen, look, outputs_seen
from pipeline.run.first_look.shrinking import shrinking_doubt
from transforms.elements import Block, BlockKey, Examples, ExplainedBlock, Shard
from transforms.errors import ConfigurationError
from transforms.formats.images.decoding import InputDecoder
from transforms.formats.source import InputSpec
from transforms.models.inputs import ModelInput
from transforms.models.loading import LoadedModel
from transforms.saliency.activations import ActivationLayer
from transforms.saliency.attribution import Beside
from transforms.saliency.batching.fed_inputs import FedInputs
from transforms.saliency.block import BlockExplainer
from transforms.saliency.first_outputs.outputs import FirstOutputs
from transforms.saliency.preprocess import apply_scale

_TRIED_CALLS = 2  # Of a method that makes more: what it does at first it does at last.


@dataclasses.dataclass(frozen=True)
class DecodedExamples:
    """The first examples, less those that cannot be decoded.

    Attributes:
      rows: (n,) int64, which of the examples.
      inputs: (n, ...) float32, as they are before the scale.
      labels: (n,) int32.
      beside: What feeds other inputs of the model, each (n, ...).
    """

    rows: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    beside: Beside = ()

    @classmethod
    def of(
        cls, spec: InputSpec, examples: Examples | None, fed: Sequence[ModelInput] = ()
    ) -> DecodedExamples:
        """Decodes examples.

        Args:
          spec: What the model takes.
          examples: The first ones; None where there are none.
          fed: Other inputs of the model, which features of the examples feed.

        Raises:
          ConfigurationError: No example has what one of the other inputs takes.
        """
        if examples is None:
            shape = (0, *spec.decoded_shape)
            return cls(np.empty(0, np.int64), np.empty(shape, np.float32), np.empty(0, np.int32))
        inputs, faults = InputDecoder(spec).decode(examples.inputs)
        values = FedInputs(fed).of(examples)
        if values.faults and all(values.faults):
            raise ConfigurationError(f"{values.faults[0]}: name another feature")
        sound = [
            first is None and second is None
            for first, second in zip(faults, values.faults, strict=True)
        ]
        rows = np.flatnonzero(sound)
        return cls(
            rows,
            inputs[rows].astype(np.float32),
            examples.labels[rows],
            [each[rows] for each in values.arrays],
        )

    def fed(self, inputs: Sequence[ModelInput]) -> dict[str, npt.NDArray[Any]]:
        """What feeds each of the other inputs, by its name."""
        names = (each.name for each in inputs)
        return dict(zip(names, self.beside, strict=True))

    def first(self, count: int) -> DecodedExamples:
        """At most so many of them."""
        return DecodedExamples(
            self.rows[:count],
            self.inputs[:count],
            self.labels[:count],
            [values[:count] for values in self.beside],
        )


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
    spec, layer = explainer.spec.program.inputs, explainer.spec.program.layer
    scaled = np.asarray(apply_scale(decoded.inputs, spec.scale))
    found = look(
        shard.name,
        examples,
        decoded=decoded.inputs,
        scaled=scaled,
        table=explained.table,
        outputs=_seen(outputs, model),
        features=explainer.spec.features,
        fed=decoded.fed(model.fed_inputs),
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
                layer=layer.path if isinstance(layer, ActivationLayer) else None,
                sign=explainer.spec.program.sign,
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


def _seen(outputs: FirstOutputs | None, model: LoadedModel) -> OutputsSeen | None:
    """What kind of outputs they are; None where there are none."""
    if outputs is None:
        return None
    activation = None if model.softmax is None else model.softmax.activation
    return outputs_seen(
        outputs.outputs,
        activation,
        are_classes=model.classes is not None,
        is_paired=model.is_paired,
    )
