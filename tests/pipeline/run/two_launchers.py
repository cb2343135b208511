"""Launchers and one atlas, in every order of their storage calls up to a number of switches.

The launchers run the code of runs: claiming, renewing, committing, releasing. Each of their calls
on the storage is a point at which another one may go on instead, for as long as it likes: so every
pause is as long as can be. Time passes only where somebody sleeps, and each has a clock of its own.

A launcher is resumed by running it again from its beginning, with the answers it has had so far. So
its state is the list of those answers, states can be told apart, and none is visited twice.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import io
import itertools
import posixpath
import types
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeAlias
from unittest import mock

from pipeline.run import lease as leases
from pipeline.run.lease import Clock, Lease, check_unclaimed, claim
from transforms.disk import Disk
from transforms.errors import ConfigurationError, RunError
from transforms.process.identity import ProcessIdentity
from transforms.storage import FileEntry, LocalStorage, join
from transforms.store.cleaning import delete_atlas, delete_run_folder, sweep_temporary
from transforms.store.files import replace_file
from transforms.store.layout import MANIFEST, MAPS_FOLDER, TEMPORARY_FOLDER
from transforms.store.lease_file import check_lease, lease_path, run_folder

ATLAS = "/atlas"
SHARD_FOLDER = f"{MAPS_FOLDER}/shard-0123456789abcdef"
BLOCKS = 1

Operation: TypeAlias = tuple[Any, ...]
Files: TypeAlias = dict[str, bytes | None]
"""By path; None for a folder."""


class _Suspended(BaseException):
    """Ends a launcher's execution where it asks for something that has no answer yet."""


@dataclasses.dataclass(eq=False)
class Point:
    """Where a launcher is: after so many answers, with a request or an end.

    Attributes:
      request: What it asks for next; None where it has ended.
      outcome: `refused`, `lost`, `finished`; None where it goes on.
      holding: Whether it has claimed the atlas and not let go of it.
    """

    answers: tuple[Any, ...]
    request: Operation | None = None
    outcome: str | None = None
    holding: bool = False
    next_points: dict[Any, Point] = dataclasses.field(default_factory=dict)


class Launcher:
    """One run, as a function from the answers it has had to what it does next."""

    def __init__(self, number: int, offset: float, renewals: int) -> None:
        self.run = str(number) * 32
        self._process = ProcessIdentity(f"host-{number}", f"boot-{number}", 1, "1")
        self._offset = offset
        self._renewals = renewals
        self.start = self._advance(())

    def after(self, point: Point, answer: Any) -> Point:
        """Where it is once it has the answer."""
        if answer not in point.next_points:
            point.next_points[answer] = self._advance((*point.answers, answer))
        return point.next_points[answer]

    def _advance(self, answers: tuple[Any, ...]) -> Point:
        point = Point(answers)
        left = iter(answers)

        def ask(*request: Any) -> Any:
            answer = None if point.request else next(left, None)
            if answer is None:
                point.request = point.request or request
                raise _Suspended
            (value,) = answer
            if isinstance(value, type):
                raise value(2, "gone", request[1])
            return value

        names = (types.SimpleNamespace(hex=f"{number:032x}") for number in itertools.count())
        with mock.patch("uuid.uuid4", names.__next__):
            try:
                self._work(ask, point)
                point.outcome = "finished"
            except _Suspended:
                pass
            except ConfigurationError:
                point.outcome = "refused"
            except RunError:
                point.outcome = "lost"
        return point

    def _work(self, ask: Callable[..., Any], point: Point) -> None:
        """What `claimed`, `begin_atlas`, the graph and `publish` do, with two blocks of a word."""
        storage = _Storage(ask)
        clock = Clock(lambda: ask("time") + self._offset, lambda seconds: ask("sleep", seconds))
        watch = check_unclaimed(ATLAS, storage, patient=True, clock=clock)
        lease = Lease(self.run, False, self._process, since=self._offset, renewals=0)
        path, word = lease_path(ATLAS, self.run), self.run[0].encode()
        lease = claim(ATLAS, lease, storage, watch)
        point.holding = True
        delete_atlas(ATLAS, storage, self.run)
        sweep_temporary(ATLAS, storage, self.run)
        for number in range(BLOCKS):
            if number < self._renewals:
                leases.renew(ATLAS, lease, storage, _once(ask))
            check_lease(path, storage)
            replace_file(ATLAS, block_name(number), word, storage, self.run)
        check_lease(path, storage)
        replace_file(ATLAS, MANIFEST, word, storage, self.run)
        delete_run_folder(ATLAS, self.run, storage)
        point.holding = False
        storage.delete(path)


