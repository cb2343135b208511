"""Explains examples that somebody else has made: no files, no atlas, no Beam."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.codec import CodecName, decode
from transforms.elements import NO_LABEL, Block, BlockKey, Examples, Failure, Shard
from transforms.formats.source import InputSpec
from transforms.models.loading import ModelSpec
from transforms.saliency.activations import LayerName, check_layer_used
from transforms.saliency.batching.size import starting_batch_size
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.saliency.contract.method import Sign, resolve_form
from transforms.saliency.methods import DEFAULT_METHOD, find_method
from transforms.saliency.program import ProgramSpec
from transforms.saliency.reducers import Reducer
from transforms.saliency.scores.operators import CLASSIFICATION
from transforms.saliency.scores.targets import TargetSpec
from transforms.statistics.columns import COMPLETENESS_ERROR, POSITIVE_SHARE, statistic_names
from transforms.store.map_format import map_codes, tensor_values

_NOWHERE = Shard("examples", 0)
_SKETCH = (28, 28)
_MEASURES = (POSITIVE_SHARE, COMPLETENESS_ERROR)


@dataclasses.dataclass(frozen=True)
class Example:
    """What is to be explained.

    Attributes:
      id: Names it in its explanations.
      input: An encoded image or a raw tensor (bytes), or an array of the model's shape.
      label: Its class; None where it has none.

    >>> Example("cat-3", b"the bytes of a JPEG", label=2).num_bytes
    19
    """

    id: str
    input: bytes | npt.NDArray[Any]
    label: int | None = None

    @property
    def num_bytes(self) -> int:
        """How many bytes the input has, as it is given."""
        return len(self.input) if isinstance(self.input, bytes) else self.input.nbytes


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The map of one example for one class, and what is known of it.

    Attributes:
      example_id: The example's id.
      label: The example's label; None where it has none.
      target: The class explained.
      predicted: The class with the highest output; None where the model does not return scores of
        classes.
      score: What was explained: the operator's value.
      predicted_score: The model's output at `predicted`; None where that is.
      codes: The map as it is stored, such as (H, W) uint8.
      scale: The map's largest magnitude.
      sketch: The unit-mass map, pooled to a small grid, in units of 2**-24.
      statistics: The map's statistics by name; None where one is undefined, as for an all-zero map.

    >>> import numpy as np
    >>> codes, sketch = np.array([[0, 255]], np.uint8), np.array([[0, 1 << 24]], np.int32)
    >>> Explanation("cat-3", 2, 2, 2, 5.0, 5.0, codes, 0.5, sketch, {"entropy": 0.0}).map
    array([[0. , 0.5]], dtype=float32)
    """

    example_id: str
    label: int | None
    target: int
    predicted: int | None
    score: float
    predicted_score: float | None
    codes: npt.NDArray[Any]
    scale: float
    sketch: npt.NDArray[np.int32]
    statistics: dict[str, float | None]

    @property
    def map(self) -> npt.NDArray[np.float32]:
        """The map's values."""
        values = decode(self.codes[np.newaxis], np.array([self.scale], np.float32))
        return values.reshape(self.codes.shape)


