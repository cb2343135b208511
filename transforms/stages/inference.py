"""SaliencyModelHandler: explanations for users of Beam's RunInference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apache_beam.ml.inference.base import ModelHandler

from transforms.elements import Failure
from transforms.filesystems import BeamStorage
from transforms.process.metrics import METRICS_NAMESPACE
from transforms.saliency.block import BlockExplainer, ExplainSpec, load_explainer
from transforms.saliency.examples import Example, Explanation, explain_examples


class SaliencyModelHandler(ModelHandler):
    """Explains `Example`s in RunInference: `examples | RunInference(SaliencyModelHandler(spec))`.

    An example becomes a tuple of `Explanation`s, one per target; one that cannot be explained
    becomes a `Failure`, and its batch is explained all the same.

    Args:
      spec: What an explanation is; `saliency.examples.explain_spec` makes one.

    >>> import apache_beam as beam
    >>> from apache_beam.ml.inference.base import RunInference
    >>> spec = explain_spec("model.keras", InputSpec("image", (12, 12, 3)))
    >>> examples = [Example("sound", open("0.png", "rb").read())]
    >>> with beam.Pipeline("FnApiRunner") as pipeline:
    ...     results = pipeline | beam.Create(examples) | RunInference(SaliencyModelHandler(spec))
    ...     _ = results | beam.Map(lambda result: print([each.example_id for each in result]))
    ['sound']
    """

    def __init__(self, spec: ExplainSpec) -> None:
        size = spec.program.batch_size
        super().__init__(min_batch_size=size, max_batch_size=size)
        self._spec = spec

    def load_model(self) -> BlockExplainer:
        """Loads the model and compiles its explanation."""
        return load_explainer(self._spec, BeamStorage())

    def run_inference(
        self,
        batch: Sequence[Example],
        model: BlockExplainer,
        inference_args: dict[str, Any] | None = None,
    ) -> list[tuple[Explanation, ...] | Failure]:
        """Explains a batch, in order."""
        if inference_args:
            raise ValueError(f"inference_args has no effect here: {sorted(inference_args)}")
        return explain_examples(model, batch)

    def get_num_bytes(self, batch: Sequence[Example]) -> int:
        """How many bytes the inputs have; Beam's own way pickles the whole batch to see."""
        return sum(example.num_bytes for example in batch)

    def get_metrics_namespace(self) -> str:
        """As the other stages have it."""
        return METRICS_NAMESPACE
