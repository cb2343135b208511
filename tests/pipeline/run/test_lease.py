"""Two runs and one atlas: at most one works on it, whatever the order of their steps."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_dataset import MakeConfig, atlas_bytes

from pipeline.commands.summarize import summarize
from pipeline.run import lease as leases
from pipeline.run.in_memory import run_in_memory
from pipeline.run.lease import (
    EXPIRY_SECONDS,
    Clock,
    Lease,
    Watch,
    check_unclaimed,
    claim,
    claimed,
)
from transforms.errors import ConfigurationError, RunError
from transforms.process.identity import ProcessIdentity, process_start
from transforms.storage import LocalStorage
from transforms.store.lease_file import check_lease, lease_path, run_folder

STORAGE = LocalStorage()


ELSEWHERE = ProcessIdentity("elsewhere", "another boot", 7, "1")


def a_lease(run: str = "one", process: ProcessIdentity = ELSEWHERE, renewals: int = 1) -> Lease:
    return Lease(run, held=True, process=process, since=0.0, renewals=renewals)


def write(atlas: Path, lease: Lease) -> None:
    path = Path(lease_path(str(atlas), lease.run))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(lease)))


class Waiting:
    """A clock that passes by sleeping alone; what is to happen meanwhile happens then."""

    def __init__(self, *happens: Callable[[], object]) -> None:
        self.now = 0.0
        self._happens = list(happens)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self._happens:
            self._happens.pop(0)()

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)


def claim_another(atlas: str, storage: LocalStorage) -> None:
    with claimed(atlas, "second", storage):
        pass


def test_a_living_run_is_named_in_the_refusal(tmp_path: Path) -> None:
    with claimed(str(tmp_path / "atlas"), "first", STORAGE):
        for attempt in (check_unclaimed, claim_another):
            with pytest.raises(ConfigurationError) as raised:
                attempt(str(tmp_path / "atlas"), STORAGE)
            assert f"process {os.getpid()} on {os.uname().nodename}, since 20" in str(raised.value)
    check_unclaimed(str(tmp_path / "atlas"), STORAGE)
    assert [path.name for path in (tmp_path / "atlas").iterdir()] == []


def test_a_dead_process_is_seen_on_its_machine(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        pid = process.pid
        other = dataclasses.replace(ProcessIdentity.current(), pid=pid, started=process_start(pid))
        write(tmp_path, a_lease("other", other))
        for patient in (False, True):  # what is seen to live needs no watching
            with pytest.raises(ConfigurationError, match=f"process {pid} on .* wait for its end"):
                check_unclaimed(str(tmp_path), STORAGE, patient=patient, clock=Waiting().clock)
        process.kill()
        process.wait()
        check_unclaimed(str(tmp_path), STORAGE)
    with claimed(str(tmp_path), "next", STORAGE):
        assert leases_in(tmp_path) == [".lease-next.json"]


def leases_in(atlas: Path) -> list[str]:
    return sorted(path.name for path in atlas.iterdir() if path.name != ".temporary")


def test_another_process_of_the_same_number_is_another(tmp_path: Path) -> None:
    reused = dataclasses.replace(ProcessIdentity.current(), started="1")
    write(tmp_path, a_lease("reused", reused))
    check_unclaimed(str(tmp_path), STORAGE)


def test_a_machine_of_our_name_is_another_one(tmp_path: Path) -> None:
    """The first process namespace has the same number on every machine; the boot has not."""
    namespace = os.readlink("/proc/self/ns/pid")
    here = ProcessIdentity.current()
    for machine in (f"another-boot {namespace}", ""):
        write(tmp_path, a_lease("theirs", dataclasses.replace(here, machine=machine, pid=1 << 30)))
        with pytest.raises(ConfigurationError, match="--resume, --extend and --overwrite go on"):
            check_unclaimed(str(tmp_path), STORAGE)


def test_what_a_run_of_this_process_could_not_delete_is_dead(tmp_path: Path) -> None:
    write(tmp_path, a_lease("failed", ProcessIdentity.current()))
    STORAGE.make_folder(run_folder(str(tmp_path), "failed"))
    with claimed(str(tmp_path), "next", STORAGE):
        assert leases_in(tmp_path) == [".lease-next.json"]
        assert [path.name for path in (tmp_path / ".temporary").iterdir()] == ["next"]


def test_on_another_machine_a_run_is_dead_once_its_lease_was_watched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, a_lease())
    with pytest.raises(ConfigurationError, match="process 7 on elsewhere, since 1970-01-01"):
        check_unclaimed(str(tmp_path), STORAGE)
    waiting = Waiting()
    watch = check_unclaimed(str(tmp_path), STORAGE, patient=True, clock=waiting.clock)
    assert waiting.now == EXPIRY_SECONDS
    assert "watching for 300 s whether it is renewed" in caplog.text
    with claimed(str(tmp_path), "next", STORAGE, watch):  # what was seen once counts
        assert waiting.now == EXPIRY_SECONDS
        assert leases_in(tmp_path) == [".lease-next.json"]


def test_a_lease_that_is_renewed_while_it_is_watched_lives(tmp_path: Path) -> None:
    write(tmp_path, a_lease())
    waiting = Waiting(lambda: None, lambda: write(tmp_path, a_lease(renewals=2)))
    with pytest.raises(ConfigurationError, match="process 7 on elsewhere"):
        check_unclaimed(str(tmp_path), STORAGE, patient=True, clock=waiting.clock)
    assert waiting.now == 2 * leases.RENEWAL_SECONDS


def test_a_lease_that_ends_while_it_is_watched_is_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path, a_lease())
    waiting = Waiting(lambda: Path(lease_path(str(tmp_path), "one")).unlink())
    check_unclaimed(str(tmp_path), STORAGE, patient=True, clock=waiting.clock)
    assert waiting.now == leases.RENEWAL_SECONDS


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "one", "host": "a", "pid": 1}'])
def test_a_lease_that_cannot_be_read_is_watched_too(text: str, tmp_path: Path) -> None:
    (tmp_path / ".lease-one.json").write_text(text)
    with pytest.raises(ConfigurationError, match="process 0 on an unknown machine"):
        check_unclaimed(str(tmp_path), STORAGE)
    waiting = Waiting()
    check_unclaimed(str(tmp_path), STORAGE, patient=True, clock=waiting.clock)
    assert waiting.now == EXPIRY_SECONDS


def test_a_claim_that_slept_cannot_be_held_after_a_takeover(tmp_path: Path) -> None:
    """The first stops between its look at others and the word that it holds the atlas."""
    atlas, waiting = str(tmp_path), Waiting()
    first = Watch(atlas, STORAGE)
    look, taken = first.look, list[Lease]()

    def look_and_sleep(own: str | None = None) -> tuple[list[Lease], list[Lease]]:
        found = look(own)
        if not taken:
            second = Watch(atlas, STORAGE, patient=True, clock=waiting.clock)
            taken.append(claim(atlas, a_lease("2" * 32), STORAGE, second))
        return found

    first.look = look_and_sleep  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match="another run works on"):
        claim(atlas, a_lease("1" * 32), STORAGE, first)
    assert waiting.now > EXPIRY_SECONDS
    assert [lease.held for lease in taken] == [True]
    assert leases_in(tmp_path) == [f".lease-{'2' * 32}.json"]


def test_a_lease_is_renewed_until_it_is_lost(tmp_path: Path) -> None:
    STORAGE.make_folder(run_folder(str(tmp_path), "mine"))
    write(tmp_path, a_lease("mine"))
    path = tmp_path / ".lease-mine.json"
    seen = []

    def wait(seconds: float) -> bool:
        seen.append(seconds)
        if len(seen) == 3:
            assert json.loads(path.read_text())["renewals"] == 3
            path.unlink()
        return len(seen) > 5

    leases.renew(str(tmp_path), a_lease("mine"), STORAGE, wait)
    assert seen == [leases.RENEWAL_SECONDS] * 3
    assert not path.exists()


def test_a_lease_whose_run_was_swept_is_not_written_again(tmp_path: Path) -> None:
    folder = run_folder(str(tmp_path), "mine")
    STORAGE.make_folder(folder)
    write(tmp_path, a_lease("mine"))
    before = (tmp_path / ".lease-mine.json").read_bytes()
    STORAGE.delete(folder)
    leases.renew(str(tmp_path), a_lease("mine"), STORAGE, lambda _: False)
    assert (tmp_path / ".lease-mine.json").read_bytes() == before
    assert not Path(folder).exists()


def test_who_has_lost_the_lease_writes_nothing(tmp_path: Path) -> None:
    path = lease_path(str(tmp_path), "mine")
    check_lease(None, STORAGE)
    with pytest.raises(RunError, match="another run has taken over"):
        check_lease(path, STORAGE)
    write(tmp_path, a_lease("mine"))
    check_lease(path, STORAGE)


def test_a_run_that_is_taken_over_half_way_leaves_the_atlas_to_the_other(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is taken for dead at its third block; the second has another configuration."""
    root = tmp_path / "atlas"
    run_in_memory(make_config(output={"path": str(tmp_path / "expected"), "codec": "float16"}))
    commits = []

    class Overtaken(LocalStorage):
        def replace(self, temporary: str, path: str, data: bytes | memoryview) -> None:
            super().replace(temporary, path, data)
            commits.append(path)
            if sum("block-" in commit for commit in commits) == 3:
                monkeypatch.setattr(Lease, "is_gone", lambda *_: True)
                second = make_config(output={"path": str(root), "codec": "float16"})
                run_in_memory(second, "overwrite")

    with pytest.raises(RunError, match="another run has taken over"):
        run_in_memory(make_config(output={"path": str(root)}), storage=Overtaken())
    assert atlas_bytes(root) == atlas_bytes(tmp_path / "expected")


def test_two_runs_are_refused_or_resumed(make_config: MakeConfig, tmp_path: Path) -> None:
    root = tmp_path / "atlas"
    config = make_config(output={"path": str(root)})
    run_in_memory(config)
    expected = atlas_bytes(root)
    with claimed(str(root), "another", STORAGE):
        with pytest.raises(ConfigurationError, match="another run works on"):
            run_in_memory(config, "resume")
        with pytest.raises(ConfigurationError, match="another run works on"):
            summarize(str(root), STORAGE)
    run_in_memory(config, "resume")
    assert atlas_bytes(root) == expected
