from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from command_results import CLASS_ROWS, MANIFEST, PLAN, SHOWN, SUMMARY

from pipeline import cli
from pipeline.commands import native_stderr as quiet
from pipeline.config import keys as config
from pipeline.run.progress import Progress
from transforms.errors import ConfigurationError, RunError


class FakeConfig:
    """Stands for a checked configuration."""

    class output:  # noqa: N801 - as the real one's attribute
        path = "atlases/train"


class Calls(list[tuple[Any, ...]]):
    """What the commands called, in order; `error` is raised instead where it is set."""

    error: BaseException | None = None

    def fake(self, name: str, result: Any) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.append((name, *arguments, *named.values()))
            if self.error is not None:
                raise self.error
            return result

        return call


class FakePlan:
    def as_dict(self) -> dict[str, Any]:
        return PLAN


class BeamStorage:
    """Stands for Beam's file systems."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BeamStorage)

    def __hash__(self) -> int:
        return 0


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Replaces what commands call, so that nothing heavy is imported."""
    calls = Calls()

    def replace(module: str, **attributes: Any) -> None:
        fake = ModuleType(module)
        vars(fake).update(attributes)
        monkeypatch.setitem(sys.modules, module, fake)

    def load_config(path: str, overrides: list[str]) -> FakeConfig:
        calls.append(("load_config", path, overrides))
        return FakeConfig()

    monkeypatch.setattr(config, "load_config", load_config)
    monkeypatch.setattr(quiet, "start_tensorflow", lambda: None)
    replace("pipeline.commands.plan", plan=calls.fake("plan", FakePlan()))
    replace(
        "pipeline.commands.run", run=calls.fake("run", MANIFEST), class_rows=lambda _: CLASS_ROWS
    )
    replace("pipeline.commands.summarize", summarize=calls.fake("summarize", SUMMARY))
    replace("pipeline.commands.show", show=calls.fake("show", SHOWN))
    replace("transforms.filesystems", BeamStorage=BeamStorage)
    return calls


@pytest.mark.usefixtures("calls")
def test_plan_prints_what_to_expect(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "c.yaml"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "8 files, 4.0 KiB",
        "about 2,000",
        "model.keras (Keras)",
        "image: [any, 8, 8, 3] float32",
        "logits: [any, 10]",
        "... 2 more, layer_2, layer_3",
        "about 1:40 in one process",
        "about 2.0 KiB",
        "about 3.0 GiB in one process",
        "16 of a.tfrecord",
        "input channel 2",
        "fed input age",
        "18 to 90, mean 51.5",
        "0 to 1, mean 0.41",
        "0 to 9, 10 different",
        "12 of 16 (75%)",
        "logits, by their values: -7.5 to 9.25; 88% sure in the mean",
        "with boxes",
        "3 with tag 6",
        "0.9877",
        "warning: source.classes has 9 names, the model 10 outputs",
    ):
        assert words in printed


def test_plan_says_so_when_no_example_could_be_explained(
    calls: Calls, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    estimates = ("seconds_estimated", "map_bytes_estimated", "memory_bytes_estimated")
    unknown: dict[str, Any] = {**dict.fromkeys(estimates), "first_look": None, "sample": {}}
    monkeypatch.setattr(FakePlan, "as_dict", lambda _: {**PLAN, **unknown})
    assert cli.main(["plan", "c.yaml", "--set", "a=1", "--set", "b=2"]) == 0
    assert calls[0] == ("load_config", "c.yaml", ["a=1", "b=2"])
    assert calls[1][0] == "plan"
    assert capsys.readouterr().out.count("unknown: no example could be explained") == 3


@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        ([], "new"),
        (["--resume"], "resume"),
        (["--extend"], "extend"),
        (["--overwrite"], "overwrite"),
    ],
)
def test_run_hands_on_its_mode_and_what_follows_the_dashes(
    calls: Calls, flags: list[str], mode: str
) -> None:
    arguments = ["run", "c.yaml", "--set", "a=1", *flags]
    arguments += ["--runner", "flink", "--", "--runner=X", "--", "--help"]
    assert cli.main(arguments) == 0
    loaded, (name, _, given_mode, options, progress, preset, *demands) = calls
    assert loaded == ("load_config", "c.yaml", ["a=1"])
    assert (name, given_mode) == ("run", mode)
    assert options == ["--runner=X", "--", "--help"]
    assert isinstance(progress, Progress)
    assert progress.stream is sys.stderr
    assert preset == "flink"
    assert demands == [False, 0]


def test_run_prints_what_it_came_to(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "c.yaml", "--quiet"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "1,990 of 2,000 records",
        "10, read atlases/train/failures.parquet",
        "1:15",
        "123.5 examples/s",
        "3.0 MiB",
        "corner energy",
        "ant",
        "90%",
        "0.125",
        "and 1 more classes in the table of statistics",
        "atlases/train/statistics/classes.parquet",
    ):
        assert words in printed
    assert calls[-1][-4].stream is None  # quiet: no progress


