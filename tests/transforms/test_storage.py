from __future__ import annotations

from pathlib import Path

import pytest

from transforms.filesystems import BeamStorage
from transforms.storage import LocalStorage, Storage, escape, join

STORAGES = [LocalStorage(), BeamStorage()]


@pytest.fixture(params=STORAGES, ids=lambda storage: type(storage).__name__)
def storage(request: pytest.FixtureRequest) -> Storage:
    chosen: Storage = request.param
    return chosen


def test_writes_reads_and_replaces(storage: Storage, tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "folder" / "file.gz")
    storage.make_folder(str(tmp_path / "temporary"))
    for data in (b"first", b"second"):
        storage.replace(str(tmp_path / "temporary" / "x"), path, data)
        with storage.open(path) as stream:
            # A name that looks compressed changes nothing: these are bytes.
            assert stream.read() == data
            stream.seek(1)
            assert stream.read(3) == data[1:4]
    assert not (tmp_path / "temporary" / "x").exists()


def test_match_is_sorted_and_tells_sizes(storage: Storage, tmp_path: Path) -> None:
    for number, name in enumerate(("b.txt", "a.txt", "sub/c.txt")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * number)
    found = storage.match(str(tmp_path / "*.txt"))
    assert [(Path(entry.path).name, entry.size) for entry in found] == [("a.txt", 1), ("b.txt", 0)]
    assert [entry.size for entry in storage.match(join(str(tmp_path), "*", "*.txt"))] == [2]
    assert storage.match(str(tmp_path / "*.none")) == []
    assert storage.match(str(tmp_path / "absent" / "*")) == []


def test_a_missing_file_is_not_found(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        storage.open(str(tmp_path / "absent"))


def test_deletes_files_folders_and_nothing(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "file").write_bytes(b"")
    storage.delete(str(tmp_path / "folder"))
    storage.delete(str(tmp_path / "folder"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_an_os_error(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        storage.replace(str(tmp_path / "x"), str(tmp_path / "file" / "y"), b"data")


def test_an_escaped_path_matches_itself_alone(storage: Storage, tmp_path: Path) -> None:
    for name in ("a[1]*?.txt", "a1xx.txt"):
        (tmp_path / name).write_bytes(b"")
    found = storage.match(escape(str(tmp_path / "a[1]*?.txt")))
    assert [Path(entry.path).name for entry in found] == ["a[1]*?.txt"]


def test_absolute_leaves_uris_alone(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert storage.absolute("a/b") == "/a/b"
    assert BeamStorage().absolute("gs://bucket/a") == "gs://bucket/a"
