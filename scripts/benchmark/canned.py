"""A run that does less than one does, so that the rest of it can be measured.

`with_canned_results`: its device takes no time, and gives for all examples what it once made of
some. What is left is the host's work, the same on a machine with a GPU and on one without.

`without_later_columns`: it stores maps and their statistics, and neither thumbnails nor properties
of inputs nor peak windows, which came later.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

from transforms.saliency.block import ExplainSpec
from transforms.store.map_format import MapFormat

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


class MapsAlone(ExplainSpec):
    """An explanation of which maps and their statistics alone are stored."""

    @property
    def map_format(self) -> MapFormat:
        """What is stored."""
        return dataclasses.replace(
            super().map_format, thumbnail_shape=None, with_windows=False, with_properties=False
        )


def without_later_columns(prepared: Prepared) -> Prepared:
    """A run that stores no thumbnails, no properties of inputs and no peak windows.

    Args:
      prepared: The run, whose explainer is changed.
    """
    from transforms.store.manifest import RecordedMapFormat

    job, explainer = prepared.job, prepared.explainer
    explainer.spec = _maps_alone(explainer.spec)
    explain = _maps_alone(job.explain)
    stored = {"map_format": RecordedMapFormat.of(explain.map_format)}
    manifest = job.publication.manifest.model_copy(update=stored)
    publication = dataclasses.replace(job.publication, manifest=manifest)
    job = dataclasses.replace(job, explain=explain, publication=publication)
    return dataclasses.replace(prepared, job=job)


def _maps_alone(spec: ExplainSpec) -> ExplainSpec:
    fields = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    return MapsAlone(**{**fields, "thumbnail": None})
