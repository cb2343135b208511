"""The command line: arguments in, exit codes out.

Imports at the top are Python's own, so that `--help` answers at once; what a command needs is
imported when it runs.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.commands.plain_text import plain
from pipeline.runners.presets import PRESETS
from pipeline.stopping import missing_modules_named, remembering_interrupts
from transforms.errors import ConfigurationError, RunError, alternatives

if TYPE_CHECKING:
    from pipeline.run.begin import Mode

DONE = 0
CONFIGURATION_ERROR = 2
RUN_FAILED = 3
INTERRUPTED = 130
TERMINATED = 143

_LONGEST_NAME = 100  # of a file that is named by an example; ids have any length
_BIGQUERY_NOTICE = "apitools not found, and bigquery client libraries are not available"
_EPILOG = """\
exit codes: 0 done; 1 something unforeseen, with a traceback; 2 usage, configuration or
installation; 3 the run failed, too many records did, or an atlas is not whole; 130 interrupted
(Ctrl-C); 143 terminated (SIGTERM)
Progress goes to stderr, results to stdout."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      argv: Arguments without the program's name; those of the process unless given.

    Returns:
      The exit code.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    ours, beam_options = _split_beam_options(given)
    try:
        arguments = _parser().parse_args(ours)
    except SystemExit as error:  # argparse has printed what there is to say
        return CONFIGURATION_ERROR if error.code else DONE
    arguments.beam_options = beam_options
    command: Callable[[argparse.Namespace], None] = arguments.command
    with remembering_interrupts() as interrupts:
        _set_up_logging(arguments, interrupts)
        try:
            if beam_options and command not in (_run, _plan):
                raise ConfigurationError(
                    f"{arguments.name} takes no Beam options, so nothing after --: "
                    f"{shlex.join(beam_options)}"
                )
            with missing_modules_named():
                command(arguments)
        except ConfigurationError as error:
            return _fail(error, CONFIGURATION_ERROR)
        except RunError as error:
            return _stopped(arguments, interrupts) if interrupts else _fail(error, RUN_FAILED)
        except OSError as error:  # of a storage: it names the path
            return _fail(error, RUN_FAILED)
        except KeyboardInterrupt:
            return _stopped(arguments, interrupts)
    return DONE


def _plan(arguments: argparse.Namespace) -> None:
    from pipeline.commands.console import print_plan
    from pipeline.config.keys import load_config

    config = load_config(arguments.config, arguments.set)
    _start_tensorflow(arguments)
    from pipeline.commands.plan import plan
    from transforms.filesystems import BeamStorage

    made = plan(config, BeamStorage(), arguments.beam_options, arguments.runner)
    _print(arguments, made.as_dict(), print_plan)


def _run(arguments: argparse.Namespace) -> None:
    from pipeline.commands.console import print_run
    from pipeline.config.keys import load_config
    from pipeline.run.progress import Progress

    config = load_config(arguments.config, arguments.set)
    _start_tensorflow(arguments)
    from pipeline.commands.run import run

    progress = Progress(None if arguments.quiet else sys.stderr)
    manifest = run(config, arguments.mode, arguments.beam_options, progress, arguments.runner)
    _print(arguments, manifest, lambda result: print_run(result, config.output.path))


def _summarize(arguments: argparse.Namespace) -> None:
    from pipeline.commands.console import print_summary
    from pipeline.commands.summarize import summarize
    from transforms.filesystems import BeamStorage

    _print(arguments, summarize(arguments.atlas, BeamStorage()), print_summary)


def _verify(arguments: argparse.Namespace) -> None:
    from pipeline.commands.console import print_verification
    from pipeline.config.keys import load_config

    if arguments.set and arguments.against is None:
        raise ConfigurationError("--set changes the configuration of --against, which is not given")
    config = load_config(arguments.against, arguments.set) if arguments.against else None
    _start_tensorflow(arguments)
    from pipeline.commands.verify import verify
    from transforms.filesystems import BeamStorage

    verified = verify(arguments.atlas, BeamStorage(), config)
    _print(arguments, verified, print_verification)
    if verified["problems"]:
        count = len(verified["problems"])
        raise RunError(f"{arguments.atlas}: {count} {'problem' if count == 1 else 'problems'}")


def _show(arguments: argparse.Namespace) -> None:
    from pipeline.commands.console import print_shown
    from pipeline.commands.show import show

    _start_tensorflow(arguments)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", arguments.example_id)[:_LONGEST_NAME]
    output = arguments.output or f"{name}.png"
    _print(arguments, show(arguments.atlas, arguments.example_id, output), print_shown)


def _index(arguments: argparse.Namespace) -> None:
    from pipeline.commands.console import print_index
    from pipeline.commands.index import index
    from transforms.filesystems import BeamStorage

    _print(arguments, index(arguments.pattern, BeamStorage()), print_index)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="saliency-atlas",
        description="Makes saliency maps of whole datasets, and statistics of them by class.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="print the version of this package"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="name")

    plan = _add_command(commands, "plan", _plan, "check everything without writing anything")
    _add_config(plan)
    _add_runner(plan)

    _add_run(commands)

    summarize = _add_command(
        commands, "summarize", _summarize, "rebuild the statistics from the maps"
    )
    summarize.add_argument("atlas", metavar="ATLAS", help="the output.path of a run")

    verify = _add_command(commands, "verify", _verify, "check that an atlas is whole and right")
    verify.add_argument("atlas", metavar="ATLAS", help="the output.path of a run")
    verify.add_argument(
        "--against", metavar="CONFIG", help="check that its inputs are what the atlas explains, too"
    )
    _add_set(verify)

    index = _add_command(
        commands, "index", _index, "index TFRecord files, so that big ones are read in portions"
    )
    index.add_argument("pattern", metavar="PATTERN", help="a glob; FILE.idx is written beside FILE")

    show = _add_command(commands, "show", _show, "draw a map beside and over its input")
    show.add_argument("atlas", metavar="ATLAS", help="the output.path of a run")
    show.add_argument("example_id", metavar="EXAMPLE_ID", help="an id in the maps table")
    show.add_argument("--output", metavar="PNG", help="the file to write (default: EXAMPLE_ID.png)")
    return parser


