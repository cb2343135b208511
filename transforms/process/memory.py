"""What memory this process takes, and what it may still take."""

from __future__ import annotations

import pathlib
import resource
import sys

import psutil

_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes

_CGROUPS = pathlib.Path("/sys/fs/cgroup")
_CGROUP_FILES = (  # (limit, used, statistics, the statistic of what can be reclaimed)
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def resident_bytes() -> int:
    """What the process holds in memory now."""
    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int:
    """The most that the process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT


def free_bytes(cgroups: pathlib.Path = _CGROUPS) -> int:
    """What can be had without swapping, and without exceeding the limit of a container.

    Args:
      cgroups: Where Linux shows the limits of control groups, of version 2 or 1.
    """
    free = int(psutil.virtual_memory().available)
    for limit_name, used_name, statistics_name, reclaimable_name in _CGROUP_FILES:
        limit = cgroups / limit_name
        if not limit.exists() or (text := limit.read_text().strip()) == "max":
            continue
        statistics = dict(
            line.split(maxsplit=1) for line in (cgroups / statistics_name).read_text().splitlines()
        )
        used = int((cgroups / used_name).read_text()) - int(statistics.get(reclaimable_name, 0))
        free = min(free, max(0, int(text) - used))
    return free
