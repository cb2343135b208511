"""One run an atlas: who works on it says so in a lease, and keeps saying so.

A lease is a small file in the atlas, `.lease-RUN.json`, renewed by a thread of the launcher. It is
dead once its process is gone, where that can be seen (same machine), or else once its last renewal
is `EXPIRY_SECONDS` old. A lease that would have to be renewed later than half of that is given up
instead: whoever was suspended for long does not come back to an atlas that somebody else has taken.

Claiming needs nothing of a storage but that a written file is listed from then on: each claimant
writes its own claim first and then looks for others'. Of two, at least one sees the other; who
sees a lease is refused, who sees a mere claim withdraws and tries again a moment later.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.run.error_messages import unwritable
from transforms.errors import ConfigurationError
from transforms.storage import Storage, escape
from transforms.store.lease_file import lease_path

RENEWAL_SECONDS = 30.0
EXPIRY_SECONDS = 300.0

_ATTEMPTS = 8
_LONGEST_PAUSE_SECONDS = 1.0
_HELD: set[str] = set()  # runs of this process; others that bear its mark have ended without a word
_START_TIME_FIELD = 19  # of /proc/PID/stat, counted behind the name in brackets


@dataclasses.dataclass(frozen=True)
class Lease:
    """What a lease's file says.

    Attributes:
      run: Names the run among all others.
      held: False while it is but a claim.
      host: The machine's name.
      pid: The launcher's process.
      process: Tells it from another process of that number, on the same machine; empty where
        the system does not tell.
      since: Seconds since the epoch when the run began.
      renewed: Seconds since the epoch.
    """

    run: str
    held: bool
    host: str
    pid: int
    process: str
    since: float
    renewed: float

    def is_dead(self, now: float) -> bool:
        """Whether nobody is behind it any more."""
        ours = process_mark(os.getpid())
        on_this_machine = (
            bool(ours)
            and self.host == socket.gethostname()
            and _namespace(self.process) == _namespace(ours)
        )
        if on_this_machine and self.process == ours and self.pid == os.getpid():
            return self.run not in _HELD
        if on_this_machine:
            return process_mark(self.pid) != self.process
        return now - self.renewed > EXPIRY_SECONDS

    def __str__(self) -> str:
        """The words in which a refusal names it."""
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return f"process {self.pid} on {self.host}, since {since}"


def process_mark(pid: int) -> str:
    """The process's namespace and start; empty where there is no such process, or no /proc.

    A number alone is given to another process sooner or later, and in each container anew.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        state, started = fields[0], fields[_START_TIME_FIELD]
        return "" if state == b"Z" else f"{os.readlink('/proc/self/ns/pid')} {started.decode()}"
    except OSError:
        return ""


def check_unclaimed(atlas: str, storage: Storage, now: float | None = None) -> None:
    """Refuses to go on beside a run that lives.

    Raises:
      ConfigurationError: Naming its host, its process and since when.
    """
    for lease in _read_leases(atlas, storage):
        if lease.held and not lease.is_dead(time.time() if now is None else now):
            raise _refusal(atlas, lease)


@contextlib.contextmanager
def claimed(atlas: str, run: str, storage: Storage) -> Iterator[None]:
    """Holds the atlas's lease while the body runs.

    Args:
      atlas: The output path.
      run: Names this run among all others.
      storage: Where the atlas is.

    Raises:
      ConfigurationError: Another run lives, or the path cannot be made.
      RunError: The path is full or read-only.
    """
    lease = Lease(
        run=run,
        held=False,
        host=socket.gethostname(),
        pid=os.getpid(),
        process=process_mark(os.getpid()),
        since=time.time(),
        renewed=time.time(),
    )
    _HELD.add(run)
    try:
        with _held(atlas, lease, storage):
            yield
    finally:
        _HELD.discard(run)