def _add_run(commands: Any) -> None:
    run = _add_command(
        commands,
        "run",
        _run,
        "make or complete an atlas",
        epilog="Everything after -- goes to Beam, whose own --runner names one of its classes: "
        "saliency-atlas run CONFIG -- --runner=PortableRunner --job_endpoint=...",
    )
    _add_config(run)
    _add_runner(run)
    modes = run.add_mutually_exclusive_group()
    for mode, meaning in (
        ("resume", "complete the atlas that is there"),
        ("extend", "complete it, with the input files added since"),
        ("overwrite", "delete the atlas that is there and make it anew"),
    ):
        modes.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode, help=meaning)
    new: Mode = "new"
    run.set_defaults(mode=new)


def _add_command(
    commands: Any,
    name: str,
    command: Callable[[argparse.Namespace], None],
    meaning: str,
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=meaning,
        description=f"{meaning.capitalize()}.",
        epilog=epilog,
        allow_abbrev=False,
    )
    parser.set_defaults(command=command)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true", help="no progress, no warnings")
    loudness.add_argument(
        "--verbose", action="store_true", help="what Beam and TensorFlow have to say, too"
    )
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="a YAML file; paths in it are relative to the current directory",
    )
    _add_set(parser)


def _add_runner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runner",
        type=_preset,
        metavar="|".join(PRESETS),
        help="where to run: a preset of Beam's options (default: local), which those of the "
        "configuration and those after -- override",
    )


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override one key, such as explain.batch_size=8; may be repeated",
    )


def _preset(name: str) -> str:
    if name not in PRESETS:
        raise argparse.ArgumentTypeError(
            f"{name!r} is not {alternatives(PRESETS)}; "
            f"a runner of Beam's own goes after --: saliency-atlas run CONFIG -- --runner={name}"
        )
    return name


def _split_beam_options(argv: list[str]) -> tuple[list[str], list[str]]:
    """Splits at the first `--`, which argparse would give to whatever comes last."""
    if "--" not in argv:
        return argv, []
    place = argv.index("--")
    return argv[:place], argv[place + 1 :]


class _Version(argparse.Action):
    """Prints the version when it is asked for, as finding it out reads a file."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from transforms.process.version import package_version

        sys.stdout.write(f"{parser.prog} {package_version()}\n")
        parser.exit()


class _PlainFormatter(logging.Formatter):
    """Messages may quote what the data holds."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


def _set_up_logging(arguments: argparse.Namespace, interrupts: Sequence[int]) -> None:
    level = logging.WARNING
    if arguments.quiet:
        level = logging.ERROR
    if arguments.verbose:
        level = logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter("%(levelname)s: %(message)s"))
    if not arguments.verbose:
        # Beam says so at each import, in the root logger's name; nothing here needs BigQuery.
        handler.addFilter(lambda record: not record.getMessage().startswith(_BIGQUERY_NOTICE))
        # Beam logs what it raises as well, which is said here in one sentence.
        handler.addFilter(
            lambda record: not (record.exc_info and record.name.startswith("apache_beam"))
        )
        # Nobody who pressed Ctrl-C asks for the traceback of where that was.
        handler.addFilter(lambda _: not interrupts)
    logging.basicConfig(level=level, handlers=[handler])


def _start_tensorflow(arguments: argparse.Namespace) -> None:
    if not arguments.verbose:
        from pipeline.commands.native_stderr import start_tensorflow

        start_tensorflow()


def _print(
    arguments: argparse.Namespace,
    result: dict[str, Any],
    print_for_people: Callable[[dict[str, Any]], None],
) -> None:
    if arguments.json:
        sys.stdout.write(f"{json.dumps(result, indent=2, sort_keys=True, allow_nan=False)}\n")
    else:
        print_for_people(result)


def _fail(error: Exception, code: int) -> int:
    message = plain(str(error)).replace("\n", "\n       ")  # under the first line's words
    sys.stderr.write(f"error: {message}\n")
    return code


def _stopped(arguments: argparse.Namespace, interrupts: Sequence[int]) -> int:
    terminated = signal.SIGTERM in interrupts
    what = "terminated" if terminated else "interrupted"
    sys.stderr.write(f"{what}{_way_on(arguments)}\n")
    return TERMINATED if terminated else INTERRUPTED


def _way_on(arguments: argparse.Namespace) -> str:
    if arguments.command is not _run:
        return ""
    mode = "extend" if arguments.mode == "extend" else "resume"
    again = ["saliency-atlas", "run", arguments.config]
    for override in arguments.set:
        again += ["--set", override]
    again.append(f"--{mode}")
    if arguments.runner:
        again += ["--runner", arguments.runner]
    if arguments.beam_options:
        again += ["--", *arguments.beam_options]
    return f"; committed blocks are kept, go on with: {shlex.join(again)}"
