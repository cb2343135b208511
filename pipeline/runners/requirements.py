"""Whether a runner is there: found, or refused at once with what to install or set.

Beam would look for minutes, or download: a run that cannot begin should say so before any work.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
from pathlib import Path

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    SparkRunnerOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.version import __version__ as beam_version

from pipeline.config.keys import Config
from pipeline.runners.flink import let_jobs_restart
from transforms.errors import ConfigurationError
from transforms.process.version import is_package_installed
from transforms.storage import Storage

RUNNERS_VARIABLE = "SALIENCY_ATLAS_RUNNERS"
"""Names the folder with Prism's binary and job servers; `.cache/runners` unless it is set."""

_LOCAL_MASTERS = ("[local]", "[auto]", "[collection]")  # Flink's names for a cluster of its own.
_CONNECT_SECONDS = 5.0


def require_runner(options: PipelineOptions) -> None:
    """Finds what the runner needs and sets its options, or refuses.

    Raises:
      ConfigurationError: Naming what is missing and how to get it.
    """
    runner = runner_name(options)
    portable = options.view_as(PortableOptions)
    if portable.job_endpoint not in (None, "embed"):
        _connect(portable.job_endpoint, "--job_endpoint", "start the job server")
    elif runner == "PrismRunner":
        _find_prism(options.view_as(PrismRunnerOptions))
    elif runner == "FlinkRunner":
        _find_flink(options)
    elif runner == "SparkRunner":
        _find_spark(options)
    elif runner == "DataflowRunner":
        _check_dataflow(options.view_as(GoogleCloudOptions))
        _check_package(options.view_as(WorkerOptions).sdk_container_image)
    if portable.environment_type == "EXTERNAL" and portable.environment_config:
        _connect(
            portable.environment_config,
            "--environment_config",
            "start the workers: python -m apache_beam.runners.worker.worker_pool_main",
        )


def check_reach(options: PipelineOptions, config: Config, storage: Storage) -> None:
    """Refuses paths that the runner's workers cannot reach.

    Raises:
      ConfigurationError: Naming the key.
    """
    if runner_name(options) != "DataflowRunner":
        return
    for key, path in (
        *(("source.pattern", pattern) for pattern in config.source.patterns),
        ("model.uri", config.model.uri),
        ("output.path", config.output.path),
    ):
        if "://" not in path:
            raise ConfigurationError(
                f"{key}: Dataflow's workers cannot reach {storage.absolute(path)}; copy it to a "
                "bucket and give its gs:// address"
            )


def runner_name(options: PipelineOptions) -> str:
    """The runner's name, as the manifest records it."""
    return str(options.view_as(StandardOptions).runner).rpartition(".")[2]


def class_name(runner: str) -> str:
    """The class that Beam takes for a runner's name, as it does without regard to case or ending.

    >>> class_name("flink"), class_name("FnApiRunner"), class_name("my.module.MyRunner")
    ('FlinkRunner', 'FnApiRunner', 'my.module.MyRunner')

    Raises:
      ConfigurationError: There is none of that name.
    """
    if "." in runner:
        return runner
    classes: list[str] = [path.rpartition(".")[2] for path in StandardOptions.ALL_KNOWN_RUNNERS]
    known = {name.lower(): name for name in classes}
    for name in (runner.lower(), f"{runner.lower()}runner"):
        if name in known:
            return known[name]
    raise ConfigurationError(
        f"Beam has no runner {runner!r}: give one of {', '.join(sorted(classes))}, or a preset of "
        "ours, which stands before --, such as --runner flink"
    )


def _runners() -> Path:
    return Path(os.environ.get(RUNNERS_VARIABLE, ".cache/runners"))


def _find_prism(options: PrismRunnerOptions) -> None:
    location = Path(options.prism_location or _runners() / "prism")
    if not location.is_file():
        raise ConfigurationError(
            f"Prism is not at {location}: build it with Go "
            f"(go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam_version}) and give "
            f"--prism_location, or set {RUNNERS_VARIABLE} to its folder"
        )
    options.prism_location = str(location.absolute())


def _find_flink(options: PipelineOptions) -> None:
    flink = options.view_as(FlinkRunnerOptions)
    if flink.flink_master not in _LOCAL_MASTERS:
        _connect(flink.flink_master, "--flink_master", "start the Flink cluster")
    _require_java(options, "Flink")
    name = f"beam-runners-flink-*-job-server-{beam_version}.jar"
    jar = _find_jar(flink.flink_job_server_jar, name, "Flink", "--flink_job_server_jar")
    flink.flink_job_server_jar = str(jar.absolute())
    version = re.search(r"flink-(\d+\.\d+)-job-server", jar.name)
    if version:  # The jar holds one version of Flink; the option only says which to download.
        flink.flink_version = version.group(1)
    let_jobs_restart()


def _find_spark(options: PipelineOptions) -> None:
    spark = options.view_as(SparkRunnerOptions)
    _require_java(options, "Spark")
    name = f"beam-runners-spark-3-job-server-{beam_version}.jar"
    jar = _find_jar(spark.spark_job_server_jar, name, "Spark", "--spark_job_server_jar")
    spark.spark_job_server_jar = str(jar.absolute())


def _require_java(options: PipelineOptions, runner: str) -> None:
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(java) is None:
        raise ConfigurationError(
            f"{runner}'s job server needs Java and {java!r} was not found: install a JDK, "
            "version 17, or give --job_server_java_launcher=/path/to/java"
        )


def _find_jar(given: str | None, name: str, runner: str, option: str) -> Path:
    """The given jar, or the one of the runners' folder that comes last by name."""
    found = [Path(given)] if given else sorted(_runners().glob(name))[-1:]
    if not found or not found[0].is_file():
        raise ConfigurationError(
            f"{runner}'s job server is not at {given or _runners() / name}: get org.apache.beam's "
            f"artifact of version {beam_version} from Maven Central and give {option}, or set "
            f"{RUNNERS_VARIABLE} to its folder"
        )
    return found[0]


def _check_dataflow(options: GoogleCloudOptions) -> None:
    if not _is_installed("google.cloud.storage"):
        raise ConfigurationError(
            "Dataflow needs Google Cloud's libraries: pip install '.[gcp]' in a checkout of this "
            "package"
        )
    for name, value, example in (
        ("project", options.project, "my-project"),
        ("region", options.region, "europe-west4"),
        ("temp_location", options.temp_location, "gs://my-bucket/temporary"),
    ):
        if not value:
            raise ConfigurationError(
                f"Dataflow needs a {name}: give --{name}, such as --{name}={example}"
            )
    for name, value in (
        ("temp_location", options.temp_location),
        ("staging_location", options.staging_location),
    ):
        if value and not value.startswith("gs://"):
            raise ConfigurationError(
                f"--{name} is {value}, which Dataflow cannot reach: give a gs:// address"
            )


def _check_package(image: str | None) -> None:
    """Refuses to make a wheel for workers of a package that is not installed."""
    if not image and not is_package_installed():
        raise ConfigurationError(
            "without an image Dataflow's workers get the package that is installed here, and it is "
            "not: pip install . in its checkout, or give --sdk_container_image"
        )


def _is_installed(module: str) -> bool:
    """Whether a module can be found; asking imports the packages that it is in."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


def _connect(address: str, option: str, remedy: str) -> None:
    host, _, port = address.rpartition("//")[2].partition("/")[0].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS):
            pass
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{option}: nothing answers at {address} ({error}); {remedy}, or give another address"
        ) from error
