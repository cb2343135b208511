"""A device that takes no time: what it once made of some examples, given for any others.

What is left of a run is the host's work, the same on a machine with a GPU and on one without.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.run.job import Prepared
    from transforms.elements import Examples
    from transforms.saliency.attribution import Results
    from transforms.saliency.program import Programs


class CannedPrograms:
    """Stands for the `Programs` of a run.

    Args:
      results: Of at least as many examples as a mini-batch has.

    Attributes:
      pool: As that of `Programs`.
    """

    def __init__(self, results: Results) -> None:
        from transforms.saliency.program import BATCHES_AT_ONCE

        self._results = results
        self.pool = ThreadPoolExecutor(BATCHES_AT_ONCE, "explain")

    def of_size(self, _: int) -> CannedPrograms:
        """Itself, which takes any size."""
        return self

    def run(self, inputs: npt.NDArray[Any], *_: npt.NDArray[Any]) -> Results:
        """The results of the first examples, as many as are given."""
        return {name: values[: len(inputs)] for name, values in self._results.items()}


def with_canned_results(prepared: Prepared, examples: Examples) -> Prepared:
    """A run whose mini-batches are computed no more.

    Args:
      prepared: The run.
      examples: A mini-batch, which is computed now.
    """
    from transforms.formats.images.decoding import InputDecoder
    from transforms.saliency.block import BlockExplainer
    from transforms.saliency.program import Program

    spec = prepared.job.explain
    inputs, _ = InputDecoder(spec.program.inputs).decode(examples.inputs)
    program = Program.compile(prepared.model, spec.program, spec.statistics)
    canned = CannedPrograms(program.run(inputs, examples.labels))
    explainer = BlockExplainer(prepared.model, spec, programs=cast("Programs", canned))
    return dataclasses.replace(prepared, explainer=explainer)
