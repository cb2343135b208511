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
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from pipeline.arguments import Command, make_parser, split_beam_options
from pipeline.plain_text import plain
from pipeline.stopping import missing_modules_named, remembering_interrupts
from transforms.errors import ConfigurationError, RunError
from transforms.process.importing import importing
from transforms.storage import LocalStorage

if TYPE_CHECKING:
    from transforms.storage import Storage

DONE = 0
GATE_FAILED = 1
CONFIGURATION_ERROR = 2
RUN_FAILED = 3
INTERRUPTED = 130
TERMINATED = 143


_LONGEST_NAME = 100  # of a file that is named by an example; ids have any length
_IMPORTING = "importing TensorFlow and Beam"
_BIGQUERY_NOTICE = "apitools not found, and bigquery client libraries are not available"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      argv: Arguments without the program's name; those of the process unless given.

    Returns:
      The exit code.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    ours, beam_options = split_beam_options(given)
    try:
        arguments = _parser().parse_args(ours)
    except SystemExit as error:  # argparse has printed what there is to say
        return CONFIGURATION_ERROR if error.code else DONE
    arguments.beam_options = beam_options
    with remembering_interrupts() as interrupts:
        _set_up_logging(arguments, interrupts)
        try:
            return _execute(arguments)
        except ConfigurationError as error:
            return _fail(error, CONFIGURATION_ERROR)
        except (RunError, OSError) as error:  # the latter of a storage: it names the path
            return _stopped(arguments, interrupts) if interrupts else _fail(error, RUN_FAILED)
        except KeyboardInterrupt:
            return _stopped(arguments, interrupts)
        except Exception:  # Python's own code is 1, which says that a gate failed
            sys.stderr.write(plain(traceback.format_exc()))
            return RUN_FAILED


def _execute(arguments: argparse.Namespace) -> int:
    """Runs a command and gives its exit code."""
    command: Command = arguments.command
    if arguments.beam_options and command not in (_run, _plan, _compare):
        raise ConfigurationError(
            f"{arguments.name} takes no Beam options, so nothing after --: "
            f"{shlex.join(arguments.beam_options)}"
        )
    with missing_modules_named():
        code = command(arguments)
    return DONE if code is None else code


def _plan(arguments: argparse.Namespace) -> None:
    from pipeline.commands.console import print_plan
    from pipeline.config.keys import load_config
    from pipeline.config.sections import CERTIFIED_ON
    from pipeline.run.progress import Progress

    config = load_config(arguments.config, arguments.set)
    progress = Progress(None if arguments.quiet else sys.stderr)
    with progress.starting(_IMPORTING):
        with importing():
            _start_tensorflow(arguments)
            from pipeline.commands.plan import plan
            from transforms.filesystems import BeamStorage

        made = plan(
            config,
            BeamStorage(),
            arguments.beam_options,
            arguments.runner,
            picture=arguments.picture,
            samples=CERTIFIED_ON if arguments.certificate else None,
            announce=progress.announce,
        )
    _print(arguments, made.as_dict(), print_plan)


def _run(arguments: argparse.Namespace) -> None:
    from pipeline.commands.console import print_run
    from pipeline.config.keys import load_config
    from pipeline.run.progress import Progress

    config = load_config(arguments.config, arguments.set)
    progress = Progress(None if arguments.quiet else sys.stderr)
    with progress.starting(_IMPORTING), importing():
        _start_tensorflow(arguments)
        import transforms.filesystems  # noqa: F401 - Beam, which a run needs
        from pipeline.commands.run import class_rows, run

    manifest = run(
        config,
        arguments.mode,
        arguments.beam_options,
        progress,
        arguments.runner,
        allow_empty=arguments.allow_empty,
        min_examples=arguments.min_examples,
    )
    atlas = config.output.path
    _print(arguments, manifest, lambda result: print_run(result, atlas, class_rows))


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
    if config is not None:  # Inputs are parsed by TensorFlow; an atlas alone does not need it.
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
    _print(
        arguments,
        show(arguments.atlas, arguments.example_id, output, arguments.target),
        print_shown,
    )


def _audit(arguments: argparse.Namespace) -> int:
    from pipeline.config.keys import load_audit

    if arguments.set and arguments.config is None:
        raise ConfigurationError("--set changes the configuration of --config, which is not given")
    section = load_audit(arguments.config, arguments.set) if arguments.config else None
    from pipeline.commands.audit import audit_atlas, print_audit

    folder = arguments.output or arguments.atlas
    storage: Storage
    if arguments.confirm:  # Model and inputs may be anywhere.
        from transforms.filesystems import BeamStorage

        _start_tensorflow(arguments)
        storage = BeamStorage()
    else:
        storage = _storage_of(folder)
    result = audit_atlas(
        arguments.atlas,
        section,
        arguments.baseline,
        arguments.output,
        storage,
        confirms=arguments.confirm,
    )
    if arguments.json:
        sys.stdout.write(result.to_json().decode())
    else:
        print_audit(result)
    return GATE_FAILED if result.verdict == "fail" else DONE


def _compare(arguments: argparse.Namespace) -> None:
    from pipeline.commands.compare import compare_atlases
    from pipeline.commands.compared import print_comparison
    from pipeline.run.progress import Progress

    progress = Progress(None if arguments.quiet else sys.stderr)
    with progress.starting("opening the atlases"):
        found = compare_atlases(
            arguments.first,
            arguments.second,
            arguments.beam_options,
            arguments.runner,
            progress.announce,
        )
    if arguments.json:
        sys.stdout.write(found.to_json().decode())
    else:
        print_comparison(found)


def _storage_of(path: str) -> Storage:
    """Where a folder is. Beam takes seconds to import, which local folders do not need."""
    if "://" not in path:
        return LocalStorage()
    from transforms.filesystems import BeamStorage

    return BeamStorage()


def _report(arguments: argparse.Namespace) -> None:
    from pipeline.atlas import Atlas
    from pipeline.commands.console import print_report
    from pipeline.report import write

    output = arguments.output or f"{arguments.atlas.rstrip('/')}/report.html"
    baseline = None if arguments.baseline is None else Atlas.open(arguments.baseline)
    _print(arguments, write(Atlas.open(arguments.atlas), output, baseline), print_report)


def _index(arguments: argparse.Namespace) -> None:
    from pipeline.commands.console import print_index
    from pipeline.commands.index import index
    from transforms.filesystems import BeamStorage

    _print(arguments, index(arguments.pattern, BeamStorage()), print_index)


def _parser() -> argparse.ArgumentParser:
    return make_parser(
        {
            "audit": _audit,
            "compare": _compare,
            "index": _index,
            "plan": _plan,
            "report": _report,
            "run": _run,
            "show": _show,
            "summarize": _summarize,
            "verify": _verify,
        }
    )


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the moment: above a spinner or a bar, where one turns."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override] # as the standard library's own has it
        return sys.stderr


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
    handler = _StderrHandler()
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
    if arguments.allow_empty:
        again.append("--allow-empty")
    if arguments.min_examples:
        again += ["--min-examples", str(arguments.min_examples)]
    if arguments.runner:
        again += ["--runner", arguments.runner]
    if arguments.beam_options:
        again += ["--", *arguments.beam_options]
    return f"; committed blocks are kept, go on with: {shlex.join(again)}"
