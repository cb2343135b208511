"""Which files a user's glob means: the same on both storages, and nothing is passed over."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_files import PLAN, SCHEME

from transforms.errors import ConfigurationError
from transforms.filesystems import BeamStorage
from transforms.storage import LocalStorage, Storage

FILES = ("top.rec", "a/one.rec", "a/b/two.rec", "a/b/.hidden.rec", ".hidden/three.rec", "a/x.txt")


@pytest.fixture(params=["local", "beam", "remote"])
def listed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], list[str]]:
    """Names below a folder that a pattern matches, by each storage."""
    PLAN.reset()
    storage: Storage = LocalStorage() if request.param == "local" else BeamStorage()
    root = f"{SCHEME}://{tmp_path}" if request.param == "remote" else str(tmp_path)

    def names(pattern: str) -> list[str]:
        entries = storage.match_inputs(f"{root}/{pattern}")
        assert all(entry.version for entry in entries)
        return [entry.path.removeprefix(f"{root}/") for entry in entries]

    return names


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("**/*.rec", ["a/b/two.rec", "a/one.rec", "top.rec"]),
        ("a/**/*.rec", ["a/b/two.rec", "a/one.rec"]),
        ("**/b/**/*.rec", ["a/b/two.rec"]),
        ("**.rec", ["a/b/two.rec", "a/one.rec", "top.rec"]),
        ("a/**", ["a/b/two.rec", "a/one.rec", "a/x.txt"]),
        ("a/**/*", ["a/b/two.rec", "a/one.rec", "a/x.txt"]),
        ("a/?ne.[rs]ec", ["a/one.rec"]),
        ("a/b/.*.rec", ["a/b/.hidden.rec"]),
        ("a/b/.hidden.rec", ["a/b/.hidden.rec"]),
        ("top.rec", ["top.rec"]),
        ("none/*.rec", []),
    ],
)
def test_patterns(pattern: str, expected: list[str], listed: Callable[[str], list[str]]) -> None:
    assert listed(pattern) == expected


def _folder(path: Path) -> None:
    path.mkdir()


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


@pytest.mark.parametrize("storage", [LocalStorage(), BeamStorage()], ids=["local", "beam"])
@pytest.mark.parametrize("pattern", ["*.rec", "**/*.rec", "x.rec"])
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (_folder, "a folder"),
        (_dangling, "a link to nothing"),
        (_loop, "a link that leads to itself"),
        (os.mkfifo, "a pipe"),
        (_socket, "a socket"),
    ],
)
def test_what_is_no_regular_file_is_refused_by_name(
    make: Callable[[Path], None], what: str, pattern: str, storage: Storage, tmp_path: Path
) -> None:
    make(tmp_path / "x.rec")
    with pytest.raises(ConfigurationError) as raised:
        storage.match_inputs(f"{tmp_path}/{pattern}")
    assert f"{tmp_path}/{pattern} matches {tmp_path}/x.rec, which is {what}" in str(raised.value)


def test_links_to_files_and_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.move(tmp_path / "a", outside)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").symlink_to(outside)
    (tmp_path / "in" / "file.rec").symlink_to(outside / "one.rec")
    (outside / "b" / "back").symlink_to(tmp_path / "in")
    found = LocalStorage().match_inputs(f"{tmp_path}/in/**/*.rec")
    names = [entry.path.removeprefix(f"{tmp_path}/in/") for entry in found]
    assert names == ["a/b/two.rec", "a/one.rec", "file.rec"]


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the tests may be allowed to read everything, so the system call refuses."""

    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(ConfigurationError, match=r"leads through .*, which cannot be read \(Perm"):
        LocalStorage().match_inputs(f"{tmp_path}/*.rec")


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.rec"
    with open(name, "wb") as file:
        file.write(b"bytes")
    (entry,) = LocalStorage().match_inputs(f"{tmp_path}/caf*.rec")
    assert os.fsencode(entry.path) == name
    with BeamStorage().open(entry.path) as stream:
        assert stream.read() == b"bytes"


def test_a_version_is_another_one_once_the_content_is(tmp_path: Path) -> None:
    path = tmp_path / "top.rec"
    (before,) = LocalStorage().match_inputs(str(path))
    (same,) = BeamStorage().match(str(path))
    assert same == before
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))
    (after,) = LocalStorage().match_inputs(str(path))
    assert (after.version, after.size) == ("1234567890123456789", before.size)
    assert after.version != before.version