def explain_spec(
    model_uri: str,
    inputs: InputSpec,
    target: str | dict[str, int] = "predicted",
    *,
    output_layer: str | int | None = None,
    operator: str = CLASSIFICATION,
    layer: LayerName = None,
    method: str | Mapping[str, Any] = DEFAULT_METHOD,
    reducer: Reducer | None = None,
    sign: Sign | None = None,
    codec: CodecName = "uint8",
    batch_size: int | None = None,
    sketch: tuple[int, int] = _SKETCH,
    threads: int | None = None,
    allow_unsafe: bool = False,
) -> ExplainSpec:
    """What `ExplainExamples` and `SaliencyModelHandler` need to know; nothing is loaded.

    Args:
      model_uri: Where the model is, absolute.
      inputs: What it takes.
      target: `label`, `predicted`, `{"class": 3}` or `{"top": 2}`.
      output_layer: Name or index of the layer explained; None for the last.
      operator: `classification`, `regression`, `segmentation`, `detection` or
        `package.module:function`.
      method: A method's name, or one with parameters: `{"integrated_gradients": {"steps": 20}}`.
      layer: The layer whose activations a method explains; None is the last that has places.
      reducer: `max`, `mean`, `min`, `sum` or `none`; None is the method's default.
      sign: `absolute`, `positive` or `signed`; None is the method's default.
      codec: How maps are encoded; `float32` keeps every bit.
      batch_size: Examples in one call of the model; None chooses by their size.
      sketch: Rows and columns of sketches.
      threads: Intra-op threads of TensorFlow; None leaves its default.
      allow_unsafe: Whether the model may hold code (Lambda layers).

    >>> spec = explain_spec("/models/m.keras", InputSpec("image", (224, 224, 3)), {"top": 2})
    >>> spec.program.target.count, spec.program.batch_size
    (2, 8)
    """
    chosen = find_method(method).of_inputs(inputs)
    form = resolve_form(chosen, inputs, reducer, sign)
    check_layer_used(chosen, layer)
    return ExplainSpec(
        model=ModelSpec(model_uri, output_layer, allow_unsafe, inputs.shape),
        program=ProgramSpec(
            inputs=inputs,
            target=TargetSpec.parse(target),
            operator=operator,
            method=chosen,
            reducer=form.reducer,
            sign=form.sign,
            codec=codec,
            batch_size=batch_size or starting_batch_size(inputs.shape),
            layer=layer,
        ),
        threads=threads,
        sketch=sketch,
        with_boxes=False,
    )


def explain_examples(
    explainer: BlockExplainer, examples: Sequence[Example]
) -> list[tuple[Explanation, ...] | Failure]:
    """Explains examples together.

    Args:
      explainer: What explains them; its spec has no boxes.
      examples: Inputs are all bytes or all arrays.

    Returns:
      For each example in order its explanations, one per target, or why it has none.
    """
    found: list[tuple[Explanation, ...] | Failure] = [()] * len(examples)
    if not examples:
        return found
    explained = explainer.explain(_block(examples))
    for row, explanation in _explanations(explained.table):
        found[row] = (*found[row], explanation)  # type: ignore[misc] # a failure has no rows
    for failure in explained.failures:
        assert failure.record is not None  # noqa: S101 - as every record is an example
        found[failure.record] = failure
    return found


def _block(examples: Sequence[Example]) -> Block:
    inputs = [example.input for example in examples]
    encoded = tuple(each for each in inputs if isinstance(each, bytes))
    if 0 < len(encoded) < len(inputs):
        raise ValueError("examples of one batch are all bytes or all arrays")
    labels = [NO_LABEL if example.label is None else example.label for example in examples]
    return Block(
        BlockKey(_NOWHERE, 0, 0, len(examples), last=False),
        Examples(
            records=np.arange(len(examples), dtype=np.int64),
            ids=tuple(example.id for example in examples),
            inputs=encoded or np.stack(inputs),
            labels=np.array(labels, np.int32),
        ),
    )


def _explanations(table: pa.Table) -> list[tuple[int, Explanation]]:
    """The table's rows with the numbers of their examples."""
    codes, sketches = map_codes(table), tensor_values(table["sketch"])
    measures = [name for name in _MEASURES if name in table.column_names]
    names = (*statistic_names(with_boxes=False), *measures)
    rows = table.drop_columns(["map", "sketch"]).to_pylist()
    return [
        (
            row["record"],
            Explanation(
                example_id=row["example_id"],
                label=row["label"],
                target=row["target"],
                predicted=row["predicted"],
                score=row["score"],
                predicted_score=row["predicted_score"],
                codes=codes[number],
                scale=row["map_scale"],
                sketch=sketches[number],
                statistics={name: row[name] for name in names},
            ),
        )
        for number, row in enumerate(rows)
    ]
