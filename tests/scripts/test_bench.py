"""That the benchmark works, never what it measures."""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from benchmark import host, start
from benchmark import overhead as bench


def run(cpu: float, **figures: float) -> dict[str, float]:
    same = dict.fromkeys(("cpu_seconds", "process_cpu_seconds", "wall_seconds"), cpu)
    return {"examples": 8, "batch_size": 4, "examples_per_second": 1.0, **same, **figures}


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Makes measurements here: TensorFlow takes longer to import than what they measure."""

    def figures_of(
        program: Sequence[str], environment: Mapping[str, str], cores: int | None = None
    ) -> bench.Figures:
        assert cores in (None, 1)  # Which cores this process may use stays as it is.
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            is_module = program[0] == "-m"
            name, *given = program[1:] if is_module else program
            patch.setattr(sys, "argv", [name, *given])
            kept = capsys.readouterr().out
            (runpy.run_module if is_module else runpy.run_path)(name, run_name="__main__")
            printed = capsys.readouterr().out
        sys.stdout.write(kept)
        figures: bench.Figures = json.loads(printed.splitlines()[-1])
        return figures

    monkeypatch.setattr(bench, "figures_of", figures_of)
    monkeypatch.setattr(host, "figures_of", figures_of)
    monkeypatch.setattr(start, "figures_of", figures_of)


def test_figures_are_the_last_line_of_a_process_of_its_own() -> None:
    program = (
        "import json, os, sys; print('other words'); print(json.dumps({'given': sys.argv[1:], "
        "'process': os.getpid(), **{name: os.environ.get(name) for name in ('A', 'BENCH_CORES')}}))"
    )
    figures = bench.figures_of(["-c", program, "decode", "c.yaml"], {"A": "7"}, cores=2)
    assert figures.pop("process") != os.getpid()
    assert figures == {"given": ["decode", "c.yaml"], "A": "7", "BENCH_CORES": "2"}
    assert bench.figures_of(["-c", program], {})["BENCH_CORES"] is None


def test_a_measurement_that_fails_ends_the_benchmark_with_what_it_said() -> None:
    with pytest.raises(SystemExit, match=r"no such file\n\nerror: the measurement -c .* failed"):
        bench.figures_of(["-c", "raise SystemExit('no such file')"], {})


def test_ratios_are_medians_of_rounds_not_ratios_of_medians() -> None:
    runs = {"pipeline": [run(2.0), run(30.0), run(9.0)], "bare": [run(1.0), run(10.0), run(9.0)]}
    compared = bench.compare(runs)
    assert compared["cpu_ratio"] == 2.0  # of 2, 3 and 1
    assert compared["pipeline_cpu_seconds"] == 9.0


def test_kinds_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str, int | None]] = []

    def measure(name: str, config: str, *, cores: int | None = None) -> dict[str, float]:
        calls.append((name, config, cores))
        return {}

    monkeypatch.setattr(bench, "measure", measure)
    runs = bench.interleave(2, cores={"one": 1}, one=["a"], bare=["b"])
    assert calls == [("pipeline", "a", 1), ("bare", "b", None)] * 2
    assert runs == {"one": [{}, {}], "bare": [{}, {}]}


def test_every_figure_has_a_row() -> None:
    report = {"machine": {}, "plan": {"run_seconds": 1.25}, "overhead": {"few": {"examples": 3}}}
    assert bench.table(report) == [
        ("overhead: few, examples", "3"),
        ("plan: run seconds", "1.250"),
    ]


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench.parse_arguments(["--only", "overhead,speed"])
    assert "--only speed: choose of overhead, small_model" in capsys.readouterr().err


@pytest.mark.usefixtures("in_this_process")
def test_a_quick_benchmark_ends_with_a_table_and_a_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "bench.json"
    assert bench.main(["--quick", "--only", "overhead,report", "--json", str(document)]) == 0
    printed = capsys.readouterr().out
    report = json.loads(document.read_text())
    assert report["machine"]["cores"] >= 1
    assert report["overhead"]["few"]["examples"] == 16
    assert report["overhead"]["many"]["examples"] == 40
    assert {"cpu_ratio", "cpu_ratio_with_start_up"} <= set(report["overhead"]["many"])
    assert report["report"]["examples"] == 24
    assert report["report"]["thumbnail_bytes"] > 100
    assert report["report"]["report_kib"] > 30
    assert "overhead: memory growth mib" in printed


def test_the_hosts_figures_are_medians_of_rounds() -> None:
    def round_of(rate: float, cpu: float, few_cpu: float) -> dict[str, Any]:
        seconds = {"cpu_seconds": cpu, "busiest_thread_seconds": cpu / 4}
        few = {"examples": 25, "wall_seconds": 0.75, "cpu_seconds": few_cpu}
        rates = {"examples_per_second": rate, "wall_seconds": 100 / rate}
        return {"examples": 100, **rates, **seconds, "few": few}

    runs = {
        1: [round_of(10, 0.2, 0.1), round_of(20, 0.4, 0.1), round_of(30, 0.6, 0.1)],
        2: [round_of(20, 0.3, 0.1), round_of(38, 0.4, 0.1), round_of(30, 0.5, 0.1)],
    }
    steps = [
        {"read": 1.0, "checksum": 2.0, "parse": 3.0, "decode": 9.0, "rows": 4.0},
        {"read": 3.0, "checksum": 2.0, "parse": 3.0, "decode": 7.0, "rows": 4.0},
        {"read": 2.0, "checksum": 2.0, "parse": 3.0, "decode": 8.0, "rows": 4.0},
    ]
    summary = host.summarize(runs, steps)
    assert summary["cores"]["2"] == {
        "images_per_second": 30,
        "times_of_fewest_cores": 1.9,
        "cpu_us": pytest.approx(4000),
        "busiest_thread_us": pytest.approx(1000),
        # 75 images more in 4.25, 1.88 and 2.58 s more; on one core in 9.25, 4.25 and 2.58.
        "fixed_seconds": pytest.approx(0.75 - 25 * (100 / 30 - 0.75) / 75),
        "beyond_fixed": {
            "images_per_second": pytest.approx(75 / (100 / 30 - 0.75)),
            "times_of_fewest_cores": pytest.approx(9.25 / 4.25),
            "cpu_us": pytest.approx(4000),
        },
    }
    assert summary["steps_us"]["decode"] == 8.0
    assert summary["steps_sum_us"] == 19.0
    assert summary["beyond_decoding_us"] == pytest.approx(4000 - 15)


@pytest.mark.usefixtures("in_this_process")
def test_a_small_benchmark_of_the_host_ends_with_a_document(tmp_path: Path) -> None:
    document = tmp_path / "host.json"
    sizes = ["--side", "32", "--images", "24", "--batch-size", "4", "--block-size", "8"]
    given = [*sizes, "--cores", "1", "--repeats", "1", "--json", str(document)]
    assert host.main(given) == 0
    report = json.loads(document.read_text())
    assert report["cores"]["1"]["cpu_us"] > 0
    assert set(report["steps_us"]) == {
        *("read", "checksum", "parse", "decode", "rows", "gini", "encode", "commit", "aggregate"),
    }


def test_a_starts_figures_are_medians_of_rounds_beside_the_import_of_the_same_round() -> None:
    def round_of(cpu: float, **steps: float) -> dict[str, object]:
        return {"cpu_seconds": cpu, "wall_seconds": 2 * cpu, "steps": steps}

    runs = {
        "import": [round_of(1.0), round_of(5.0), round_of(2.0)],
        "again": [round_of(3.0, a=1.0, b=2.0), round_of(6.0, a=4.0, b=2.0), round_of(7.0, a=7.0)],
    }
    assert start.summarize(runs) == {
        "import": {"cpu_seconds": 2.0, "wall_seconds": 4.0},
        "again": {
            "cpu_seconds": 6.0,
            "wall_seconds": 12.0,
            "cpu_seconds_beyond_import": 2.0,
            "wall_seconds_beyond_import": 4.0,
            "cpu_seconds_by_step": {"a": 4.0, "b": 2.0},
        },
    }


@pytest.mark.usefixtures("in_this_process")
def test_a_quick_benchmark_of_a_start_ends_with_a_document(tmp_path: Path) -> None:
    document = tmp_path / "start.json"
    assert start.main(["--quick", "--engine", "tensorflow", "--json", str(document)]) == 0
    report = json.loads(document.read_text())
    for kind in ("first", "again"):
        steps = report[kind]["cpu_seconds_by_step"]
        assert {"loading the model", "compiling", "explaining the first examples"} <= steps.keys()
        assert sum(steps.values()) == pytest.approx(report[kind]["cpu_seconds"], abs=0.01)
    assert report["import"]["cpu_seconds"] > 0
