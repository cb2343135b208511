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
from typing import Any, NoReturn, TypeVar

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TypeOptions,
    WorkerOptions,
)

from pipeline.config.keys import Config
from pipeline.runners.presets import LOCAL_RUNNER, PRESETS
from pipeline.runners.requirements import check_reach, class_name, require_runner, runner_name
from pipeline.runners.wheel import write_wheel
from transforms.errors import ConfigurationError
from transforms.storage import Storage

# These take options that only their job servers know, so unknown ones are theirs to refuse.
_RUNNERS_WITH_OWN_OPTIONS = ("PortableRunner", "FlinkRunner", "SparkRunner", "PrismRunner")

_View = TypeVar("_View", bound=PipelineOptions)


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


class _ParsedOnce(PipelineOptions):
    """Beam's options, whose flags each kind of view parses once.

    Beam asks for views several times a step of a graph, and every one of its own builds a parser
    and parses all flags: a tenth of what a run takes whatever it explains.
    """

    def view_as(self, cls: type[_View]) -> _View:
        """The view of that kind; all views share their values."""
        views: dict[type[PipelineOptions], Any] = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        view: _View = views[cls]
        return view

    def __getstate__(self) -> dict[str, Any]:
        """All but the views, as those of a copy are to share the copy's values."""
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_views"}


def explain_hints(options: PipelineOptions) -> dict[str, str]:
    """Beam's resource hints for the stages that read, explain and write blocks.

    They are one fused stage, which is why all three get them: runners do not fuse steps of
    different hints, and then every image and map would be stored between them.
    """
    ours = options.view_as(AtlasOptions)
    hints = {"accelerator": ours.explain_accelerator, "min_ram": ours.explain_min_ram}
    return {name: value for name, value in hints.items() if value}


def options_of_run(
    config: Config, arguments: Sequence[str], preset: str | None, storage: Storage
) -> PipelineOptions:
    """Makes Beam's options of a run, once its runner and what that needs are there.

    Args:
      config: The configuration.
      arguments: What followed `--`.
      preset: The preset that `--runner` names; None where it is not given.
      storage: Where local paths are, to name them.

    Raises:
      ConfigurationError: An option or a runner that Beam does not know, a runner that is not
        there, or paths that its workers cannot reach.
    """
    options = pipeline_options(config.runner, arguments, preset)
    FileSystems.set_options(options)  # HDFS and S3 are told by options where they are
    check_reach(options, config, storage)
    return options


def pipeline_options(
    section: Mapping[str, Any], arguments: Sequence[str], preset: str | None = None
) -> PipelineOptions:
    """Makes Beam's options of a preset, the configuration's `runner` section and the command line.

    Args:
      section: What is configured; it overrides the preset.
      arguments: What followed `--`; it overrides both.
      preset: Its name, as `--runner` before `--` gives it. None is `local` where nothing names a
        runner.

    Raises:
      ConfigurationError: An option or a runner that Beam does not know, or a runner that is not
        there.
    """
    given = [*_as_flags(section), *arguments]
    flags = _with_preset(given, section, preset)
    known, unknown = _check(flags)
    options = _ParsedOnce(flags)
    standard = options.view_as(StandardOptions)
    standard.runner = class_name(standard.runner)
    if standard.runner == "DirectRunner":
        # DirectRunner picks another by the shape of the pipeline, and may try a download.
        logging.getLogger(__name__).warning(
            "DirectRunner does not say which runner it will use: running on %s", LOCAL_RUNNER
        )
        standard.runner = LOCAL_RUNNER
    if runner_name(options) not in _RUNNERS_WITH_OWN_OPTIONS:
        _refuse(unknown, known)
    # Everything a worker needs is imported from the installed packages.
    options.view_as(SetupOptions).save_main_session = False
    # The graph is always the same one, whose types mypy has checked: Beam's check at each start
    # would cost a fifth of the time that a graph takes.
    options.view_as(TypeOptions).pipeline_type_check = False
    require_runner(options)
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


def explains_here(options: PipelineOptions) -> bool:
    """Whether this process alone explains all blocks, and each of them once."""
    direct = options.view_as(DirectOptions)
    return runner_name(options) == LOCAL_RUNNER and direct.direct_running_mode == "in_memory"


def processes_here(options: PipelineOptions) -> int:
    """How many worker processes share this machine's cores."""
    direct = options.view_as(DirectOptions)
    local = runner_name(options) == LOCAL_RUNNER
    if not local or direct.direct_running_mode != "multi_processing":
        return 1
    return int(direct.direct_num_workers) or os.cpu_count() or 1


def _with_preset(given: list[str], section: Mapping[str, Any], preset: str | None) -> list[str]:
    runner = PipelineOptions(given).view_as(StandardOptions).runner
    if preset is None:
        return given if runner else [*PRESETS["local"], *given]
    flags = list(PRESETS[preset])
    wanted = flags[0].partition("=")[2]
    if runner and class_name(runner) != wanted:
        configured = section.get("runner") == runner
        raise ConfigurationError(
            f"--runner {preset} runs on {wanted}, but "
            f"{'runner.runner' if configured else '--runner after --'} is {runner}: "
            "leave one of them out"
        )
    return flags + given


def _as_flags(section: Mapping[str, Any]) -> list[str]:
    flags = []
    for name, value in section.items():
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
