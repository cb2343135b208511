"""Runners that are not there are refused at once, with what to install or set."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    PrismRunnerOptions,
    WorkerOptions,
)
from apache_beam.version import __version__ as beam_version
from small_dataset import MakeConfig

from pipeline import cli
from pipeline.runners import requirements
from pipeline.runners.options import (
    explain_hints,
    only_submits,
    pipeline_options,
    processes_here,
)
from pipeline.runners.requirements import check_reach, class_name, runner_name
from transforms.errors import ConfigurationError
from transforms.storage import LocalStorage

DATAFLOW = ["--project=project", "--region=europe-west4", "--temp_location=gs://bucket/temporary"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(requirements.RUNNERS_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_local_is_one_process_whose_model_has_every_core() -> None:
    for options in (pipeline_options({}, []), pipeline_options({}, [], "local")):
        direct = options.view_as(DirectOptions)
        assert runner_name(options) == "FnApiRunner"
        assert (direct.direct_running_mode, direct.direct_num_workers) == ("in_memory", 1)
        assert processes_here(options) == 1


def test_a_runner_named_by_itself_keeps_its_own_defaults() -> None:
    direct = pipeline_options({}, ["--runner=FnApiRunner"]).view_as(DirectOptions)
    assert (direct.direct_running_mode, direct.direct_num_workers) == ("in_memory", 1)


def test_configuration_and_command_line_override_a_preset() -> None:
    settings = {"machine_type": "n2-highmem-8", "disk_size_gb": 70}
    options = pipeline_options(settings, [*DATAFLOW, "--disk_size_gb=90"], "dataflow")
    worker = options.view_as(WorkerOptions)
    assert (worker.machine_type, worker.disk_size_gb) == ("n2-highmem-8", 90)


def test_a_preset_and_another_runner_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match="--runner prism runs on PrismRunner, but runner"):
        pipeline_options({"runner": "FlinkRunner"}, [], "prism")
    with pytest.raises(ConfigurationError, match="but --runner after -- is FlinkRunner"):
        pipeline_options({}, ["--runner=FlinkRunner"], "prism")


def test_a_preset_takes_its_own_runner_again_by_any_name_of_beams(folder: Path) -> None:
    (folder / "prism").touch()
    for name in ("PrismRunner", "prism"):
        options = pipeline_options({}, [f"--runner={name}"], "prism")
        assert runner_name(options) == "PrismRunner"


@pytest.mark.parametrize("name", ["prism", "Prism", "PRISMRUNNER"])
def test_a_runner_is_looked_for_by_any_name_that_beam_takes(folder: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Prism is not at {folder}"):
        pipeline_options({}, [f"--runner={name}"])


def test_a_runner_that_beam_does_not_know_is_refused() -> None:
    message = (
        r"Beam has no runner 'local-multi': give one of BundleBasedDirectRunner, .*, SparkRunner, "
        r".*, or a preset of ours, which stands before --, such as --runner flink"
    )
    with pytest.raises(ConfigurationError, match=message):
        pipeline_options({}, ["--runner=local-multi"])
    with pytest.raises(ConfigurationError, match="Beam has no runner 'beam'"):
        pipeline_options({"runner": "beam"}, [], "local")
    assert class_name("mine.MyRunner") == "mine.MyRunner"


def test_prism_is_never_downloaded(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"cmd/prism@v{beam_version}.*--prism_location"):
        pipeline_options({}, [], "prism")
    (folder / "prism").touch()
    options = pipeline_options({}, [], "prism").view_as(PrismRunnerOptions)
    assert options.prism_location == str(folder / "prism")


def test_flink_needs_java(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs Java and '/none/java' was not found"):
        pipeline_options({}, ["--job_server_java_launcher=/none/java"], "flink")
    assert not list(folder.iterdir())


def test_flink_needs_its_job_server_and_may_restart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = ["--job_server_java_launcher=sh"]  # any program that is there
    with pytest.raises(ConfigurationError, match=r"job server is not at .*Maven Central"):
        pipeline_options({}, java, "flink")
    with pytest.raises(ConfigurationError, match=r"job server is not at /none\.jar"):
        pipeline_options({}, [*java, "--flink_job_server_jar=/none.jar"], "flink")
    jar = folder / f"beam-runners-flink-1.20-job-server-{beam_version}.jar"
    (folder / "beam-runners-flink-1.20-job-server-2.1.0.jar").touch()  # of another Beam
    jar.touch()
    monkeypatch.setenv("FLINK_CONF_DIR", "mine")
    flink = pipeline_options({}, java, "flink").view_as(FlinkRunnerOptions)
    assert os.environ["FLINK_CONF_DIR"] == "mine"
    monkeypatch.delenv("FLINK_CONF_DIR")
    pipeline_options({}, java, "flink")
    assert "restart-strategy: fixed-delay" in (
        Path(os.environ["FLINK_CONF_DIR"], "flink-conf.yaml").read_text()
    )
    assert (flink.flink_job_server_jar, flink.flink_version) == (str(jar), "1.20")


def test_spark_needs_its_job_server(folder: Path) -> None:
    arguments = ["--runner=SparkRunner", "--job_server_java_launcher=sh"]
    with pytest.raises(ConfigurationError, match="Spark's job server is not at"):
        pipeline_options({}, arguments)
    (folder / f"beam-runners-spark-3-job-server-{beam_version}.jar").touch()
    assert runner_name(pipeline_options({}, arguments)) == "SparkRunner"


@pytest.mark.parametrize(
    ("option", "others"),
    [
        ("--job_endpoint", ["--runner=PortableRunner"]),
        ("--flink_master", ["--runner=FlinkRunner"]),
        (
            "--environment_config",
            [
                "--runner=PortableRunner",
                "--job_endpoint=embed",
                "--environment_type=EXTERNAL",
            ],
        ),
    ],
)
def test_addresses_must_answer(option: str, others: list[str], closed: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{option}: nothing answers at {closed}"):
        pipeline_options({}, [*others, f"{option}={closed}"])


def test_addresses_that_answer_are_taken(listening: str) -> None:
    options = pipeline_options(
        {}, ["--runner=PortableRunner", f"--job_endpoint=http://{listening}"]
    )
    assert runner_name(options) == "PortableRunner"


@pytest.mark.parametrize("missing", range(len(DATAFLOW)))
def test_dataflow_needs_project_region_and_bucket(missing: int) -> None:
    pytest.importorskip("google.cloud.storage", reason="apache-beam[gcp] is not installed")
    given = [option for number, option in enumerate(DATAFLOW) if number != missing]
    name = DATAFLOW[missing].partition("=")[0]
    with pytest.raises(ConfigurationError, match=f"Dataflow needs a .*: give {name}"):
        pipeline_options({}, given, "dataflow")


def test_dataflow_needs_libraries_whose_very_packages_may_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find_spec(_: str) -> None:  # as where there is no package google.cloud
        raise ModuleNotFoundError("No module named 'google.cloud'", name="google.cloud")

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[gcp\]' in a checkout"):
        pipeline_options({}, DATAFLOW, "dataflow")


def test_dataflow_needs_an_installed_package_or_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("google.cloud.storage", reason="apache-beam[gcp] is not installed")
    monkeypatch.setattr(requirements, "is_package_installed", lambda: False)
    with pytest.raises(ConfigurationError, match=r"it is not: pip install \. in its checkout, or"):
        pipeline_options({}, DATAFLOW, "dataflow")
    pipeline_options({}, [*DATAFLOW, "--sdk_container_image=mine"], "dataflow")


def test_dataflow_needs_a_bucket_rather_than_a_folder() -> None:
    pytest.importorskip("google.cloud.storage", reason="apache-beam[gcp] is not installed")
    with pytest.raises(ConfigurationError, match="--temp_location is /tmp, which Dataflow cannot"):
        pipeline_options({}, [*DATAFLOW, "--temp_location=/tmp"], "dataflow")


def test_dataflow_reaches_no_local_files(make_config: MakeConfig) -> None:
    pytest.importorskip("google.cloud.storage", reason="apache-beam[gcp] is not installed")
    options = pipeline_options({}, DATAFLOW, "dataflow")
    with pytest.raises(
        ConfigurationError, match=r"source\.pattern: Dataflow's workers cannot reach"
    ):
        check_reach(options, make_config(), LocalStorage())
    check_reach(pipeline_options({}, []), make_config(), LocalStorage())


def test_hints_are_those_given() -> None:
    options = pipeline_options(
        {}, ["--explain_accelerator=type:t4;count:1", "--explain_min_ram=8GB"]
    )
    assert explain_hints(options) == {"accelerator": "type:t4;count:1", "min_ram": "8GB"}
    assert explain_hints(pipeline_options({}, [])) == {}


def test_a_launcher_may_leave_after_submitting() -> None:
    assert not only_submits(pipeline_options({}, []))
    assert only_submits(pipeline_options({}, ["--no_wait_until_finish"]))
    assert only_submits(pipeline_options({}, ["--template_location=/tmp/job.json"]))


def test_a_missing_runner_is_exit_code_2(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "source: {pattern: none*, features: {input: i, label: l}, input: {shape: [2, 2, 3]}}\n"
        "model: {uri: none.keras}\noutput: {path: none}\n"
    )
    assert cli.main(["run", str(config), "--runner", "prism"]) == cli.CONFIGURATION_ERROR
    assert "Prism is not at" in capsys.readouterr().err
    assert folder.exists()