def _once(ask: Callable[..., Any]) -> Callable[[float], bool]:
    """Waits for a renewal, and the second time says that it is over."""
    over = itertools.count()
    return lambda seconds: next(over) > 0 or bool(ask("sleep", seconds))


def block_name(number: int) -> str:
    return f"{SHARD_FOLDER}/block-{number:05d}.parquet"


class _Storage(LocalStorage):
    """`LocalStorage`, its system calls answered by whoever explores."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        super().__init__(_Disk(ask))
        self._ask = ask

    def open(self, path: str) -> BinaryIO:
        return io.BytesIO(self._ask("read", path))

    def match(self, pattern: str) -> list[FileEntry]:
        return [FileEntry(path, 1) for path in self._ask("match", pattern)]


class _Disk(Disk):
    """A file's bytes arrive when it is closed: until it is renamed, nobody looks at them."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask
        self._path, self._data = "", b""

    def create(self, path: str) -> int:
        self._path, self._data = path, b""
        return 0

    def write(self, _: int, data: memoryview) -> int:
        self._data += bytes(data)
        return len(data)

    def sync(self, _: int) -> None:
        pass

    def close(self, _: int) -> None:
        self._ask("put", self._path, self._data)

    def sync_folder(self, path: str) -> None:
        pass

    def rename(self, source: str, target: str) -> None:
        self._ask("rename", source, target)

    def make_folder(self, path: str) -> None:
        self._ask("make", path)

    def remove(self, path: str) -> None:
        self._ask("remove", path)

    def remove_folder(self, path: str) -> None:
        self._ask("remove folder", path)

    def names(self, path: str) -> list[str]:
        return list(self._ask("names", path))

    def is_folder(self, path: str) -> bool:
        return bool(self._ask("is folder", path))


def _parent(path: str) -> str:
    return posixpath.dirname(path)


def _matches(path: str, pattern: str) -> bool:
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(
        fnmatch.fnmatchcase(part, each) and (part[:1] != "." or each[:1] == ".")
        for part, each in zip(parts, patterns, strict=True)
    )


def apply(files: Files, request: Operation) -> tuple[Files, Any]:
    """A system call: the files after it, and its answer, or the error that it raises."""
    if request[0] in {"match", "is folder", "names", "read"}:
        return files, _answer(files, *request)
    return _changed(files, *request)


def _answer(files: Files, kind: str, path: str) -> Any:
    if kind == "match":
        found = [name for name, data in files.items() if data is not None and _matches(name, path)]
        return tuple(sorted(found))
    if kind == "is folder":
        return path in files and files[path] is None
    if path not in files:
        return FileNotFoundError
    if kind == "read":
        return files[path]
    return tuple(sorted(posixpath.basename(name) for name in files if _parent(name) == path))


def _changed(files: Files, kind: str, path: str, *more: Any) -> tuple[Files, Any]:
    there = path in files
    new = kind in {"put", "make"}
    if (_parent(path) if new else path) not in files:
        return files, FileNotFoundError
    if kind == "make" and there:
        return files, FileExistsError
    if new:
        return {**files, path: more[0] if kind == "put" else None}, True
    if kind == "remove folder" and any(_parent(name) == path for name in files):
        return files, OSError
    kept = {name: data for name, data in files.items() if name != path}
    if kind in {"remove", "remove folder"}:
        return kept, True
    return _renamed(files, path, more[0])


def _renamed(files: Files, source: str, target: str) -> tuple[Files, Any]:
    if _parent(target) not in files:
        return files, FileNotFoundError
    moved = {
        (target + name[len(source) :] if f"{name}/".startswith(f"{source}/") else name): data
        for name, data in sorted(files.items(), key=lambda each: each[0].startswith(source))
    }
    return moved, True


