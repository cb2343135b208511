"""The command line's arguments: commands, their flags, what `--help` says of them.

Imports at the top are Python's own, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.runners.presets import PRESETS
from transforms.errors import alternatives

if TYPE_CHECKING:
    from pipeline.run.begin import Mode

Command = Callable[[argparse.Namespace], int | None]
"""What a command is: it gives its exit code, or None where it is done."""

_EPILOG = """\
exit codes: 0 done; 1 a gate of an audit failed; 2 usage, configuration or installation; 3 the run
failed, too many records did, an atlas is not whole, or something unforeseen happened, with a
traceback; 130 interrupted (Ctrl-C); 143 terminated (SIGTERM)
Progress goes to stderr, results to stdout."""


def make_parser(given: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The parser of the command line.

    Args:
      given: What each command is, by its name.
    """
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

    _add_plan(commands, given["plan"])
    _add_run(commands, given["run"])

    summarize = _add_command(
        commands, "summarize", given["summarize"], "rebuild the statistics from the maps"
    )
    summarize.add_argument("atlas", metavar="ATLAS", help="the output.path of a run")

    verify = _add_command(
        commands, "verify", given["verify"], "check that an atlas is whole and right"
    )
    verify.add_argument("atlas", metavar="ATLAS", help="the output.path of a run")
    verify.add_argument(
        "--against", metavar="CONFIG", help="check that its inputs are what the atlas explains, too"
    )
    _add_set(verify)

    _add_audit(commands, given["audit"])
    _add_compare(commands, given["compare"])
    _add_report(commands, given["report"])

    index = _add_command(
        commands,
        "index",
        given["index"],
        "index TFRecord files, so that big ones are read in portions",
    )
    index.add_argument("pattern", metavar="PATTERN", help="a glob; FILE.idx is written beside FILE")

    _add_show(commands, given["show"])
    return parser


def _add_show(commands: Any, command: Command) -> None:
    show = _add_command(
        commands,
        "show",
        command,
        "draw a map beside and over its input",
    )
    show.add_argument("atlas", metavar="ATLAS", help="the output.path of a run")
    show.add_argument("example_id", metavar="EXAMPLE_ID", help="an id in the maps table")
    show.add_argument(
        "--target", metavar="CLASS", help="which of its maps, by the class's number or name"
    )
    show.add_argument("--output", metavar="PNG", help="the file to write (default: EXAMPLE_ID.png)")


def _add_plan(commands: Any, command: Command) -> None:
    plan = _add_command(commands, "plan", command, "check everything without writing anything")
    _add_config(plan)
    _add_runner(plan)
    plan.add_argument(
        "--picture",
        metavar="PNG",
        help="draw the first 16 inputs as the model sees them, with their maps",
    )
    plan.add_argument(
        "--certificate",
        action="store_true",
        help="try on a sample what the maps say about the model: with its weights drawn anew, for "
        "another class, and as the most salient places are taken away",
    )


def _add_report(commands: Any, command: Command) -> None:
    report = _add_command(commands, "report", command, "write an atlas as one HTML file")
    report.add_argument("atlas", metavar="ATLAS", help="the output.path of a run")
    report.add_argument(
        "--baseline", metavar="ATLAS", help="another atlas, to say what changed since"
    )
    report.add_argument(
        "--output", metavar="FILE", help="the file to write (default: ATLAS/report.html)"
    )


def _add_compare(commands: Any, command: Command) -> None:
    compare = _add_command(
        commands,
        "compare",
        command,
        "say what two atlases are to each other, and what moved from one to the other",
        epilog="Examples of both are met on a runner; everything after -- goes to Beam.",
    )
    for name in ("first", "second"):
        compare.add_argument(name, metavar="ATLAS", help=f"the {name}: the output.path of a run")
    _add_runner(compare)


def _add_run(commands: Any, command: Command) -> None:
    run = _add_command(
        commands,
        "run",
        command,
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
    run.add_argument(
        "--allow-empty", action="store_true", help="input files without a record are no failure"
    )
    run.add_argument(
        "--min-examples",
        type=_count,
        default=0,
        metavar="N",
        help="fail (3) where fewer examples could be explained",
    )


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of examples from 0")
    return int(text)


def _add_audit(commands: Any, command: Command) -> None:
    audit = _add_command(
        commands, "audit", command, "judge an atlas by the gates of a configuration"
    )
    audit.add_argument("atlas", metavar="ATLAS", help="the output.path of a run")
    audit.add_argument(
        "--config",
        metavar="CONFIG",
        help="a YAML file with a section audit (default: the configuration of the run)",
    )
    _add_set(audit)
    audit.add_argument(
        "--baseline", metavar="ATLAS", help="another atlas, for drift and for gates on a change"
    )
    audit.add_argument(
        "--output", metavar="DIR", help="the folder of the results (default: ATLAS/audit)"
    )
    audit.add_argument(
        "--confirm",
        action="store_true",
        help="try candidates for shortcuts on the model: mask, paste or exchange what they are",
    )


def _add_command(
    commands: Any,
    name: str,
    command: Command,
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
            f"a runner of Beam's own goes after all else: -- --runner={name}"
        )
    return name


def split_beam_options(argv: list[str]) -> tuple[list[str], list[str]]:
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
