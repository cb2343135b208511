"""Which process this is, among those of all machines, and whether another one is still there."""

from __future__ import annotations

import dataclasses
import os
import socket

_BOOT = "/proc/sys/kernel/random/boot_id"
_START_TIME_FIELD = 19  # of /proc/PID/stat, counted behind the name in brackets


@dataclasses.dataclass(frozen=True)
class ProcessIdentity:
    """A process, told from all others.

    Attributes:
      host: The machine's name, for people.
      machine: Its boot and the namespace that process numbers are of; empty where the system does
        not tell. Names of machines repeat, and the first namespace's number is the same everywhere.
      pid: The process's number.
      started: Tells it from an earlier or later process of that number; empty where unknown.
    """

    host: str
    machine: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> ProcessIdentity:
        """This process."""
        return cls(socket.gethostname(), _machine(), os.getpid(), process_start(os.getpid()))

    def is_gone(self) -> bool | None:
        """Whether the process has ended; None where it cannot be seen from here."""
        here = ProcessIdentity.current()
        if not here.machine or (here.host, here.machine) != (self.host, self.machine):
            return None
        return process_start(self.pid) != self.started


def process_start(pid: int) -> str:
    """When a process began, in the system's own units; empty where there is no such process.

    A number alone is given to another process sooner or later, and in each container anew.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    state, started = fields[0], fields[_START_TIME_FIELD]
    return "" if state == b"Z" else started.decode()


def _machine() -> str:
    try:
        with open(_BOOT, encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
