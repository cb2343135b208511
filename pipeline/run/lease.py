"""One run an atlas: who works on it says so in a lease, and keeps saying so.

A lease is a small file in the atlas, `.lease-RUN.json`, renewed by a thread of the launcher: each
time it says another number. It is dead once its process is gone, where that can be seen (same
machine), or else once it has been watched for `EXPIRY_SECONDS` without being renewed. No clock is
compared with another machine's.

Claiming: each claimant makes a folder of its own, writes its claim, and then looks for others. Of
two, at least one sees the other; who sees a living lease is refused, who sees a mere claim
withdraws and tries again a moment later. Before the atlas is held, the folders of all dead leases
are deleted. As a run makes its folder but once and writes everything by it, its lease and its
blocks, a run that was taken for dead can do nothing more, however late it wakes up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.run.error_messages import unwritable
from transforms.errors import ConfigurationError, RunError
from transforms.process.identity import ProcessIdentity
from transforms.storage import Storage, escape
from transforms.store.cleaning import delete_run_folder
from transforms.store.files import write_through
from transforms.store.lease_file import lease_path, run_folder

RENEWAL_SECONDS = 30.0
EXPIRY_SECONDS = 300.0

_ATTEMPTS = 8
_LONGEST_PAUSE_SECONDS = 1.0
_HELD: set[str] = set()  # runs of this process; others that bear its mark have ended without a word
_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Lease:
    """What a lease's file says.

    Attributes:
      run: Names the run among all others.
      held: False while it is but a claim.
      process: The launcher's.
      since: Seconds since the epoch when the run began, by the launcher's clock: for people.
      renewals: How often it was written.
    """

    run: str
    held: bool
    process: ProcessIdentity
    since: float
    renewals: int

    @classmethod
    def of_this_process(cls, run: str) -> Lease:
        """A claim that nobody has written yet."""
        return cls(run, False, ProcessIdentity.current(), time.time(), 0)

    def is_gone(self) -> bool | None:
        """Whether nobody is behind it any more; None where that cannot be seen from here."""
        if self.process == ProcessIdentity.current():
            return self.run not in _HELD
        return self.process.is_gone()

    def again(self, held: bool) -> Lease:
        """As it is written next."""
        return dataclasses.replace(self, held=held, renewals=self.renewals + 1)

    def __str__(self) -> str:
        """The words in which a refusal names it."""
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return f"process {self.process.pid} on {self.process.host}, since {since}"


@dataclasses.dataclass(frozen=True)
class Clock:
    """Time as it passes here.

    Attributes:
      monotonic: Gives seconds that only grow.
      sleep: Waits so many seconds.
    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Watch:
    """Looks at an atlas's leases again and again, and so learns which of them nobody renews.

    Args:
      atlas: The output path.
      storage: Where it is.
      patient: Whether to wait for what cannot be seen to live or to be dead.
      clock: By which waiting is measured.
    """

    def __init__(
        self, atlas: str, storage: Storage, *, patient: bool = False, clock: Clock | None = None
    ) -> None:
        self._atlas = atlas
        self._storage = storage
        self._patient = patient
        self.clock = clock or Clock()
        self._seen: dict[str, tuple[Lease, float]] = {}  # by run: since when it says the same

    def look(self, own: str | None = None) -> tuple[list[Lease], list[Lease]]:
        """The leases of others: those that may live, and those that are dead."""
        before = self.clock.monotonic()
        found = [lease for lease in _read_leases(self._atlas, self._storage) if lease.run != own]
        after = self.clock.monotonic()
        kept = {run: (lease, since) for run, (lease, since) in self._seen.items() if lease in found}
        self._seen = {lease.run: kept.get(lease.run, (lease, after)) for lease in found}
        dead = [lease for lease in found if self._is_dead(lease, before)]
        return [lease for lease in found if lease not in dead], dead

    def wait(self, *, for_claims: bool = False) -> None:
        """Returns once no lease lives.

        Args:
          for_claims: Whether to wait for claims that nobody holds, too.

        Raises:
          ConfigurationError: One was renewed, or this watch is not a patient one.
        """
        alive = self._living(for_claims)
        first = {lease.run: lease for lease in alive}
        for lease in alive:
            if not self._patient or lease.is_gone() is False:
                raise _refusal(self._atlas, lease)
            _LOGGER.warning(
                "%s: a lease says that another run works on it (%s): watching for %.0f s whether "
                "it is renewed", self._atlas, lease, EXPIRY_SECONDS
            )  # fmt: skip
        while alive:
            self.clock.sleep(RENEWAL_SECONDS)
            alive = self._living(for_claims)
            for lease in alive:
                if lease != first.setdefault(lease.run, lease):
                    raise _refusal(self._atlas, lease)

    def _living(self, with_claims: bool) -> list[Lease]:
        return [lease for lease in self.look()[0] if lease.held or with_claims]

    def _is_dead(self, lease: Lease, now: float) -> bool:
        gone = lease.is_gone()
        return now - self._seen[lease.run][1] >= EXPIRY_SECONDS if gone is None else gone


def check_unclaimed(
    atlas: str, storage: Storage, *, patient: bool = False, clock: Clock | None = None
) -> Watch:
    """Refuses to go on beside a run that lives.

    Args:
      atlas: The output path.
      storage: Where it is.
      patient: Whether to watch a lease of another machine until it is renewed or dead.
      clock: By which waiting is measured.

    Returns:
      What was seen of leases, for `claimed`.

    Raises:
      ConfigurationError: Naming its host, its process and since when.
    """
    watch = Watch(atlas, storage, patient=patient, clock=clock)
    watch.wait()
    return watch


