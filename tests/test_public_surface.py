"""What users import: the list, that each name is there, and that its example does what it says."""

from __future__ import annotations

import doctest
import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from architecture import ROOT
from small_dataset import BLOCK_SIZE, SIDE

import pipeline
import transforms

SURFACE = {
    "pipeline": ["Atlas", "ExplainedExample", "ExplainedMap"],
    "transforms": [
        "AggregateByClass",
        "AggregateStatistics",
        "Block",
        "BlockKey",
        "ChannelScale",
        "Committed",
        "CommittedBlock",
        "ConfigurationError",
        "Example",
        "Examples",
        "ExplainBlocks",
        "ExplainExamples",
        "ExplainSpec",
        "ExplainedBlock",
        "Explanation",
        "Failure",
        "Features",
        "GradCAM",
        "GradCAMPP",
        "GradientInput",
        "InputSpec",
        "IntegratedGradients",
        "Occlusion",
        "Portion",
        "PublishAtlas",
        "ReadBlocks",
        "Rise",
        "RunError",
        "Saliency",
        "SaliencyModelHandler",
        "Shard",
        "SmoothGrad",
        "SourceSpec",
        "SquareGrad",
        "VarGrad",
        "WriteBlocks",
        "explain_spec",
    ],
}
NAMES = [(package, name) for package, names in SURFACE.items() for name in names]
HEAVY = {"tensorflow", "keras", "apache_beam", "pyarrow", "numpy"}


@pytest.fixture(scope="module")
def given(
    tfrecords: Path,
    model_path: Path,
    rows: list[list[dict[str, Any]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, Any]]:
    """The folder that examples run in, and what their sentences say is given."""
    import keras

    from pipeline.config.keys import Config
    from pipeline.run.in_memory import run_in_memory
    from pipeline.run.job import prepare
    from transforms.formats.reader import read_blocks
    from transforms.storage import LocalStorage
    from transforms.store.blocks import commit_block
    from transforms.store.lease_file import run_folder

    folder, storage = tmp_path_factory.mktemp("library"), LocalStorage()
    shutil.copytree(tfrecords, folder / "data")
    shutil.copy(model_path, folder / "model.keras")
    (folder / "0.png").write_bytes(rows[0][0]["image"])
    settings: dict[str, Any] = {
        "source": {
            "pattern": str(folder / "data/*.tfrecord"),
            "features": {"id": "id", "input": "image", "label": "label"},
            "input": {"shape": [SIDE, SIDE, 3]},
        },
        "model": {"uri": str(folder / "model.keras")},
        "explain": {"batch_size": 8, "engine": "tensorflow"},
        "output": {"path": str(folder / "atlases/train"), "block_size": BLOCK_SIZE},
        "failures": {"max_fraction": 1.0},
    }
    run_in_memory(Config.from_dict(settings))
    settings["output"]["path"] = str(folder / "atlases/published")
    settings["source"]["pattern"] = str(folder / "data/data-0.tfrecord")
    prepared = prepare(Config.from_dict(settings), storage, "new")
    job = prepared.without_lease().job
    blocks = list(read_blocks(job.shards[0], job.source, job.inputs, BLOCK_SIZE, storage))
    storage.make_folder(run_folder(job.atlas, job.attempt))
    explained = [prepared.explainer.explain(block) for block in blocks]
    storage.make_folder(run_folder(job.atlas, job.attempt))
    committed = [
        commit_block(job.atlas, block, job.fingerprint, storage, job.attempt) for block in explained
    ]
    return folder, {
        "blocks": blocks,
        "explained": explained,
        "committed": committed,
        "job": job,
        "model": keras.models.load_model(model_path),
        "images": np.zeros((2, SIDE, SIDE, 3), np.float32),
    }


def test_the_lists_are_these() -> None:
    assert pipeline.__all__ == SURFACE["pipeline"]
    assert transforms.__all__ == SURFACE["transforms"]


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_a_name_is_there_with_its_example(
    package: str,
    name: str,
    given: tuple[Path, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module(package)
    thing = getattr(module, name)
    assert thing.__name__ == name
    folder, values = given
    monkeypatch.chdir(folder)
    names = {each: getattr(importlib.import_module(home), each) for home, each in NAMES}
    example = doctest.DocTestParser().get_doctest(
        thing.__doc__, names | values, name, thing.__module__, None
    )
    assert example.examples, f"{name} has no example"
    report: list[str] = []
    flags = doctest.NORMALIZE_WHITESPACE
    found = doctest.DocTestRunner(optionflags=flags).run(example, out=report.append)
    assert not found.failed, "".join(report)


def test_names_that_are_not_public_are_refused() -> None:
    for module in (pipeline, transforms):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute"):
            getattr(module, "load_model")  # noqa: B009 - a type checker would refuse it, too
        assert {*module.__all__} < {*dir(module)}


def test_the_usual_ways_in_lead_to_the_same() -> None:
    from pipeline.atlas import Atlas
    from transforms.saliency import Saliency

    assert pipeline.Atlas is Atlas
    assert transforms.Saliency is Saliency


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import pipeline, transforms; dir(pipeline), dir(transforms)", set()),
        ("from pipeline import Atlas", {"numpy", "pyarrow"}),
        ("from transforms import Shard, InputSpec, explain_spec", {"numpy", "pyarrow"}),
        ("from transforms import Saliency", {"numpy"}),
        ("from transforms import ReadBlocks", {"apache_beam", "numpy", "pyarrow"}),
    ],
)
def test_importing_brings_no_more_than_is_used(statement: str, heavy: set[str]) -> None:
    program = f"{statement}; import sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    assert set(eval(found.stdout)) <= heavy  # noqa: S307 - a list that it printed
