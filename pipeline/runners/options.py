"""What Beam's runners need, in one place, with the reason beside each option."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TypeOptions,
    WorkerOptions,
)

from pipeline.runners.requirements import require_engine, runner_name
from pipeline.runners.wheel import write_wheel
from transforms.errors import ConfigurationError

LOCAL_RUNNER = "FnApiRunner"

# These take options that only their job servers know, so unknown ones are theirs to refuse.
_RUNNERS_WITH_OWN_OPTIONS = ("PortableRunner", "FlinkRunner", "SparkRunner", "PrismRunner")

PRESETS: Mapping[str, tuple[str, ...]] = {
    # One process with one model: TensorFlow's threads use all cores, and reading, decoding and
    # writing go on beside them. More of Beam's own threads would add gRPC between them, no speed.
    "local": (
        f"--runner={LOCAL_RUNNER}",
        "--direct_running_mode=in_memory",
        "--direct_num_workers=1",
    ),
    # A process a core, each with a model of its own: where Python, not TensorFlow, is the limit.
    "local-multi": (
        f"--runner={LOCAL_RUNNER}",
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=0",
    ),
    "flink": (
        "--runner=FlinkRunner",
        # Flink's default is one slot, so one worker however many cores there are.
        f"--parallelism={os.cpu_count() or 1}",
    ),
    # LOOPBACK is the runner's default: the workers are threads of the launching process.
    "prism": ("--runner=PrismRunner", "--prism_log_level=warn"),
    "dataflow": (
        "--runner=DataflowRunner",
        # One process a machine: one model in memory, and one owner of the GPU. TensorFlow's own
        # threads use all cores. (Beam starts a process a core otherwise.)
        "--experiments=no_use_multiple_sdk_containers",
        # Of that process: one thread prepares a block while another waits for the device. More
        # would only hold more blocks in memory; Dataflow's default is 12.
        "--number_of_worker_harness_threads=2",
        # Beam is in the image that the workers start from, of the launcher's version; else the
        # launcher would download it to stage it.
        "--sdk_location=container",
        # 3.75 GB a core, and of the family that T4, P100 and V100 GPUs attach to.
        "--machine_type=n1-standard-8",
        # For the image with TensorFlow; blocks stay in memory, and the service holds the shuffle.
        "--disk_size_gb=50",
    ),
}


class AtlasOptions(PipelineOptions):
    """Options of ours that concern runners only, given where Beam's are."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--explain_accelerator",
            help="what the machines that explain need, such as "
            "type:nvidia-tesla-t4;count:1;install-nvidia-driver",
        )
        parser.add_argument(
            "--explain_min_ram", help="the least memory of the machines that explain, such as 16GB"
        )


def explain_hints(options: PipelineOptions) -> dict[str, str]:
    """Beam's resource hints for the stages that read, explain and write blocks.

    They are one fused stage, which is why all three get them: runners do not fuse steps of
    different hints, and then every image and map would be stored between them.
    """
    ours = options.view_as(AtlasOptions)
    hints = {"accelerator": ours.explain_accelerator, "min_ram": ours.explain_min_ram}
    return {name: value for name, value in hints.items() if value}


def pipeline_options(
    settings: Mapping[str, Any], arguments: Sequence[str], engine: str | None = None
) -> PipelineOptions:
    """Makes Beam's options of a preset, the configuration's `runner` section and the command line.

    Args:
      settings: The section; it overrides the preset.
      arguments: What followed `--`; it overrides both.
      engine: A preset's name. None is `local` where nothing names a runner.

    Raises:
      ConfigurationError: An option that Beam does not know, or an engine that is not there.
    """
    given = [*_as_flags(settings), *arguments]
    flags = _with_preset(given, settings, engine)
    known, unknown = _check(flags)
    options = PipelineOptions(flags)
    standard = options.view_as(StandardOptions)
    if standard.runner == "DirectRunner":
        # DirectRunner picks its engine by the shape of the pipeline, and may try a download.
        logging.getLogger(__name__).warning(
            "DirectRunner does not say which engine it will use: running on %s", LOCAL_RUNNER
        )
        standard.runner = LOCAL_RUNNER
    if runner_name(options) not in _RUNNERS_WITH_OWN_OPTIONS:
        _refuse(unknown, known)
    # Everything a worker needs is imported from the installed packages.
    options.view_as(SetupOptions).save_main_session = False
    # The graph is always the same one, whose types mypy has checked: Beam's check at each start
    # would cost a fifth of the time that a graph takes.
    options.view_as(TypeOptions).pipeline_type_check = False
    require_engine(options)
    return options


@contextlib.contextmanager
def with_package(options: PipelineOptions) -> Iterator[None]:
    """Sees to it that Dataflow's workers get this package, while the body submits.

    An image brings its own. Without one, the installed package is staged as a wheel, and workers
    install what it depends on when they start, which takes minutes: an image is better.
    """
    image = options.view_as(WorkerOptions).sdk_container_image
    if runner_name(options) != "DataflowRunner" or image:
        yield
        return
    setup = options.view_as(SetupOptions)
    with tempfile.TemporaryDirectory() as folder:
        wheel = str(write_wheel(Path(folder)))
        setup.extra_packages = [*(setup.extra_packages or []), wheel]
        yield


def only_submits(options: PipelineOptions) -> bool:
    """Whether the launcher's work ends with submitting the job, or writing it to a file."""
    return bool(
        options.view_as(StandardOptions).no_wait_until_finish
        or options.view_as(GoogleCloudOptions).template_location
    )


def processes_here(options: PipelineOptions) -> int:
    """How many worker processes share this machine's cores."""
    direct = options.view_as(DirectOptions)
    local = runner_name(options) == LOCAL_RUNNER
    if not local or direct.direct_running_mode != "multi_processing":
        return 1
    return int(direct.direct_num_workers) or os.cpu_count() or 1


def _with_preset(given: list[str], settings: Mapping[str, Any], engine: str | None) -> list[str]:
    runner = PipelineOptions(given).view_as(StandardOptions).runner
    if engine is None:
        return given if runner else [*PRESETS["local"], *given]
    preset = list(PRESETS[engine])
    if runner and f"--runner={runner}" != preset[0]:
        raise ConfigurationError(
            f"--engine {engine} runs on {preset[0].partition('=')[2]}, but "
            f"{'runner.runner' if settings.get('runner') == runner else '--runner'} is {runner}: "
            "leave one of them out"
        )
    return preset + given


def _as_flags(settings: Mapping[str, Any]) -> list[str]:
    flags = []
    for name, value in settings.items():
        if value is True:
            flags.append(f"--{name}")
        elif isinstance(value, list):
            flags += [f"--{name}={item}" for item in value]
        elif value is not False:
            flags.append(f"--{name}={value}")
    return flags


class _Parser(argparse.ArgumentParser):
    """Argparse with errors for programs rather than a usage page and an exit."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"Beam options: {message}")


def _check(flags: Sequence[str]) -> tuple[list[str], list[str]]:
    """Parses as Beam will; returns the names Beam knows, and the flags it does not."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(flags))
    return [name for action in parser._actions for name in action.option_strings], unknown


def _refuse(unknown: Sequence[str], known: Sequence[str]) -> None:
    for flag in unknown:
        name = flag.partition("=")[0]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f": did you mean {near[0]}?" if near else ""
        raise ConfigurationError(f"unknown Beam option {name}{hint}")