@contextlib.contextmanager
def claimed(
    atlas: str,
    run: str,
    storage: Storage,
    watch: Watch | None = None,
    *,
    keep_folder: bool = False,
) -> Iterator[None]:
    """Holds the atlas's lease while the body runs.

    Args:
      atlas: The output path.
      run: Names this run among all others.
      storage: Where the atlas is.
      watch: What was seen of leases before.
      keep_folder: Whether the run goes on writing when the body has ended.

    Raises:
      ConfigurationError: Another run lives, or the path cannot be made.
      RunError: The path is full or read-only.
    """
    _HELD.add(run)
    try:
        lease = claim(atlas, Lease.of_this_process(run), storage, watch or Watch(atlas, storage))
        with _renewed(atlas, lease, storage):
            yield
    finally:
        _HELD.discard(run)
        with contextlib.suppress(OSError):  # What is left is of a dead run.
            if not keep_folder:
                delete_run_folder(atlas, run, storage)
            storage.delete(lease_path(atlas, run))


@contextlib.contextmanager
def _renewed(atlas: str, lease: Lease, storage: Storage) -> Iterator[None]:
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


def claim(atlas: str, lease: Lease, storage: Storage, watch: Watch) -> Lease:
    """Makes a lease the atlas's only one; what is left of the dead is deleted.

    Args:
      atlas: The output path.
      lease: Whose claim it is.
      storage: Where the atlas is.
      watch: Looks at the others'.

    Returns:
      The lease as it is held.

    Raises:
      ConfigurationError: Another run lives, or the path cannot be made.
      RunError: The path is full or read-only, or another run has taken this one for dead.
    """
    try:
        storage.make_folder(run_folder(atlas, lease.run))
        for attempt in range(_ATTEMPTS):
            lease = _write(atlas, lease.again(held=False), storage)
            alive, dead = watch.look(lease.run)
            if not alive:
                return _hold(atlas, lease, dead, storage, watch)
            storage.delete(lease_path(atlas, lease.run))
            watch.wait(for_claims=attempt == _ATTEMPTS - 2)
            watch.clock.sleep(_pause_seconds(lease.run, attempt))
    except OSError as error:
        raise unwritable(atlas, error) from error
    except RunError as error:  # Whoever holds the atlas has swept what is not its own.
        alive, _ = watch.look(lease.run)
        if not alive:
            raise
        raise _refusal(atlas, alive[0]) from error
    raise _refusal(atlas, alive[0])


def _hold(atlas: str, lease: Lease, dead: list[Lease], storage: Storage, watch: Watch) -> Lease:
    """Turns a claim into a held lease, and looks once more."""
    for other in dead:
        delete_run_folder(atlas, other.run, storage)
        storage.delete(lease_path(atlas, other.run))
    held = _write(atlas, lease.again(held=True), storage)
    # Where a folder's deletion does not stop every write, a claim that slept may come second.
    rivals = [other for other in watch.look(lease.run)[0] if other.held]
    if rivals:
        storage.delete(lease_path(atlas, lease.run))
        raise _refusal(atlas, rivals[0])
    return held


def renew(atlas: str, lease: Lease, storage: Storage, wait: Callable[[float], bool]) -> None:
    """Renews a lease until it is lost or `wait` (seconds) says that it is over."""
    while not wait(RENEWAL_SECONDS):
        try:
            if not storage.match(escape(lease_path(atlas, lease.run))):
                return
            lease = _write(atlas, lease.again(held=True), storage)
        except RunError:  # Another run has taken over: commits will find it, too.
            return
        except OSError:  # The next renewal is soon enough; if not, commits find the lease gone.
            continue


def _pause_seconds(run: str, attempt: int) -> float:
    """Another pause for each run and attempt, so that two claimants do not keep step."""
    drawn = hashlib.sha256(f"{run} {attempt}".encode()).digest()
    return _LONGEST_PAUSE_SECONDS * int.from_bytes(drawn[:4], "big") / 2**32


def _refusal(atlas: str, lease: Lease) -> ConfigurationError:
    if lease.is_gone() is None:
        then = (
            "if that run is dead, --resume, --extend and --overwrite go on once they have watched "
            f"its lease for {EXPIRY_SECONDS / 60:.0f} minutes without a sign of life"
        )
    else:
        then = "wait for its end, or end it and go on with --resume"
    return ConfigurationError(f"output.path: another run works on {atlas} ({lease}): {then}")


def _write(atlas: str, lease: Lease, storage: Storage) -> Lease:
    data = json.dumps(dataclasses.asdict(lease), sort_keys=True).encode()
    write_through(atlas, lease.run, lease_path(atlas, lease.run), data, storage)
    return lease


def _read_leases(atlas: str, storage: Storage) -> list[Lease]:
    leases = []
    for entry in storage.match(f"{escape(lease_path(atlas, '')).removesuffix('.json')}*.json"):
        try:
            with storage.open(entry.path) as file:
                data = file.read()
        except FileNotFoundError:
            continue  # just withdrawn
        run = entry.path.removeprefix(lease_path(atlas, "").removesuffix(".json"))
        leases.append(_parse(data, run.removesuffix(".json")))
    return leases


def _parse(data: bytes, run: str) -> Lease:
    try:
        fields: dict[str, Any] = json.loads(data)
        return Lease(**{**fields, "run": run, "process": ProcessIdentity(**fields["process"])})
    except (ValueError, KeyError, TypeError):
        # Of another version, or torn: whether it changes can be seen all the same.
        nobody = ProcessIdentity("an unknown machine", machine="", pid=0, started="")
        return Lease(run, held=True, process=nobody, since=0.0, renewals=zlib.crc32(data))
