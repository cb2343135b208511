"""How many threads a run computes with."""

from __future__ import annotations

import pytest
from small_dataset import MakeConfig

from pipeline.run.job import prepare
from transforms.storage import LocalStorage


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """What TensorFlow is asked for, on a machine with 8 cores."""
    asked: list[int | None] = []

    def configure(threads: int | None) -> int:
        asked.append(threads)
        return threads or 8

    monkeypatch.setattr("pipeline.run.load.configure_threads", configure)
    monkeypatch.setattr("pipeline.run.load.usable_cores", lambda: 8)
    return asked


@pytest.mark.parametrize(("processes", "threads"), [(1, None), (2, 4), (3, 2), (16, 1)])
def test_processes_share_the_cores(
    make_config: MakeConfig, wanted: list[int | None], processes: int, threads: int | None
) -> None:
    prepared = prepare(make_config(), LocalStorage(), "new", None, processes)
    assert wanted == [threads]
    assert prepared.job.explain.threads == (threads or 8)


def test_what_the_configuration_says_comes_first(
    make_config: MakeConfig, wanted: list[int | None]
) -> None:
    config = make_config(explain={"threads": 6})
    prepared = prepare(config, LocalStorage(), "new", None, processes=2)
    assert wanted == [6]
    assert prepared.job.publication.manifest.threads == 6
