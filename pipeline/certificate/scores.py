"""What a model makes of a sample's inputs, and of those without some of their places."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.elements import Examples
from transforms.formats.images.decoding import InputDecoder
from transforms.models.loading import LoadedModel
from transforms.saliency.attribution import pad
from transforms.saliency.batching.fed_inputs import FedInputs
from transforms.saliency.block import ExplainSpec
from transforms.saliency.prediction import scorer
from transforms.saliency.scores.operators import output_reading


class ScoredInputs:
    """Scores of inputs of the sample, however they were changed.

    Args:
      model: What is explained.
      spec: What an explanation of the run is.
      examples: The sample; labels are the classes that are explained.
      rows: (n,) which of them are looked at.

    Attributes:
      model: As the operator reads it.
      spec: What the run computes.
      ids: Of the n examples.
      inputs: (n, ...) float32, as they are decoded.
      probabilities: (n, C) of the inputs as they are; None where the model returns no scores of
        classes, and the operator's score is looked at.
    """

    def __init__(
        self, model: LoadedModel, spec: ExplainSpec, examples: Examples, rows: npt.NDArray[np.int64]
    ) -> None:
        self.model = model.read_as(output_reading(spec.program.operator))
        self.spec = spec.program
        self.ids = tuple(examples.ids[row] for row in rows)
        self.inputs = (
            InputDecoder(self.spec.inputs).decode(examples.inputs)[0][rows].astype(np.float32)
        )
        self._fed = [each[rows] for each in FedInputs(self.model.fed_inputs).of(examples).arrays]
        self._targets = examples.labels[rows]
        self._has_classes = self.model.classes is not None
        self._call = scorer(self.model, self.spec)
        everything = np.arange(len(rows))
        self.probabilities = self._outputs(self.inputs, everything) if self._has_classes else None

    def _outputs(
        self, inputs: npt.NDArray[Any], rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        size = self.spec.batch_size
        found = []
        for start in range(0, len(rows), size):
            some = slice(start, start + size)
            chosen = rows[some]
            arrays = (inputs[some], self._targets[chosen], *(each[chosen] for each in self._fed))
            outputs = self._call(*(pad(each, size) for each in arrays))
            found.append(outputs.numpy()[: len(chosen)])
        return np.concatenate(found).astype(np.float64)

    def __call__(
        self, inputs: npt.NDArray[Any], rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """(m,) what is looked at: the probability of the class explained, else the score."""
        outputs = self._outputs(inputs.astype(np.float32), rows)
        if not self._has_classes:
            return outputs
        return outputs[np.arange(len(rows)), self._targets[rows]]

    def runners_up(self) -> npt.NDArray[np.int32]:
        """(n,) the class with the largest output besides the one explained."""
        assert self.probabilities is not None  # noqa: S101 - who asks has looked
        others = self.probabilities.copy()
        others[np.arange(len(others)), self._targets] = -np.inf
        largest: npt.NDArray[np.int32] = others.argmax(axis=1).astype(np.int32)
        return largest
