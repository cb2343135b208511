"""Examples of users' own pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.ml.inference.base import RunInference
from small_dataset import SIDE

from pipeline.atlas import Atlas
from transforms.elements import Failure
from transforms.filesystems import BeamStorage
from transforms.formats.source import InputSpec
from transforms.saliency.block import ExplainSpec, load_explainer
from transforms.saliency.examples import Example, Explanation, explain_examples, explain_spec
from transforms.stages.explain import ExplainExamples
from transforms.stages.inference import SaliencyModelHandler

INPUTS = InputSpec("image", (SIDE, SIDE, 3), scale="unit")


@pytest.fixture
def spec(model_path: Path) -> ExplainSpec:
    return explain_spec(str(model_path), INPUTS, "label", batch_size=3, sketch=(4, 4))


@pytest.fixture
def examples(rows: list[list[dict[str, Any]]]) -> list[Example]:
    """Of the small dataset's first shard; number 3 is no image."""
    return [Example(row["id"], row["image"], row["label"]) for row in rows[0]]


@pytest.fixture
def atlas(finished_atlas: Path) -> Atlas:
    return Atlas.open(str(finished_atlas))


def check(explanations: list[Explanation], atlas: Atlas) -> None:
    assert len(explanations) == 18
    stored = {row["example_id"]: row for row in atlas.table().to_pylist()}
    for each in explanations:
        row = stored[each.example_id]
        assert (each.target, each.predicted) == (row["target"], row["predicted"])
        # Other examples in a batch may move the last bits, and so a code by one.
        np.testing.assert_allclose(each.map, atlas.map(each.example_id), atol=each.scale / 60)
        assert each.score == pytest.approx(row["score"], rel=1e-5)
        assert each.statistics["entropy"] == pytest.approx(row["entropy"], rel=1e-4)
        assert each.sketch.sum() == pytest.approx(2**24, rel=1e-4)


def test_examples_are_explained_as_an_atlas_has_them(
    spec: ExplainSpec, examples: list[Example], atlas: Atlas, tmp_path: Path
) -> None:
    found: dict[str, list[Any]] = {"explanations": [], "failures": []}
    with beam.Pipeline("FnApiRunner") as pipeline:
        explained = pipeline | beam.Create(examples) | ExplainExamples(spec)
        for name in found:
            path = str(tmp_path / name)
            _ = explained[name] | name >> beam.Map(_pickle, path)
    for name in found:
        found[name] = _unpickle(tmp_path / name)
    check(found["explanations"], atlas)
    (failure,) = found["failures"]
    assert (failure.example_id, failure.error) == ("0/3", "UndecodableImage")


def test_run_inference_isolates_failures(
    spec: ExplainSpec, examples: list[Example], atlas: Atlas, tmp_path: Path
) -> None:
    with beam.Pipeline("FnApiRunner") as pipeline:
        results = pipeline | beam.Create(examples) | RunInference(SaliencyModelHandler(spec))
        _ = results | beam.Map(_pickle, str(tmp_path / "results"))
    results = _unpickle(tmp_path / "results")
    check([each for result in results if isinstance(result, tuple) for each in result], atlas)
    assert [each.example_id for each in results if isinstance(each, Failure)] == ["0/3"]


def _pickle(element: Any, path: str) -> None:
    import pickle

    with open(path, "ab") as file:
        pickle.dump(element, file)


def _unpickle(path: Path) -> list[Any]:
    import pickle

    found = []
    with path.open("rb") as file:
        while True:
            try:
                found.append(pickle.load(file))  # noqa: S301 - just written
            except EOFError:
                return found


def test_the_size_of_a_batch_is_that_of_its_inputs(spec: ExplainSpec) -> None:
    handler = SaliencyModelHandler(spec)
    array = np.zeros((SIDE, SIDE, 3), np.float32)
    assert handler.get_num_bytes([Example("a", b"12345"), Example("b", b"")]) == 5
    assert handler.get_num_bytes([Example("c", array)]) == SIDE * SIDE * 3 * 4
    assert handler.batch_elements_kwargs() == {"min_batch_size": 3, "max_batch_size": 3}
    with pytest.raises(ValueError, match="inference_args has no effect"):
        handler.run_inference([], None, {"top": 1})  # type: ignore[arg-type]


def test_arrays_and_several_targets(model_path: Path) -> None:
    inputs = InputSpec("tensor", (SIDE, SIDE, 3), resize="none")
    spec = explain_spec(str(model_path), inputs, {"top": 2}, codec="float32", sketch=(4, 4))
    explainer = load_explainer(spec, BeamStorage())
    images = np.random.default_rng(0).random((3, SIDE, SIDE, 3), np.float32)
    found = explain_examples(explainer, [Example(str(i), image) for i, image in enumerate(images)])
    assert all(isinstance(each, tuple) and len(each) == 2 for each in found)
    first = found[0]
    assert isinstance(first, tuple)
    assert first[0].target == first[0].predicted != first[1].target
    assert first[0].map.max() == pytest.approx(first[0].scale)
    assert explain_examples(explainer, []) == []
    with pytest.raises(ValueError, match="all bytes or all arrays"):
        explain_examples(explainer, [Example("a", images[0]), Example("b", b"x")])
