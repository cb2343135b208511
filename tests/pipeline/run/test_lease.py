"""Two runs and one atlas: at most one works on it, whatever the order of their steps."""

from __future__ import annotations

import dataclasses
import fnmatch
import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_dataset import MakeConfig, atlas_bytes

from pipeline.commands.summarize import summarize
from pipeline.run import lease as leases
from pipeline.run.in_memory import run_in_memory
from pipeline.run.lease import EXPIRY_SECONDS, Lease, check_unclaimed, claim, claimed, process_mark
from transforms.errors import ConfigurationError, RunError
from transforms.storage import FileEntry, LocalStorage
from transforms.store.lease_file import check_lease, lease_path

STORAGE = LocalStorage()


def a_lease(run: str = "one", **fields: Any) -> Lease:
    defaults: dict[str, Any] = {
        "held": True, "host": "elsewhere", "pid": 7, "process": "", "since": 0.0, "renewed": 1000.0
    }  # fmt: skip
    return Lease(run=run, **defaults | fields)


def write(atlas: Path, lease: Lease) -> None:
    path = Path(lease_path(str(atlas), lease.run))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(lease)))


def here(run: str, pid: int, process: str) -> Lease:
    return a_lease(run, host=os.uname().nodename, pid=pid, process=process, renewed=0.0)


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
        mark = process_mark(process.pid)
        write(tmp_path, here("other", process.pid, mark))
        with pytest.raises(ConfigurationError, match=f"process {process.pid} on"):
            check_unclaimed(str(tmp_path), STORAGE)
        process.kill()
        process.wait()
        check_unclaimed(str(tmp_path), STORAGE)
    with claimed(str(tmp_path), "next", STORAGE):
        assert [path.name for path in tmp_path.iterdir()] == [".lease-next.json"]


def test_another_process_of_the_same_number_is_another(tmp_path: Path) -> None:
    namespace = process_mark(os.getpid()).partition(" ")[0]
    write(tmp_path, here("reused", os.getpid(), f"{namespace} 1"))
    check_unclaimed(str(tmp_path), STORAGE)


def test_what_a_run_of_this_process_could_not_delete_is_dead(tmp_path: Path) -> None:
    write(tmp_path, here("failed", os.getpid(), process_mark(os.getpid())))
    (tmp_path / ".lease-failed.json.temporary").write_bytes(b"{")
    with claimed(str(tmp_path), "next", STORAGE):
        assert [path.name for path in tmp_path.iterdir()] == [".lease-next.json"]


def test_on_another_machine_a_run_is_dead_when_its_lease_expires(tmp_path: Path) -> None:
    write(tmp_path, a_lease(renewed=1000.0))
    with pytest.raises(ConfigurationError, match="process 7 on elsewhere, since 1970-01-01"):
        check_unclaimed(str(tmp_path), STORAGE, now=1000.0 + EXPIRY_SECONDS)
    check_unclaimed(str(tmp_path), STORAGE, now=1001.0 + EXPIRY_SECONDS)


def steps_of(run: str, files: dict[str, bytes], outcome: dict[str, bool]) -> Generator[None]:
    """A claim that stops before each operation of its storage, so that others come between."""
    asked: queue.Queue[bool] = queue.Queue()
    allowed: queue.Queue[None] = queue.Queue()

    class Stepping(LocalStorage):
        def _step(self) -> None:
            asked.put(True)
            allowed.get()

        def replace(self, _: str, path: str, data: bytes | memoryview) -> None:
            self._step()
            files[path] = bytes(data)

        def match(self, pattern: str) -> list[Any]:
            self._step()
            return [FileEntry(path, 1) for path in sorted(files) if fnmatch.fnmatch(path, pattern)]

        def open(self, path: str) -> BinaryIO:
            self._step()
            if path not in files:
                raise FileNotFoundError(path)
            return io.BytesIO(files[path])

        def delete(self, path: str) -> None:
            self._step()
            files.pop(path, None)

    def work() -> None:
        try:
            claim("/atlas", a_lease(run, held=False), Stepping(), lambda: 1000.0, lambda _: None)
            outcome[run] = True
        except ConfigurationError:
            outcome[run] = False
        finally:
            asked.put(False)

    thread = threading.Thread(target=work)
    thread.start()
    while asked.get():
        yield
        allowed.put(None)
    thread.join()


@given(order=st.lists(st.integers(0, 2), max_size=60))
def test_of_runs_that_start_at_once_at_most_one_holds_the_atlas(order: list[int]) -> None:
    files: dict[str, bytes] = {}
    outcome: dict[str, bool] = {}
    runs = [steps_of(f"run-{number}", files, outcome) for number in range(3)]
    for number in order:
        next(runs[number], None)
    for run in runs:
        for _ in run:
            pass
    assert len(outcome) == 3
    held = [run for run, holds in outcome.items() if holds]
    assert len(held) == 1  # the last one that is left alone gets it, if none has before
    assert sorted(files) == [lease_path("/atlas", held[0])]


def test_a_lease_is_renewed_until_it_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 5000.0)
    write(tmp_path, a_lease("mine"))
    path = tmp_path / ".lease-mine.json"
    seen = []

    def wait(seconds: float) -> bool:
        seen.append(seconds)
        if len(seen) == 2:
            assert json.loads(path.read_text())["renewed"] == 5000.0
            path.unlink()
        return len(seen) > 5

    leases.renew(str(tmp_path), a_lease("mine"), STORAGE, wait)
    assert seen == [leases.RENEWAL_SECONDS] * 2
    assert not path.exists()


def test_a_lease_that_was_not_renewed_in_time_is_given_up(tmp_path: Path) -> None:
    write(tmp_path, a_lease("mine", renewed=1.0))
    clock = iter([0.0, EXPIRY_SECONDS / 2 + 1])
    leases.renew(str(tmp_path), a_lease("mine"), STORAGE, lambda _: False, lambda: next(clock))
    assert json.loads((tmp_path / ".lease-mine.json").read_text())["renewed"] == 1.0


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
                monkeypatch.setattr(Lease, "is_dead", lambda *_: True)
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
