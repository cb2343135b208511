"""Whatever the order of their steps, one run at a time writes into an atlas, and only its own."""

from __future__ import annotations

import logging

import pytest
from two_launchers import Exploration, Found, Launcher

from pipeline.run import lease as leases
from transforms.process.identity import ProcessIdentity
from transforms.storage import LocalStorage


@pytest.fixture(autouse=True)
def _quiet_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    here = ProcessIdentity("here", "this boot", 1, "1")
    monkeypatch.setattr(ProcessIdentity, "current", lambda: here)
    logging.getLogger(leases.__name__).setLevel(logging.ERROR)


def explore(count: int, switches: int, renewals: int = 1) -> Found:
    """Clocks are eleven days apart from one another."""
    launchers = [Launcher(number, 1e6 * number, renewals) for number in range(count)]
    return Exploration(launchers, switches).run(limit=10**6)


def test_of_two_launchers_one_writes_at_a_time_and_no_atlas_is_mixed() -> None:
    found = explore(2, switches=2)
    assert found.violations == []
    # Each way of ending was seen, among them that one wakes up after the other has taken over.
    assert found.outcomes >= {
        ("finished", "finished"),
        ("finished", "lost"),
        ("lost", "finished"),
        ("refused", None),
        (None, "refused"),
    }
    assert found.states > 50_000
    assert found.takeovers > 9_000


def test_of_three_launchers_one_writes_at_a_time() -> None:
    found = explore(3, switches=1)
    assert found.violations == []
    assert found.takeovers > 1000


@pytest.mark.parametrize(
    ("module", "name", "saying"),
    [
        ("pipeline.run.lease", "delete_run_folder", "may write at once"),
        ("transforms.store.files", "write_through", "has the blocks"),
        ("transforms.store.cleaning", "discard", "has the blocks"),
    ],
)
def test_an_exploration_finds_what_is_left_out(
    module: str, name: str, saying: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the sweep, the folder of a run's own, or the deletion by it, it goes wrong."""

    def write_anyway(_: str, __: str, path: str, data: bytes, storage: LocalStorage) -> None:
        file = storage._disk.create(path)
        storage._disk.write(file, memoryview(data))
        storage._disk.close(file)

    def nothing(*_: object) -> None:
        pass

    def delete_anyway(_: str, path: str, storage: LocalStorage, __: str) -> None:
        storage.delete(path)

    broken = {"delete_run_folder": nothing, "write_through": write_anyway}
    monkeypatch.setattr(f"{module}.{name}", broken.get(name, delete_anyway))
    found = explore(2, switches=2, renewals=0)
    assert any(saying in violation for violation in found.violations)