def test_a_path_is_not_folded_where_there_is_no_terminal(
    calls: Calls, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del calls
    monkeypatch.setattr(FakeConfig.output, "path", f"/{'very-' * 60}long")
    assert cli.main(["run", "c.yaml"]) == 0
    assert f"{FakeConfig.output.path}/failures.parquet" in capsys.readouterr().out


def test_summarize_says_whether_anything_changed(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["summarize", "atlases/train"]) == 0
    assert calls == [("summarize", "atlases/train", BeamStorage())]
    assert "classes.parquet: the same bytes as before" in capsys.readouterr().out


def test_show_prints_the_numbers(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "atlases/train", "a/b:1"]) == 0
    assert calls == [("show", "atlases/train", "a/b:1", "a_b_1.png", None)]
    assert capsys.readouterr().out == (
        "a/b:1 (a.tfrecord, record 1): target 3, predicted 4, score 0.25, entropy 0.9877\n"
        "note: the input has gone: the map is shown alone\n"
        "wrote a_b_1.png\n"
    )
    more = ["--output", "x.png", "--target", "3"]
    assert cli.main(["show", "atlases/train", "a/b:1", *more]) == 0
    assert calls[-1] == ("show", "atlases/train", "a/b:1", "x.png", "3")


@pytest.mark.parametrize(
    ("arguments", "document"),
    [
        (["plan", "c.yaml"], PLAN),
        (["run", "c.yaml"], MANIFEST),
        (["summarize", "atlas"], SUMMARY),
        (["show", "atlas", "a"], SHOWN),
    ],
)
@pytest.mark.usefixtures("calls")
def test_json_is_one_document(
    arguments: list[str], document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigurationError("a is 1"), 2, "error: a is 1\n"),
        (ConfigurationError("a is 1\nb is 2"), 2, "error: a is 1\n       b is 2\n"),
        (RunError("too many failed"), 3, "error: too many failed\n"),
    ],
)
def test_errors_have_exit_codes_and_a_message(
    calls: Calls, capsys: pytest.CaptureFixture[str], error: Exception, code: int, message: str
) -> None:
    calls.error = error
    for command in (["plan", "c"], ["run", "c"], ["summarize", "a"], ["show", "a", "b"]):
        assert cli.main(command) == code
        assert capsys.readouterr() == ("", message)


def test_what_nobody_expected_keeps_its_traceback_and_is_no_failed_gate(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    calls.error = ZeroDivisionError("of \x1b[31m")
    assert cli.main(["run", "c.yaml"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert said.endswith("ZeroDivisionError: of \\x1b[31m\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "my c.yaml"],
            "interrupted; committed blocks are kept, go on with: "
            "saliency-atlas run 'my c.yaml' --resume\n",
        ),
        (
            ["run", "c.yaml", "--overwrite", "--set", "a=1", "--runner=flink", "--", "--x=y"],
            "interrupted; committed blocks are kept, go on with: "
            "saliency-atlas run c.yaml --set a=1 --resume --runner flink -- --x=y\n",
        ),
        (
            ["run", "c.yaml", "--extend"],
            "interrupted; committed blocks are kept, go on with: "
            "saliency-atlas run c.yaml --extend\n",
        ),
        (["plan", "c.yaml"], "interrupted\n"),
    ],
)
def test_an_interrupted_run_says_how_to_go_on(
    calls: Calls, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    calls.error = KeyboardInterrupt()
    assert cli.main(arguments) == 130
    assert capsys.readouterr().err == message


def test_an_interrupt_that_became_an_error_of_the_runner_is_an_interrupt(
    calls: Calls, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any, **__: Any) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise RunError("the run stopped") from error

    del calls
    monkeypatch.setattr(sys.modules["pipeline.commands.run"], "run", run)
    # Whoever was started in the background has inherited that interrupts are ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.main(["run", "c.yaml"]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == (
        "interrupted; committed blocks are kept, go on with: saliency-atlas run c.yaml --resume\n"
    )


def test_an_interrupt_that_is_ignored_stays_so(calls: Calls) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert cli.main(["run", "c.yaml"]) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["run"],
        ["run", "c.yaml", "--resume", "--overwrite"],
        ["run", "c.yaml", "--res"],
        ["run", "c.yaml", "--quiet", "--verbose"],
        ["plan", "c.yaml", "--resume"],
        ["show", "atlas"],
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_called(
    calls: Calls, arguments: list[str]
) -> None:
    assert cli.main(arguments) == 2
    assert not calls


def test_only_run_and_plan_take_beam_options(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["summarize", "atlas", "--", "--runner=X"]) == 2
    assert capsys.readouterr().err == (
        "error: summarize takes no Beam options, so nothing after --: --runner=X\n"
    )
    assert not calls
    assert cli.main(["plan", "c.yaml", "--runner", "prism", "--", "--x=y"]) == 0
    assert calls[-1][2:-2] == (BeamStorage(), ["--x=y"], "prism", None)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help_is_no_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 0
    assert "saliency-atlas" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "level"),
    [([], logging.WARNING), (["--quiet"], logging.ERROR), (["--verbose"], logging.INFO)],
)
@pytest.mark.usefixtures("calls")
def test_loudness_sets_the_level_of_logging(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    level: int,
) -> None:
    settings: dict[str, Any] = {}
    monkeypatch.setattr(logging, "basicConfig", settings.update)
    started = []
    monkeypatch.setattr(quiet, "start_tensorflow", lambda: started.append(True))
    assert cli.main(["run", "c.yaml", *flags]) == 0
    assert settings["level"] == level
    verbose = level == logging.INFO
    assert started == ([] if verbose else [True])  # verbose: it starts by itself, and is heard

    (handler,) = settings["handlers"]
    capsys.readouterr()
    notice = "apitools not found, and bigquery client libraries are not available despite"
    for message in ("bucket is slow", notice):
        handler.handle(logging.makeLogRecord({"msg": message, "levelname": "WARNING"}))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "WARNING: bucket is slow"
    assert len(lines) == (2 if verbose else 1)
