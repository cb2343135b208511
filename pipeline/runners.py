"""What Beam's runners need, in one place, with the reason beside each option."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
)

from transforms.errors import ConfigurationError

LOCAL_RUNNER = "FnApiRunner"

# These take options that only their job servers know, so unknown ones are theirs to refuse.
_RUNNERS_WITH_OWN_OPTIONS = ("PortableRunner", "FlinkRunner", "SparkRunner", "PrismRunner")


def pipeline_options(settings: Mapping[str, Any], arguments: Sequence[str]) -> PipelineOptions:
    """Makes Beam's options of the configuration's `runner` section and the command line.

    Args:
      settings: The section; the command line overrides it.
      arguments: What followed `--`.

    Raises:
      ConfigurationError: An option that Beam does not know.
    """
    flags = [*_as_flags(settings), *arguments]
    known, unknown = _check(flags)
    options = PipelineOptions(flags)
    standard = options.view_as(StandardOptions)
    if standard.runner is None:
        standard.runner = LOCAL_RUNNER
    if standard.runner == "DirectRunner":
        # DirectRunner picks its engine by the shape of the pipeline, and may try a download.
        logging.getLogger(__name__).warning(
            "DirectRunner does not say which engine it will use: running on %s", LOCAL_RUNNER
        )
        standard.runner = LOCAL_RUNNER
    if standard.runner.rpartition(".")[2] not in _RUNNERS_WITH_OWN_OPTIONS:
        _refuse(unknown, known)
    # Everything a worker needs is imported from the installed packages.
    options.view_as(SetupOptions).save_main_session = False
    return options


def runner_name(options: PipelineOptions) -> str:
    """The runner's name, as the manifest records it."""
    return str(options.view_as(StandardOptions).runner).rpartition(".")[2]


def processes_here(options: PipelineOptions) -> int:
    """How many worker processes share this machine's cores."""
    direct = options.view_as(DirectOptions)
    local = runner_name(options) == LOCAL_RUNNER
    if not local or direct.direct_running_mode != "multi_processing":
        return 1
    return int(direct.direct_num_workers) or os.cpu_count() or 1


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
