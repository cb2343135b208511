"""What cannot be audited is said in one sentence, word for word, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from config_file import refusal
from simulated_atlas import fake_rows, write_atlas

from pipeline import cli
from pipeline.atlas import Atlas
from pipeline.audit.comparable import other_statistics
from pipeline.config.keys import load_audit
from transforms.errors import ConfigurationError

GATE = {"name": "corners", "statistic": "corner_energy_mean", "below": 0.2}


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """Writes a file with the section `audit` alone; returns its path."""

    def write(**section: Any) -> str:
        path = tmp_path / "audit.yaml"
        path.write_text(yaml.safe_dump({"audit": section}))
        return str(path)

    return write


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = cli.main(["audit", *arguments])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (
            {"statistic": "corner_enrgy_mean", "below": 1},
            "gate 'corner_enrgy_mean': there is no statistic 'corner_enrgy_mean' that has an "
            "interval: did you mean corner_energy_mean?",
        ),
        (
            {"statistic": "corner_energy_std", "below": 1},
            "gate 'corner_energy_std': there is no statistic 'corner_energy_std' that has an "
            "interval: did you mean corner_energy_q95?",
        ),
        (
            {**GATE, "where": {"class": "clas 1"}},
            "gate 'corners': there is no class 'clas 1': did you mean class 1?",
        ),
        (
            {**GATE, "where": {"class": 7}},
            "gate 'corners': there is no class '7': there are class 0, class 1",
        ),
        (
            {**GATE, "where": {"slice": {"camra": "A"}}},
            "gate 'corners': there is no slice 'camra': did you mean camera?",
        ),
        (
            {**GATE, "where": {"slice": {"camera": "C"}}},
            "gate 'corners': there is no value of camera 'C': there are A, B",
        ),
        (
            {"statistic": "drift", "below": 1},
            "gate 'drift' compares with another atlas: give it by --baseline",
        ),
        (
            {"statistic": "entropy_mean", "change": {"within": 1}},
            "gate 'entropy_mean' compares with another atlas: give it by --baseline",
        ),
        (
            {"statistic": "failed_fraction", "below": 1, "where": {"class": 1}},
            "gate 'failed_fraction': failed_fraction is about the whole atlas, as what failed has "
            "no class: leave out where",
        ),
    ],
)
def test_a_gate_on_what_is_not_there(
    tmp_path: Path, config: Any, capsys: Any, gate: dict[str, Any], said: str
) -> None:
    path = write_atlas(tmp_path / "a", fake_rows(2, 60))
    assert run(capsys, path, "--config", config(gates=[gate])) == (2, f"error: {said}\n")
    assert not (tmp_path / "a/audit").exists()


def test_a_region_of_the_baseline_that_is_another_one(
    tmp_path: Path, config: Any, capsys: Any
) -> None:
    rows = fake_rows(2, 60)

    def write(name: str, **regions: Any) -> str:
        explain = {"method": "saliency", "reducer": "max"}
        settings = {"explain": explain, "statistics": {"regions": regions}}
        return write_atlas(tmp_path / name, rows, settings=settings)

    top, half = [[0.0, 0.0, 0.1, 1.0]], [[0.0, 0.0, 0.5, 1.0]]
    path, baseline = write("a", same=top, top=top, mine=top), write("b", same=top, top=half)
    assert other_statistics(Atlas.open(path), Atlas.open(baseline)) == {"top_energy"}
    gate = {"name": "header", "statistic": "top_energy_mean", "change": {"within": 0.1}}
    code, said = run(capsys, path, "--config", config(gates=[gate]), "--baseline", baseline)
    assert (code, said) == (
        2,
        "error: gate 'header': top_energy_mean is about another place in the baseline "
        f"{baseline}: give one made with the same statistics.regions, and the same "
        "source.features.mask or boxes\n",
    )


@pytest.mark.parametrize(
    ("section", "lines"),
    [
        (
            {"gates": [GATE, {**GATE, "below": 0.3}]},
            ["audit.gates[1] and audit.gates[0] are both named 'corners': give one of them "
             "another name"],
        ),
        (
            {
                "gates": [GATE],
                "waivers": [{"gate": "cornrs", "until": "2026-02-30", "reason": "x"}],
            },
            [
                "audit.waivers[0].gate is 'cornrs', which is no gate: did you mean corners?",
                "audit.waivers[0].until is '2026-02-30': there is no such day",
            ],
        ),
        (
            {"gates": [{"statistic": "a_mean", "between": [0.5, 0.2]}]},
            ["audit.gates[0].between is [0.5, 0.2]: the first number must be below the second"],
        ),
        (
            {"gates": [{**GATE, "above": 0.1}, {"statistic": "accuracy"}]},
            [
                "audit.gates[0] has below and above: give one of below, above, between, change",
                "audit.gates[1] has none of them: give one of below, above, between, change",
            ],
        ),
        (
            {"gates": [{"statistic": "drift", "change": {"within": 0.1}}]},
            ["audit.gates[0].change is without meaning for drift, a change itself: use below"],
        ),
        (
            {"gates": [{**GATE, "belw": 0.1}]},
            ["unknown key audit.gates[0].belw: did you mean below?"],
        ),
        (
            {"gates": [GATE, {**GATE, "below": "0.1"}]},
            ['audit.gates[1].below is "0.1": it must be a number that the statistic has to be '
             "below"],
        ),
        (
            {"gates": [{"below": 0.1}]},
            [
                "audit.gates[0].statistic is missing: it must be a mean or a quantile of "
                "classes.parquet such as border_energy_mean, or accuracy, failed_fraction, "
                "undefined_fraction or drift"
            ],
        ),
        (
            {"gates": [{**GATE, "where": {"slice": {"camera": "A", "year": 1}}}]},
            [
                'audit.gates[0].where.slice is {"camera": "A", "year": 1}: it must be the name of '
                "a slice for each of its values, {NAME: VALUE}, {NAME: [VALUE, ...]}, or null for "
                "whole classes"
            ],
        ),
        (
            {"gates": [{**GATE, "where": {"clas": 1}}]},
            ["unknown key audit.gates[0].where.clas: did you mean class?"],
        ),
        ({"gates": 4}, ["audit.gates is 4: it must be a list of gates"]),
        ({"min_n": 0}, ["audit.min_n is 0: it must be an integer of at least 1"]),
        ({"confidence": 1}, ["audit.confidence is 1: it must be a number between 0 and 1"]),
    ],
)  # fmt: skip
def test_a_section_that_is_wrong(config: Any, section: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_audit(config(**section))
    assert str(raised.value).splitlines() == lines


def test_a_configuration_without_gates(tmp_path: Path, capsys: Any) -> None:
    path = write_atlas(tmp_path / "a", fake_rows(2, 60))
    code, said = run(capsys, path)
    assert code == 2
    assert said.startswith("error: the configuration has no audit.gates: add a section such as")
    other = tmp_path / "run.yaml"
    other.write_text("source: {}\n")
    code, said = run(capsys, path, "--config", str(other))
    assert code == 2
    assert said.startswith(f"error: {other} has no section audit: add one such as")


def test_the_runs_own_section_is_used_unless_another_is_given(
    tmp_path: Path, config: Any, capsys: Any
) -> None:
    own = {"audit": {"gates": [GATE]}}
    path = write_atlas(tmp_path / "a", fake_rows(2, 60), config=own)
    assert run(capsys, path) == (0, "")
    strict = config(gates=[{**GATE, "below": 0.01}])
    assert run(capsys, path, "--config", strict)[0] == 1
    assert run(capsys, path, "--config", strict, "--set", "audit.min_n=61")[0] == 0
    code, said = run(capsys, path, "--set", "audit.min_n=61")
    assert (code, said) == (
        2,
        "error: --set changes the configuration of --config, which is not given\n",
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("incomplete", "is incomplete: complete it with saliency-atlas run CONFIG --resume"),
        ("failed", "has failed: more is broken than failures allows, mend it and run --resume"),
    ],
)
def test_an_atlas_that_is_not_whole(
    tmp_path: Path, config: Any, capsys: Any, status: str, said: str
) -> None:
    path = write_atlas(tmp_path / "a", fake_rows(2, 60), status=status)
    whole = write_atlas(tmp_path / "b", fake_rows(2, 60))
    gates = config(gates=[GATE])
    assert run(capsys, path, "--config", gates) == (3, f"error: the atlas {path} {said}\n")
    assert run(capsys, whole, "--config", gates, "--baseline", path)[0] == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"settings": {"explain": {"method": "smoothgrad", "reducer": "max"}}},
            "has explain.method smoothgrad, the atlas saliency",
        ),
        (
            {"settings": {"explain": {"method": "saliency", "reducer": "mean"}}},
            "has explain.reducer mean, the atlas max",
        ),
    ],
)
def test_a_baseline_whose_maps_mean_something_else(
    tmp_path: Path, config: Any, capsys: Any, change: dict[str, Any], said: str
) -> None:
    path = write_atlas(tmp_path / "a", fake_rows(2, 60))
    other = write_atlas(tmp_path / "b", fake_rows(2, 60), **change)
    code, message = run(capsys, path, "--config", config(gates=[GATE]), "--baseline", other)
    assert code == 2
    assert message == (
        f"error: the baseline {other} {said}: their maps do not compare; give a baseline made with "
        "the same one\n"
    )


def test_no_labels_have_no_accuracy(tmp_path: Path, config: Any, capsys: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = write_atlas(tmp_path / "a", fake_rows(2, 60))
    file = tmp_path / "a/statistics/classes.parquet"
    table = pq.read_table(file)
    place = table.column_names.index("n_correct")
    unknown = pa.array([None] * len(table), pa.int64())
    pq.write_table(table.set_column(place, table.schema.field("n_correct"), unknown), file)
    gates = config(gates=[{"statistic": "accuracy", "above": 0.5}])
    code, said = run(capsys, path, "--config", gates)
    assert code == 2
    assert said.startswith(
        "error: gate 'accuracy': there is no accuracy, as the atlas has no labels"
    )


def test_tables_of_an_older_version_are_named(tmp_path: Path, config: Any, capsys: Any) -> None:
    path = write_atlas(tmp_path / "a", fake_rows(2, 60))
    (tmp_path / "a/statistics/slices.parquet").unlink()
    gates = config(gates=[{**GATE, "where": {"slice": "camera"}}])
    code, said = run(capsys, path, "--config", gates)
    assert (code, said) == (
        2,
        f"error: the atlas {path} has no statistics/slices.parquet: saliency-atlas summarize makes "
        "it\n",
    )


def test_what_nothing_is_judged_by_is_no_pass(tmp_path: Path, config: Any, capsys: Any) -> None:
    """Each class has one camera, so a gate about another camera of it has no groups."""
    rows = fake_rows(2, 60)
    rows["camera"] = np.where(rows["target"] == 0, "A", "B").astype(object)
    path = write_atlas(tmp_path / "a", rows)
    where = {"class": 1, "slice": {"camera": "A"}}
    code, said = run(capsys, path, "--config", config(gates=[{**GATE, "where": where}]))
    assert code == cli.CONFIGURATION_ERROR
    assert said == (
        f"error: gate 'corners' has nothing to judge: no example of {path} is of what where names: "
        "name another class or value, or leave the gate out\n"
    )
    assert not (Path(path) / "audit").exists()


def test_a_waiver_for_no_class(tmp_path: Path, config: Any, capsys: Any) -> None:
    path = write_atlas(tmp_path / "a", fake_rows(2, 60))
    waiver = {"gate": "corners", "class": "class 9", "until": "2099-01-01", "reason": "x"}
    code, said = run(capsys, path, "--config", config(gates=[GATE], waivers=[waiver]))
    assert code == 2
    assert said == (
        "error: the waiver of gate 'corners': there is no class 'class 9': did you mean class 1?\n"
    )


def test_no_atlas(tmp_path: Path, config: Any, capsys: Any) -> None:
    code, said = run(capsys, str(tmp_path), "--config", config(gates=[GATE]))
    assert code == 2
    assert said.startswith(f"error: {tmp_path} is no atlas")


def test_a_file_with_audit_alone_is_no_configuration_of_a_run(config: Any) -> None:
    assert refusal(config(gates=[])).splitlines()[0].startswith("source is missing")


def test_what_nobody_foresaw_is_no_failed_gate(
    tmp_path: Path, config: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_atlas(tmp_path / "a", fake_rows(2, 60))
    monkeypatch.setattr("pipeline.commands.audit.audit", lambda *_, **__: 1 / 0)
    code, said = run(capsys, path, "--config", config(gates=[GATE]))
    assert code == 3
    assert "ZeroDivisionError" in said
