"""What is remembered of a comparison, what it depends on, and what is done where it is gone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradients import batch_of, gradient_of

from transforms.saliency.attribution import Attribution
from transforms.saliency.engines import remembered, selection
from transforms.saliency.engines.agreement import Agreement
from transforms.saliency.engines.engine import EngineSpec
from transforms.saliency.engines.remembered import ChoiceMemory, RememberedChoice
from transforms.saliency.engines.selection import EngineChoice, choose_engine

SHAPE = (4,)
AUTO = EngineSpec("auto", threads=1)
CHOICE = RememberedChoice(
    EngineSpec("openvino", threads=1), Agreement(2, 0.9999, 1.0, 1e-5), ("a note",), 1000.0
)


def memory(folder: Path, subject: str = "a model", wanted: EngineSpec = AUTO) -> ChoiceMemory:
    return ChoiceMemory(folder, subject, wanted, batch_of(SHAPE))


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 2000.0)


def test_what_is_kept_is_recalled(tmp_path: Path) -> None:
    assert memory(tmp_path).recall() is None
    memory(tmp_path).keep(CHOICE)
    assert memory(tmp_path).recall() == CHOICE
    assert [path.suffix for path in (tmp_path / "engines").iterdir()] == [".choice"]


def test_it_holds_for_the_same_alone(tmp_path: Path) -> None:
    memory(tmp_path).keep(CHOICE)
    inputs, labels = batch_of(SHAPE)
    for other in (
        memory(tmp_path, "another model"),
        memory(tmp_path, wanted=EngineSpec("auto", threads=2)),
        memory(tmp_path, wanted=EngineSpec("auto", "auto", threads=1)),
        ChoiceMemory(tmp_path, "a model", AUTO, (np.nextafter(inputs, 9), labels)),
        ChoiceMemory(tmp_path, "a model", AUTO, (inputs.reshape(-1, 2, 2), labels)),
        ChoiceMemory(tmp_path, "a model", AUTO, (inputs, labels + 1)),
    ):
        assert other.recall() is None


def test_it_holds_for_the_same_machine_and_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory(tmp_path).keep(CHOICE)
    monkeypatch.setattr(remembered, "surroundings", lambda: "another machine")
    assert memory(tmp_path).recall() is None


def test_it_holds_for_a_month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory(tmp_path).keep(CHOICE)
    for now, holds in ((1000.0, True), (1000 + 30 * 86_400, True), (1001 + 30 * 86_400, False)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        assert (memory(tmp_path).recall() is not None) == holds
    monkeypatch.setattr("time.time", lambda: 999.0)  # A clock that was set back.
    assert memory(tmp_path).recall() is None


def test_what_is_damaged_is_as_if_it_was_not_there(tmp_path: Path) -> None:
    memory(tmp_path).keep(CHOICE)
    path = memory(tmp_path).path
    path.write_bytes(path.read_bytes().replace(b"float32", b"float16"))
    assert memory(tmp_path).recall() is None
    memory(tmp_path).keep(CHOICE)
    assert memory(tmp_path).recall() == CHOICE


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    unwritable = memory(tmp_path / "file")
    unwritable.keep(CHOICE)
    assert unwritable.recall() is None


def test_the_oldest_choice_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_MOST_CHOICES", 2)
    for number in range(4):
        memory(tmp_path, str(number)).keep(CHOICE)
        os.utime(memory(tmp_path, str(number)).path, (number, number))
    found = [memory(tmp_path, str(number)).recall() is not None for number in range(4)]
    assert found == [False, False, True, True]


class Counting:
    """Chooses, and counts the comparisons."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.compared = 0
        self._folder = folder
        real = selection._Comparison.compare

        def compare(comparison: Any, choice: EngineChoice) -> Agreement:
            self.compared += 1
            return real(comparison, choice)

        monkeypatch.setattr(selection._Comparison, "compare", compare)
        monkeypatch.setattr(selection, "share_of_time", lambda *_: 0.5)
        monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 99.0, 99.0))

    def choose(self, wanted: EngineSpec, model: Any = lambda inputs: inputs**2) -> EngineChoice:
        inputs, labels = batch_of(SHAPE)
        function = gradient_of(model, SHAPE)

        def maps(found: Attribution) -> Any:
            return np.abs(np.reshape(found.gradients, (-1, *SHAPE)))

        kept = memory(self._folder, wanted=wanted)
        return choose_engine(wanted, function, maps, inputs, labels, memory=kept)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counting:
    pytest.importorskip("openvino")
    return Counting(monkeypatch, tmp_path)


@pytest.mark.parametrize("wanted", [AUTO, EngineSpec("openvino", threads=1)])
def test_engines_are_compared_once(wanted: EngineSpec, counting: Counting) -> None:
    first = counting.choose(wanted)
    assert (first.spec.name, counting.compared) == ("openvino", 1)
    second = counting.choose(wanted)
    assert counting.compared == 1
    assert (second.spec, second.agreement) == (first.spec, first.agreement)
    said = "engines were compared on 1970-01-01, in an earlier run of the same"
    assert second.notes == (*first.notes, said)


@pytest.mark.parametrize(("wanted", "kept"), [(AUTO, 0), (EngineSpec("openvino", threads=1), 1)])
def test_speeds_of_a_busy_machine_are_not_remembered(
    wanted: EngineSpec,
    kept: int,
    counting: Counting,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: ((os.cpu_count() or 1) + 1.1, 0.0, 0.0))
    assert counting.choose(wanted).spec.name == "openvino"
    assert len(list(tmp_path.rglob("*.choice"))) == kept


def test_the_reference_by_name_is_compared_with_nothing(counting: Counting, tmp_path: Path) -> None:
    counting.choose(EngineSpec(threads=1))
    assert counting.compared == 0
    assert not list(tmp_path.iterdir())


def test_a_batch_that_cannot_be_explained_is_tried_again(
    counting: Counting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(selection._Comparison, "_maps", fail)
        assert counting.choose(AUTO).spec.name == "tensorflow"
    assert not list(tmp_path.iterdir())
    assert counting.choose(AUTO).spec.name == "openvino"


def test_an_engine_that_finds_no_room_for_its_files_is_tried_again(
    counting: Counting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
        found = counting.choose(AUTO)
        assert found.spec.name == "tensorflow"
        [note] = found.notes
        assert note.startswith(
            "openvino is not used: its graph cannot be written to a temporary file ("
        )
        assert note.endswith("): let TMPDIR name a folder with room for it")
    assert not list(tmp_path.rglob("*.choice"))
    assert counting.choose(AUTO).spec.name == "openvino"
