"""Nothing is deleted that no run of ours has made."""

from __future__ import annotations

from pathlib import Path

import pytest

from transforms.errors import RunError
from transforms.filesystems import BeamStorage
from transforms.storage import LocalStorage, Storage
from transforms.store.cleaning import delete_atlas, delete_run_folder, sweep_temporary
from transforms.store.lease_file import run_folder

RUN, DEAD = "0" * 32, "d" * 32

OURS = (
    "manifest.json",
    "failures.parquet",
    "statistics/classes.parquet",
    "statistics/slices.parquet",
    "statistics/folds.parquet",
    "statistics/confusion.parquet",
    "maps/train-0-b7ad0922/block-00000.parquet",
    "maps/train-0-b7ad0922b7ad0922/block-123456.parquet",
    "maps/empty-b7ad0922/block-00001.parquet",
)
FOREIGN = (
    "notes.txt",
    "statistics/regions.csv",
    "maps/europe/berlin.geojson",
    "maps/europe/block-00000.parquet",
    "maps/block-00000.parquet",
    "maps/train-0-b7ad0922/notes.txt",
    "maps/train-0-b7ad0922/block-0.parquet",
    "maps/train-0-b7ad0922/deep/block-00000.parquet",
    ".temporary/draft.txt",
    ".temporary/mine/draft.txt",
)


@pytest.fixture(params=[LocalStorage(), BeamStorage()], ids=["local", "beam"])
def storage(request: pytest.FixtureRequest) -> Storage:
    chosen: Storage = request.param
    return chosen


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, storage: Storage) -> None:
    for name in (*OURS, *FOREIGN):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    storage.make_folder(run_folder(str(tmp_path), RUN))


def files_in(root: Path) -> set[str]:
    """What is there beside the run's own folder."""
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(f".temporary/{RUN}/")}


def test_an_atlas_is_deleted_and_what_is_beside_it_stays(storage: Storage, tmp_path: Path) -> None:
    delete_atlas(str(tmp_path), storage, RUN)
    assert files_in(tmp_path) == set(FOREIGN)
    assert not (tmp_path / "maps" / "empty-b7ad0922").exists()
    assert not (tmp_path / "maps" / "train-0-b7ad0922b7ad0922").exists()
    delete_atlas(str(tmp_path), storage, RUN)  # absent is no error


def test_of_temporary_files_only_those_of_runs_are_swept(storage: Storage, tmp_path: Path) -> None:
    dead = Path(run_folder(str(tmp_path), DEAD))
    storage.make_folder(str(dead))
    (dead / "half").write_bytes(b"PAR1")
    interrupted = dead.parent / f".deleting-{'e' * 32}"
    storage.make_folder(str(interrupted))
    sweep_temporary(str(tmp_path), storage, RUN)
    assert files_in(tmp_path) == {*OURS, *FOREIGN}
    assert not dead.exists()
    assert not interrupted.exists()
    assert Path(run_folder(str(tmp_path), RUN)).is_dir()


def test_a_run_whose_folder_is_gone_deletes_nothing(storage: Storage, tmp_path: Path) -> None:
    delete_run_folder(str(tmp_path), RUN, storage)
    storage.make_folder(run_folder(str(tmp_path), DEAD))
    for delete in (delete_atlas, sweep_temporary):
        with pytest.raises(RunError, match="another run has taken over"):
            delete(str(tmp_path), storage, RUN)
    assert files_in(tmp_path) >= {*OURS, *FOREIGN}
    assert Path(run_folder(str(tmp_path), DEAD)).is_dir()
