"""Maps of given classes of a sample, with whatever weights the model has at the time."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.compare.similarity import similarity
from transforms.codec import decode
from transforms.elements import Block, BlockKey, Examples, Shard
from transforms.models.loading import LoadedModel
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.saliency.engines.engine import EngineSpec
from transforms.saliency.engines.tensorflow_engine import TensorFlowEngine
from transforms.saliency.program import attribution_function
from transforms.saliency.scores.operators import output_reading, regression, resolve_operator
from transforms.saliency.scores.targets import TargetSpec
from transforms.store.map_format import map_codes

_NOWHERE = Shard("certificate", 0)


def block_of(examples: Examples) -> Block:
    """Examples as a block of a file that there is not."""
    return Block(BlockKey(_NOWHERE, 0, 0, len(examples), last=True), examples)


@dataclasses.dataclass(frozen=True)
class Maps:
    """Maps of n examples; those that could not be made are all 0 and have no entropy.

    Attributes:
      codes: (n, ...) as they are stored.
      values: (n, ...) magnitudes.
      entropies: (n,) NaN where undefined.
    """

    codes: npt.NDArray[Any]
    values: npt.NDArray[np.float32]
    entropies: npt.NDArray[np.float64]

    def similarity(self, other: Maps) -> npt.NDArray[np.float64]:
        """(n,) Spearman's correlations of magnitudes; NaN where one is undefined."""
        return similarity(self.codes, other.codes, signed=False).spearman


class PinnedMaps:
    """Explains given classes of the sample.

    Args:
      model: Loaded for this alone: its weights may be changed between calls.
      spec: What the run's explanation is.
      examples: The sample.
      rows: (n,) which of them are explained.

    Attributes:
      keras_model: The Keras model; None where it is none.
      integer_dtype: The integer type that the model takes; what is explained of such a model has
        its weights as constants. None where it takes numbers.
    """

    def __init__(
        self, model: LoadedModel, spec: ExplainSpec, examples: Examples, rows: npt.NDArray[np.int64]
    ) -> None:
        model = model.read_as(output_reading(spec.program.operator))
        program = spec.program
        if resolve_operator(program.operator) is not regression:  # It explains one output alone.
            program = dataclasses.replace(program, target=TargetSpec("label"))
        spec = dataclasses.replace(
            spec,
            program=program,
            thumbnail=None,
            slices=(),
            with_boxes=False,
            with_masks=False,
            regions=(),
        )
        # Weights that have become constants could not be changed.
        compiled = TensorFlowEngine(frozen=False).compile(
            attribution_function(model, program), EngineSpec(threads=program.engine.threads)
        )
        self.keras_model = model.function.keras_model
        self.integer_dtype = model.integer_dtype
        self._explainer = BlockExplainer(model, spec, compiled)
        self._examples, self._rows = examples, rows

    def explain(self, targets: npt.NDArray[np.int32]) -> Maps:
        """Maps of the classes (n,) of the sample's examples."""
        labels = self._examples.labels.copy()
        labels[self._rows] = targets
        examples = dataclasses.replace(self._examples, labels=labels)
        table = self._explainer.explain(block_of(examples)).table
        stored = map_codes(table)
        codes = np.zeros((len(self._rows), *stored.shape[1:]), stored.dtype)
        scales = np.zeros(len(self._rows), np.float32)
        entropies = np.full(len(self._rows), np.nan)
        places = np.searchsorted(self._rows, table["record"].to_numpy())
        codes[places] = stored
        scales[places] = table["map_scale"].to_numpy()
        entropies[places] = table["entropy"].to_numpy(zero_copy_only=False).astype(np.float64)
        return Maps(codes, np.abs(decode(codes, scales)), entropies)
