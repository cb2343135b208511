"""Files in a user's cache: whole or not there, bounded, whatever other processes do."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from transforms.process.kept_files import KeptFiles


def kept(folder: Path, most_files: int = 9, most_bytes: int = 1000) -> KeptFiles:
    return KeptFiles(folder / "kept", ".kept", most_files=most_files, most_bytes=most_bytes)


def names(files: KeptFiles) -> list[str]:
    return sorted(path.name for path in files.folder.iterdir())


def test_what_is_kept_is_read(tmp_path: Path) -> None:
    files = kept(tmp_path)
    assert files.read("a") is None
    files.keep("a", [b"one", memoryview(b"two"), b""])
    assert (files.read("a"), files.read("b")) == (b"onetwo", None)
    files.keep("a", [b"three"])
    assert (files.read("a"), names(files)) == (b"three", ["a.kept"])


def cut(content: bytes) -> bytes:
    return content[:-1]


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [cut, flipped, lambda _: b"", lambda _: bytes(99)])
def test_what_is_damaged_is_not_read(
    damage: Callable[[bytes], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = kept(tmp_path)
    files.keep("a", [b"one"])
    files.path("a").write_bytes(damage(files.path("a").read_bytes()))
    assert files.read("a") is None
    assert caplog.messages == [f"{files.path('a')} is damaged, and is made anew"]
    files.keep("a", [b"one"])
    assert files.read("a") == b"one"


def test_a_file_under_another_name_is_not_read(tmp_path: Path) -> None:
    files = kept(tmp_path)
    files.keep("a", [b"one"])
    files.path("a").rename(files.path("b"))
    assert (files.read("a"), files.read("b")) == (None, None)


def test_the_folder_is_for_its_user_alone(tmp_path: Path) -> None:
    files = kept(tmp_path / "parent")
    files.keep("a", [b"1"])
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700


def of_everybody(folder: Path, _: pytest.MonkeyPatch) -> None:
    folder.chmod(0o777)


def of_another_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = os.getuid() + 1
    if os.getuid() == 0:
        os.chown(folder, other, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: other)


@pytest.mark.parametrize("change", [of_everybody, of_another_user])
def test_a_folder_that_others_may_write_to_is_not_used(
    change: Callable[[Path, pytest.MonkeyPatch], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = kept(tmp_path)
    files.keep("a", [b"1"])
    change(files.folder, monkeypatch)
    assert files.read("a") is None
    with pytest.raises(PermissionError) as raised:
        files.keep("b", [b"1"])
    assert str(raised.value) == (
        f"other users may write to {files.folder}: remove it, or let SALIENCY_ATLAS_CACHE name a "
        "folder of your own"
    )
    assert names(files) == ["a.kept"]


def age(files: KeptFiles, *order: str) -> None:
    """The first is the longest unused."""
    for number, name in enumerate(order):
        os.utime(files.path(name), (number, number))


def test_the_longest_unused_goes(tmp_path: Path) -> None:
    files = kept(tmp_path, most_files=3)
    for name in "abc":
        files.keep(name, [b"1"])
    age(files, *"abc")
    assert files.read("a") == b"1"  # It is used now.
    files.keep("d", [b"1"])
    assert names(files) == ["a.kept", "c.kept", "d.kept"]


def test_all_together_are_bounded(tmp_path: Path) -> None:
    files = kept(tmp_path, most_bytes=1000)
    for name in "abc":
        files.keep(name, [bytes(300 - 32)])  # The digest counts, too.
    age(files, *"abc")
    files.keep("d", [bytes(400 - 32)])
    assert names(files) == ["b.kept", "c.kept", "d.kept"]


def test_what_others_keep_in_the_folder_stays(tmp_path: Path) -> None:
    files = kept(tmp_path, most_files=1)
    files.folder.mkdir()
    (files.folder / "notes.txt").write_text("mine")
    for name in "ab":
        files.keep(name, [b"1"])
    assert names(files) == ["b.kept", "notes.txt"]


class FullDisk:
    """A file on a disk that is full after some bytes."""

    def __init__(self, path: Path, mode: str) -> None:
        self._file = open(path, mode)  # noqa: SIM115 - closed by who opened this

    def write(self, data: bytes) -> int:
        self._file.write(data[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = kept(tmp_path)
    files.keep("a", [b"before"])
    monkeypatch.setattr("transforms.process.kept_files.open", FullDisk, raising=False)
    with pytest.raises(OSError, match="No space left"):
        files.keep("a", [b"after"])
    monkeypatch.undo()
    assert (files.read("a"), names(files)) == (b"before", ["a.kept"])


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"a file")
    files = kept(tmp_path)
    with pytest.raises(OSError, match="kept"):
        files.keep("a", [b"1"])
    assert files.read("a") is None


def test_what_a_killed_process_has_left_goes_when_no_one_can_be_writing_it(tmp_path: Path) -> None:
    files = kept(tmp_path)
    files.keep("a", [b"1"])
    for name, seconds in ((".old", 3601), (".new", 3500)):
        (files.folder / name).write_bytes(b"half")
        now = (files.folder / name).stat().st_mtime
        os.utime(files.folder / name, (now - seconds, now - seconds))
    files.keep("b", [b"1"])
    assert names(files) == [".new", "a.kept", "b.kept"]


def test_two_processes_keep_at_once(tmp_path: Path) -> None:
    files = kept(tmp_path)

    class Meanwhile(Sequence[bytes]):
        """Another process keeps the same while this one writes."""

        def __len__(self) -> int:
            return 2

        def __getitem__(self, number: Any) -> Any:
            if number == 1:
                kept(tmp_path).keep("a", [b"theirs"])
                assert files.read("a") == b"theirs"
            if number == len(self):
                raise IndexError
            return b"ours"

    files.keep("a", cast(Sequence[bytes], Meanwhile()))
    assert (files.read("a"), names(files)) == (b"oursours", ["a.kept"])


def test_what_another_process_removes_first_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = kept(tmp_path, most_files=1)
    files.keep("a", [b"1"])
    iterdir = Path.iterdir

    def with_one_that_is_gone(folder: Path) -> Any:
        return [*iterdir(folder), folder / "gone.kept", folder / ".gone"]

    monkeypatch.setattr(Path, "iterdir", with_one_that_is_gone)
    files.keep("b", [b"1"])
    monkeypatch.undo()
    assert names(files) == ["b.kept"]
