from __future__ import annotations

from pathlib import Path

import pytest

from transforms.filesystems import BeamStorage
from transforms.storage import LocalStorage, Storage, escape, from_text, join, to_text

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


def test_whose_folder_is_deleted_writes_and_deletes_nothing_more(
    storage: Storage, tmp_path: Path
) -> None:
    folder, kept = tmp_path / "folder", tmp_path / "kept"
    storage.make_folder(str(folder))
    storage.replace(str(folder / "x"), str(kept), b"first")
    storage.discard(str(tmp_path / "absent"), str(folder))  # absent is no error
    storage.delete(str(folder))
    with pytest.raises(FileNotFoundError):
        storage.replace(str(folder / "x"), str(kept), b"second")
    with pytest.raises(FileNotFoundError):
        storage.discard(str(kept), str(folder))
    assert kept.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [kept]
    storage.make_folder(str(folder))
    for path in (kept, tmp_path / "other" / "deep"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    storage.discard(str(kept), str(folder))
    storage.discard(str(tmp_path / "other"), str(folder))
    assert list(tmp_path.iterdir()) == [folder]
    assert [path.name for path in folder.iterdir()] == [".folder"]


def test_a_link_is_deleted_and_not_what_it_leads_to(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    for name, target in (("link", "real"), ("dangling", "nowhere")):
        (tmp_path / name).symlink_to(target)
        storage.delete(str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["real"]
    assert (tmp_path / "real" / "file").exists()


def test_an_empty_folder_alone_is_deleted_as_empty(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for name in ("empty", "full", "absent"):
        storage.delete_empty(str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_paths_as_text_are_unique_and_read_back() -> None:
    names = (b"caf\xc3\xa9", b"caf\xe9", b"caf\\xe9", b"caf\\\\xe9", b"\\", b"a\xff\xfeb")
    paths = [name.decode(errors="surrogateescape") for name in names]
    texts = [to_text(path) for path in paths]
    assert len({*texts}) == len(names)
    assert [from_text(text) for text in texts] == paths
    assert all(text.encode() for text in texts)  # there is no surrogate in them


def test_an_escaped_path_matches_itself_alone(storage: Storage, tmp_path: Path) -> None:
    for name in ("a[1]*?.txt", "a1xx.txt"):
        (tmp_path / name).write_bytes(b"")
    found = storage.match(escape(str(tmp_path / "a[1]*?.txt")))
    assert [Path(entry.path).name for entry in found] == ["a[1]*?.txt"]


def test_absolute_leaves_uris_alone(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert storage.absolute("a/b") == "/a/b"
    assert BeamStorage().absolute("gs://bucket/a") == "gs://bucket/a"
