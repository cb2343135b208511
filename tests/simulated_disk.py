"""A disk that can lose its power: what may be there afterwards, by all that was not yet synced.

The system calls are made, and written down. From any beginning of that record follow the states
that a power cut may leave there: each name given or taken since its folder was last synced may have
arrived or not, each by itself (of a rename, too, both halves), and of a file that was not synced
since it was written there may be nothing, its first half, zeros or all.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

from transforms.disk import SystemDisk

Tree = frozenset[tuple[str, bytes | None]]
"""Files by path, with their bytes; folders with None."""


class RecordingDisk(SystemDisk):
    """The machine's disk, with a record of what it was asked to do."""

    def __init__(self) -> None:
        self.record: list[tuple[object, ...]] = []
        self._open: dict[int, str] = {}

    def create(self, path: str) -> int:
        file = super().create(path)
        self._open[file] = path
        self.record.append(("create", path))
        return file

    def write(self, file: int, data: memoryview) -> int:
        written = super().write(file, data)
        self.record.append(("write", self._open[file], bytes(data[:written])))
        return written

    def sync(self, file: int) -> None:
        self.record.append(("sync", self._open[file]))

    def sync_folder(self, path: str) -> None:
        if not os.path.isdir(path):
            raise FileNotFoundError(2, "no such folder", path)
        self.record.append(("sync folder", path))

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        self.record.append(("rename", source, target))

    def make_folder(self, path: str) -> None:
        super().make_folder(path)
        self.record.append(("make folder", path))

    def remove(self, path: str) -> None:
        super().remove(path)
        self.record.append(("remove", path))

    def remove_folder(self, path: str) -> None:
        super().remove_folder(path)
        self.record.append(("remove", path))


@dataclasses.dataclass(eq=False)
class _Inode:
    """A file or a folder, whatever its name.

    Attributes:
      data: Bytes of a file as the system has them; None of a folder.
      synced: Whether the disk has them, too.
    """

    data: bytes | None
    synced: bool = True

    def remains(self) -> list[bytes | None]:
        """What of it may be there after a power cut."""
        if self.data is None or self.synced:
            return [self.data]
        half = self.data[: len(self.data) // 2]
        return list(dict.fromkeys([self.data, b"", half, bytes(len(self.data))]))


class Cut:
    """What a power cut may leave after some system calls.

    Args:
      record: The calls.
      root: A folder that was there before; all is below it.
      unread: What is below this folder is there as the system has it: nobody looks at it, and
        each name in it would double the states.
    """

    def __init__(self, record: list[tuple[object, ...]], root: str, unread: str) -> None:
        self._root = root
        self._unread = unread
        self._now: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        self._waiting: list[tuple[str, _Inode | None]] = []  # names given, or taken where None
        for call in record:
            self._take(*call)

    def states(self) -> Iterator[Tree]:
        """Each state once."""
        seen = set()
        for arrived in itertools.product((False, True), repeat=len(self._waiting)):
            names = dict(self._durable)
            for (path, inode), there in zip(self._waiting, arrived, strict=True):
                if there:
                    self._name(names, path, inode)
            paths = sorted(names)
            for remains in itertools.product(*(self._remains(names, path) for path in paths)):
                tree = _reachable(self._root, dict(zip(paths, remains, strict=True)))
                if tree not in seen:
                    seen.add(tree)
                    yield tree

    def _take(self, call: object, *arguments: object) -> None:
        path = str(arguments[0])
        if call in {"create", "make folder"}:
            self._change(path, _Inode(b"" if call == "create" else None, call != "create"))
        elif call == "write":
            inode, data = self._now[path], arguments[1]
            assert isinstance(data, bytes)
            inode.data, inode.synced = (inode.data or b"") + data, False
        elif call == "sync":
            self._now[path].synced = True
        elif call == "sync folder":
            arrived = [each for each in self._waiting if posixpath.dirname(each[0]) == path]
            self._waiting = [each for each in self._waiting if each not in arrived]
            for name, given in arrived:
                self._name(self._durable, name, given)
        elif call == "rename":
            moved = self._now[path]
            self._change(path, None)
            self._change(str(arguments[1]), moved)
        else:
            self._change(path, None)

    def _change(self, path: str, inode: _Inode | None) -> None:
        if path.startswith(self._unread):
            self._name(self._durable, path, inode)
        else:
            self._waiting.append((path, inode))
        self._name(self._now, path, inode)

    def _remains(self, names: dict[str, _Inode], path: str) -> list[bytes | None]:
        unread = path.startswith(self._unread)
        return [names[path].data] if unread else names[path].remains()

    @staticmethod
    def _name(names: dict[str, _Inode], path: str, inode: _Inode | None) -> None:
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


def _reachable(root: str, names: dict[str, bytes | None]) -> Tree:
    """What is in folders that are there."""
    kept: dict[str, bytes | None] = {root: None}
    for path in sorted(names):
        if kept.get(posixpath.dirname(path), b"") is None:
            kept[path] = names[path]
    return frozenset(kept.items())


def write_tree(tree: Tree, source: str, target: Path) -> None:
    """Makes the files of a state anew, below another folder than the one they were recorded in."""
    target.mkdir(parents=True, exist_ok=True)
    for path, data in sorted(tree):
        place = target / posixpath.relpath(path, source)
        if data is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