@contextlib.contextmanager
def _held(atlas: str, lease: Lease, storage: Storage) -> Iterator[None]:
    try:
        lease = claim(atlas, lease, storage)
    except OSError as error:
        raise unwritable(atlas, error) from error
    stopped = threading.Event()
    renewing = threading.Thread(
        target=renew, args=(atlas, lease, storage, stopped.wait), name="lease", daemon=True
    )
    renewing.start()
    try:
        yield
    finally:
        stopped.set()
        renewing.join()
        with contextlib.suppress(OSError):  # A lease that is left is a dead one.
            storage.delete(lease_path(atlas, lease.run))


def claim(
    atlas: str,
    lease: Lease,
    storage: Storage,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Lease:
    """Makes a lease the atlas's only one, and deletes those of the dead.

    Args:
      atlas: The output path.
      lease: Whose claim it is.
      storage: Where the atlas is.
      now: Gives seconds since the epoch.
      sleep: Waits so many seconds.

    Returns:
      The lease as it is held.

    Raises:
      ConfigurationError: Another run lives.
    """
    for _ in range(_ATTEMPTS):
        try:
            _write(atlas, dataclasses.replace(lease, held=False, renewed=now()), storage)
        except FileNotFoundError as error:  # Whoever took the atlas meanwhile has swept it.
            refusal: Exception = error
            continue
        others = [other for other in _read_leases(atlas, storage) if other.run != lease.run]
        alive = [other for other in others if not other.is_dead(now())]
        if not alive:
            held = dataclasses.replace(lease, held=True, renewed=now())
            _write(atlas, held, storage)
            for dead in others:
                storage.delete(lease_path(atlas, dead.run))
            for entry in storage.match(_leases(atlas, ".temporary")):  # half-written ones
                storage.delete(entry.path)
            return held
        storage.delete(lease_path(atlas, lease.run))
        refusal = _refusal(atlas, next((other for other in alive if other.held), alive[0]))
        if any(other.held for other in alive):
            break
        sleep(random.uniform(0, _LONGEST_PAUSE_SECONDS))  # noqa: S311 - it is to differ, no more
    raise refusal


def renew(
    atlas: str,
    lease: Lease,
    storage: Storage,
    wait: Callable[[float], bool],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Renews a lease until it is lost or `wait` (seconds) says that it is over."""
    renewed = clock()
    while not wait(RENEWAL_SECONDS):
        begun = clock()
        if begun - renewed > EXPIRY_SECONDS / 2:
            return
        try:
            if not storage.match(escape(lease_path(atlas, lease.run))):
                return
            _write(atlas, dataclasses.replace(lease, renewed=time.time()), storage)
            renewed = begun
        except OSError:  # The next renewal is soon enough; if not, commits find the lease gone.
            continue


def _refusal(atlas: str, lease: Lease) -> ConfigurationError:
    return ConfigurationError(
        f"output.path: another run works on {atlas} ({lease}): wait for its end, or end it and "
        f"go on with --resume; on another machine a dead run counts as dead "
        f"{EXPIRY_SECONDS / 60:.0f} minutes after its last sign of life"
    )


def _write(atlas: str, lease: Lease, storage: Storage) -> None:
    data = json.dumps(dataclasses.asdict(lease), sort_keys=True).encode()
    # Not in the folder of temporary files, which whoever holds the atlas sweeps.
    path = lease_path(atlas, lease.run)
    storage.replace(f"{path}.temporary", path, data)


def _read_leases(atlas: str, storage: Storage) -> list[Lease]:
    leases = []
    for entry in storage.match(_leases(atlas)):
        try:
            with storage.open(entry.path) as file:
                leases.append(_parse(json.loads(file.read())))
        except (FileNotFoundError, ValueError, KeyError):
            continue  # just withdrawn, or no lease at all
    return leases


def _leases(atlas: str, suffix: str = "") -> str:
    """A pattern of all leases."""
    return f"{escape(lease_path(atlas, '')).removesuffix('.json')}*.json{suffix}"


def _parse(fields: dict[str, Any]) -> Lease:
    return Lease(**{field.name: fields[field.name] for field in dataclasses.fields(Lease)})


def _namespace(process: str) -> str:
    return process.partition(" ")[0]
