"""The job that Dataflow would get, made offline: what matters of it."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulated_gcs import EmulatedGcs
from small_dataset import MakeConfig

from pipeline import cli, flex_template
from pipeline.commands.run import run
from pipeline.run.progress import Progress
from transforms.filesystems import BeamStorage

ROOT = Path(__file__).parents[3]
ACCELERATOR = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
EXPLAINING = ("ReadBlocks", "ExplainBlocks", "WriteBlocks")


@pytest.fixture
def submitted(
    gcs: EmulatedGcs, make_config: MakeConfig, tfrecords: Path, model_path: Path, tmp_path: Path
) -> Iterator[dict[str, Any]]:
    """The job's JSON, and under `graph` the staged pipeline."""
    for path in (*tfrecords.iterdir(), model_path):
        gcs.write(f"inputs/{path.name}", path.read_bytes())
    source = {**make_config().as_dict()["source"], "pattern": gcs.uri("inputs/*.tfrecord")}
    config = make_config(
        source=source,
        model={"uri": gcs.uri("inputs/model.keras")},
        output={"path": gcs.uri("dataflow/atlas")},
    )
    job = tmp_path / "job.json"
    options = [
        "--project=project",
        "--region=europe-west4",
        f"--temp_location={gcs.uri('dataflow/temporary')}",
        f"--template_location={job}",
        f"--explain_accelerator={ACCELERATOR}",
        "--no_auth",
    ]
    manifest = run(config, "new", options, Progress(None), "dataflow")
    assert manifest["status"] == "submitted"
    yield json.loads(job.read_text())
    BeamStorage().delete(gcs.uri("dataflow"))


def _staged(job: dict[str, Any], name: str) -> bytes:
    options = job["environment"]["sdkPipelineOptions"]["options"]
    with BeamStorage().open(f"{options['staging_location']}/{name}") as stream:
        return stream.read()


def test_the_job_has_the_presets_options(submitted: dict[str, Any]) -> None:
    environment = submitted["environment"]
    (pool,) = environment["workerPools"]
    options = environment["sdkPipelineOptions"]["options"]
    assert submitted["type"] == "JOB_TYPE_BATCH"
    assert (pool["machineType"], pool["numThreadsPerWorker"]) == ("n1-standard-8", 2)
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    assert "use_multiple_sdk_containers" not in environment["experiments"]
    assert options["save_main_session"] is False
    assert options["sdk_location"] == "container"


def test_workers_get_this_package(submitted: dict[str, Any], tmp_path: Path) -> None:
    (pool,) = submitted["environment"]["workerPools"]
    (wheel,) = [package["name"] for package in pool["packages"] if ".whl" in package["name"]]
    path = tmp_path / wheel
    path.write_bytes(_staged(submitted, wheel))
    assert _staged(submitted, "extra_packages.txt").decode().split() == [wheel]
    with zipfile.ZipFile(path) as archive:
        assert (
            archive.read("pipeline/run/graph.py") == (ROOT / "pipeline/run/graph.py").read_bytes()
        )


def test_only_what_explains_asks_for_an_accelerator(submitted: dict[str, Any]) -> None:
    from apache_beam.portability.api import beam_runner_api_pb2

    graph = beam_runner_api_pb2.Pipeline.FromString(_staged(submitted, "pipeline.pb"))
    environments = graph.components.environments
    asking: set[str] = set()
    others: set[str] = set()
    for transform in graph.components.transforms.values():
        if transform.environment_id and transform.unique_name:
            hints = environments[transform.environment_id].resource_hints
            stage = transform.unique_name.partition("/")[0]
            (asking if ACCELERATOR.encode() in hints.values() else others).add(stage)
    assert asking == set(EXPLAINING)
    assert others >= {"Shards", "SpreadShards", "AggregateStatistics", "PublishAtlas"}


def test_the_template_runs_the_command(gcs: EmulatedGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []

    def fake_main(arguments: list[str]) -> int:
        given.append([*arguments, Path(arguments[1]).read_text()])
        return 0

    monkeypatch.setattr(cli, "main", fake_main)
    flags = [f"--config={gcs.write('config.yaml', b'a: 1')}", "--set=a=2 b.c=3", "--mode=resume"]
    assert flex_template.main([*flags, "--runner=DataflowRunner", "--project=p"]) == 0
    ((_, _, *rest),) = given
    assert rest == [
        *("--runner", "dataflow", "--set", "a=2", "--set", "b.c=3", "--resume", "--"),
        *("--runner=DataflowRunner", "--project=p", "--no_wait_until_finish", "a: 1"),
    ]


def test_the_template_describes_its_parameters() -> None:
    metadata = json.loads((ROOT / "configs/dataflow/metadata.json").read_text())
    names = [parameter["name"] for parameter in metadata["parameters"]]
    assert names == ["config", "mode", "set", "sdk_container_image", "explain_accelerator"]
    for parameter in metadata["parameters"]:
        for expression in parameter.get("regexes", []):
            re.compile(expression)
    expression = re.compile(metadata["parameters"][2]["regexes"][0])
    assert expression.match("output.path=gs://b/a explain.batch_size=8")
    assert not expression.match("output.path")


def test_the_image_is_of_the_installed_beam_and_copies_what_there_is() -> None:
    from apache_beam.version import __version__ as beam_version

    lines = (ROOT / "configs/dataflow/Dockerfile").read_text().splitlines()
    assert f"ARG BEAM={beam_version}" in lines
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
    local = [name for names in copied for name in names if not name.startswith(("/", "--from"))]
    assert local == ["pyproject.toml", "README.md", ".github/LICENSE", "pipeline", "transforms"]
    assert all((ROOT / name).exists() for name in local)
