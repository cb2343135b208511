"""A hundred honest mistakes: each gets its sentence, none passes in silence or is a traceback."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from mistake import Mistake
from mistaken_files import FEATURES, make_files
from of_configurations import DOCUMENTS, IN_KEYS, IN_WORDS
from of_data_and_models import IN_DATA, IN_MODELS, IN_OUTPUTS

from pipeline import cli

FEWEST = 100
MISTAKES = (*IN_KEYS, *IN_WORDS, *IN_DATA, *IN_MODELS, *IN_OUTPUTS)


def document(folder: Path) -> dict[str, Any]:
    """A configuration without mistakes."""
    return {
        "source": {
            "pattern": str(folder / "good.parquet"),
            "format": "parquet",
            "features": {"input": "values", "label": "label"},
            "input": {"kind": "tensor", "shape": [FEATURES]},
        },
        "model": {"uri": str(folder / "good.keras")},
        "explain": {"engine": "tensorflow", "batch_size": 16, "threads": 1},
        "output": {"path": "no/atlas"},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, models and an atlas, good ones and others."""
    root = tmp_path_factory.mktemp("mistaken")
    make_files(root)
    (root / "config.yaml").write_text(yaml.safe_dump(document(root)))
    from pipeline.config.keys import load_config
    from pipeline.run.in_memory import run_in_memory

    run_in_memory(load_config(str(root / "config.yaml"), [f"output.path={root}/atlas"]))
    return root


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.commands.native_stderr.start_tensorflow", lambda: None)


def call(
    words: list[str], capsys: pytest.CaptureFixture[str], log: pytest.LogCaptureFixture
) -> Any:
    """The exit code, and all that was said."""
    capsys.readouterr()
    log.clear()
    with log.at_level(logging.WARNING):
        code = cli.main(words)
    written = capsys.readouterr()
    return code, f"{written.out}\n{written.err}\n{log.text}"


def test_there_are_a_hundred() -> None:
    assert len(MISTAKES) + len(DOCUMENTS) >= FEWEST
    done = [mistake.done for mistake in MISTAKES]
    assert len(set(done)) == len(done)


def test_without_a_mistake_nothing_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    code, said = call(["plan", str(folder / "config.yaml")], capsys, caplog)
    assert code == cli.DONE
    assert "warning" not in said.lower()


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.done)
def test_each_mistake_gets_its_sentence(
    mistake: Mistake,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "config.yaml", "config.yaml")
    named = {"CONFIG": "config.yaml"}
    words = [named.get(word, word).replace("{folder}", str(folder)) for word in mistake.command]
    place = words.index("--") if "--" in words else len(words)
    for override in mistake.overrides:
        words[place:place] = ["--set", override.replace("{folder}", str(folder))]
        place += 2
    code, said = call(words, capsys, caplog)
    assert mistake.said in said
    assert code == mistake.code
    assert "Traceback" not in said
    assert not Path("no").exists()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_text_that_is_no_configuration_gets_its_sentence(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    text, expected = DOCUMENTS[name]
    (tmp_path / "config.yaml").write_text(text)
    code, said = call(["plan", str(tmp_path / "config.yaml")], capsys, caplog)
    assert expected in said
    assert code == cli.CONFIGURATION_ERROR
