"""Whole runs on a file system that fails: the same atlas, or a clean error; never a wrong atlas."""

from __future__ import annotations

import collections
import dataclasses
import errno
import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.utils import retry
from faulty_files import OPERATIONS, PLAN, SCHEME, local
from small_dataset import MakeConfig
from small_dataset import atlas_bytes as files_of

from pipeline.commands.run import run
from pipeline.run.in_memory import run_in_memory
from pipeline.run.progress import Progress
from transforms.errors import RunError
from transforms.filesystems import BeamStorage
from transforms.models.loading import load_model
from transforms.saliency.attribution import AttributionFunction
from transforms.saliency.engines.engine import CompiledAttribution, EngineSpec, try_compile
from transforms.storage import LocalStorage

RUNNER = ["--runner=FnApiRunner"]
RunIn = Callable[..., dict[str, Any]]


def atlas_bytes(root: Path) -> dict[str, bytes]:
    """What counts of an atlas: a run whose storage fails to the last may leave what is its own."""
    own = (".lease-", ".temporary/")
    return {name: data for name, data in files_of(root).items() if not name.startswith(own)}


@pytest.fixture(autouse=True)
def _quick_and_clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(retry.Clock, "sleep", lambda *_: None)
    PLAN.reset()
    yield
    PLAN.reset()


@pytest.fixture(scope="module", autouse=True)
def _one_model() -> Iterator[None]:
    """Loads and compiles once: the model is on a sound disk, and the same in all runs here."""
    loaded = functools.lru_cache(lambda spec: load_model(spec, LocalStorage()))
    compiled: dict[EngineSpec, CompiledAttribution] = {}

    def compile_once(function: AttributionFunction, spec: EngineSpec) -> CompiledAttribution:
        if spec not in compiled:
            compiled[spec] = try_compile(function, spec)
        return compiled[spec]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.run.load.load_model", lambda spec, _: loaded(spec))
        patch.setattr("transforms.saliency.engines.selection.try_compile", compile_once)
        yield


@pytest.fixture(scope="module")
def run_in(config_at: MakeConfig, tfrecords: Path, _one_model: None) -> RunIn:
    """Runs into a folder, all inputs and outputs through the faulty file system."""

    def start(root: Path, mode: Any = "new", with_beam: bool = False) -> dict[str, Any]:
        config = config_at(f"{SCHEME}://{root}")
        pattern = {"pattern": f"{SCHEME}://{tfrecords}/*.tfrecord"}
        config = config_at(config.output.path, source=config.as_dict()["source"] | pattern)
        if with_beam:
            return run(config, mode, RUNNER, Progress(None))
        return run_in_memory(config, mode, BeamStorage())

    return start


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """A run without a fault: its atlas, and how often it called each operation."""

    files: dict[str, bytes]
    calls: collections.Counter[str]