@dataclasses.dataclass(frozen=True)
class State:
    """Everything: files, time, where each launcher is, who goes on, how often that has changed."""

    files: frozenset[tuple[str, bytes | None]]
    time: float
    points: tuple[Point, ...]
    asked: tuple[float, ...]  # when each one came to where it is, if it sleeps there
    current: int
    switches: int


@dataclasses.dataclass
class Found:
    """What an exploration came to."""

    states: int = 0
    outcomes: set[tuple[str | None, ...]] = dataclasses.field(default_factory=set)
    takeovers: int = 0
    violations: list[str] = dataclasses.field(default_factory=list)


def _commutes(request: Operation) -> bool:
    """Whether no order of this call and another's makes a difference to anybody.

    A temporary file is nobody else's, and where its folder is gone the rename fails just as well.
    """
    kind, path = request[0], str(request[1]) if len(request) > 1 else ""
    temporary = path.startswith(f"{ATLAS}/{TEMPORARY_FOLDER}")
    if ".deleting-" in path or kind == "time":
        return True
    return (kind == "is folder" and not temporary) or (kind == "put" and temporary)


class Exploration:
    """Visits every state that launchers can come to with so many switches between them.

    Args:
      launchers: Who takes part.
      switches: How often at most another one goes on than the one before.
    """

    def __init__(self, launchers: list[Launcher], switches: int) -> None:
        self._launchers = launchers
        self._switches = switches

    def run(self, limit: int) -> Found:
        """Explores until something is wrong; no more than so many states."""
        folders = (ATLAS, f"{ATLAS}/{MAPS_FOLDER}", f"{ATLAS}/{SHARD_FOLDER}", "/")
        start = State(
            files=frozenset((path, None) for path in folders),
            time=0.0,
            points=tuple(launcher.start for launcher in self._launchers),
            asked=(0.0,) * len(self._launchers),
            current=-1,
            switches=-1,
        )
        found = Found()
        waiting, seen = deque([start]), {start}
        while waiting and found.states < limit and not found.violations:
            state = waiting.popleft()
            found.states += 1
            self._check(state, found)
            for following in self._following(state):
                if following not in seen:
                    seen.add(following)
                    waiting.append(following)
        return found

    def _following(self, state: State) -> Iterator[State]:
        for number, point in enumerate(state.points):
            switches = state.switches + (number != state.current)
            if point.request is not None and switches <= self._switches:
                yield self._step(state, number, switches)

    def _step(self, state: State, number: int, switches: int) -> State:
        files, time, point = dict(state.files), state.time, state.points[number]
        while True:
            request = point.request
            assert request is not None
            answer: Any
            if request[0] == "time":
                answer = time
            elif request[0] == "sleep":
                time = max(time, state.asked[number] + request[1])
                answer = False
            else:
                files, answer = apply(files, request)
            point = self._launchers[number].after(point, (answer,))
            if point.request is None or not _commutes(point.request):
                break
        points, asked = list(state.points), list(state.asked)
        points[number] = point
        asked[number] = time if point.request and point.request[0] == "sleep" else 0.0
        return State(frozenset(files.items()), time, tuple(points), tuple(asked), number, switches)

    def _check(self, state: State, found: Found) -> None:
        files = dict(state.files)
        outcomes = tuple(point.outcome for point in state.points)
        found.outcomes.add(outcomes)
        writers = [
            launcher.run[0]
            for launcher, point in zip(self._launchers, state.points, strict=True)
            if point.holding and run_folder(ATLAS, launcher.run) in files
        ]
        holders = [point for point in state.points if point.holding and point.outcome is None]
        found.takeovers += len(holders) > len(writers)
        if len(writers) > 1:
            found.violations.append(f"{writers} may write at once")
        word = files.get(join(ATLAS, MANIFEST))
        if word is not None:
            blocks = [files.get(join(ATLAS, block_name(number))) for number in range(BLOCKS)]
            if blocks != [word] * BLOCKS:
                found.violations.append(f"the atlas of {word!r} has the blocks {blocks}")