@pytest.fixture(scope="module")
def undisturbed(run_in: RunIn, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    root = tmp_path_factory.mktemp("undisturbed") / "atlas"
    PLAN.reset()
    run_in(root)
    assert all(PLAN.calls[operation] >= 2 for operation in OPERATIONS), PLAN.calls
    return Undisturbed(atlas_bytes(root), PLAN.calls)


@pytest.fixture
def expected(undisturbed: Undisturbed) -> dict[str, bytes]:
    return undisturbed.files


def test_faults_that_pass_leave_no_trace(
    run_in: RunIn, expected: dict[str, bytes], tmp_path: Path
) -> None:
    wrong, faults = [], 0
    plans = [
        (operations, every, error, late)
        for operations, every in [((operation,), 3) for operation in OPERATIONS] + [(OPERATIONS, 7)]
        for error, late in [
            (ConnectionResetError("reset"), False),
            (TimeoutError("no answer"), False),
            (OSError(errno.EIO, "a device error"), True),
        ]
        # Lost answers of questions are questions that failed.
        if not late or {"read", "write", "rename"} & set(operations)
    ]
    for number, (operations, every, error, late) in enumerate(plans):
        root = tmp_path / f"atlas-{number}"
        PLAN.reset(operations, every, error, late)
        run_in(root, with_beam=operations == OPERATIONS)
        faults += PLAN.failed
        if atlas_bytes(root) != expected:
            wrong.append((operations, every, error, late))
        shutil.rmtree(root)
    assert not wrong
    assert faults > 5 * len(plans)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_faults_that_last_are_clean_errors_and_a_resume_finishes(
    operation: str, run_in: RunIn, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    calls, expected = undisturbed.calls[operation], undisturbed.files
    # The last listings are of rubbish, which may stay.
    late = calls // 3 if operation == "list" else calls * 3 // 4
    for number, after in enumerate((0, calls // 2, late)):
        root = tmp_path / f"atlas-{number}"
        PLAN.reset((operation,), 1, ConnectionResetError("gone for good"), after=after)
        with pytest.raises((RunError, OSError), match="gone for good"):
            run_in(root)
        left = atlas_bytes(root) if root.exists() else {}
        final = {name: data for name, data in left.items() if not name.startswith(".")}
        assert final.items() <= expected.items()
        PLAN.reset()
        run_in(root, "resume")
        assert atlas_bytes(root) == expected


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_a_full_or_closed_disk_names_shard_block_and_path(
    number: int, run_in: RunIn, expected: dict[str, bytes], tmp_path: Path
) -> None:
    root = tmp_path / "atlas"
    PLAN.reset(("write",), 1, OSError(number, os.strerror(number)), after=4)
    with pytest.raises(RunError) as raised:
        run_in(root, with_beam=True)
    message = str(raised.value)
    assert message.count("\n") == 0
    assert os.strerror(number) in message
    assert f"{root}/maps/data-" in message
    assert ".tfrecord cannot be committed to" in message
    assert "block " in message
    assert "--resume" in message
    assert PLAN.failed <= 2  # not tried again: the one failure, and that of a block beside it
    PLAN.reset()
    run_in(root, "resume")
    assert atlas_bytes(root) == expected


def test_a_shard_that_cannot_be_read_on_is_named_with_its_block(
    run_in: RunIn, tmp_path: Path
) -> None:
    run_in(tmp_path / "expected", with_beam=True)
    # The last read but one finds the end of the last shard; preparing has read them all before.
    PLAN.reset(("read",), 1, after=PLAN.calls["read"] - 4)
    with pytest.raises(RunError, match=r"data-\d.tfrecord cannot be read .*reset.*--resume"):
        run_in(tmp_path / "atlas", with_beam=True)


def test_a_reader_that_fails_half_way_reads_the_same_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    (tmp_path / "file").write_bytes(data)
    PLAN.reset(("read", "open"), 2)
    with BeamStorage().open(f"{SCHEME}://{tmp_path}/file") as file:
        pieces = [file.read(100_003) for _ in range(20)]
        place = file.tell()
        file.seek(17)
        again = file.read(100)
        file.seek(-5, 2)
        end = file.read()
    assert b"".join(pieces) == data[: 20 * 100_003]
    assert (place, again, end) == (20 * 100_003, data[17:117], data[-5:])
    assert PLAN.failed > 3


def test_what_is_left_is_not_taken_for_what_was_to_be_written(tmp_path: Path) -> None:
    """A rename that fails for good beside an older file of the same name is a failure."""
    path = f"{SCHEME}://{tmp_path}/file"
    folder = f"{SCHEME}://{tmp_path}/temporary"
    BeamStorage().make_folder(folder)
    BeamStorage().replace(f"{folder}/x", path, b"old")
    PLAN.reset(("rename",), 1)
    with pytest.raises(OSError, match="reset"):
        BeamStorage().replace(f"{folder}/x", path, b"new")
    assert Path(local(path)).read_bytes() == b"old"
