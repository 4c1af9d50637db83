"""How much memory there is, and how many workers it is enough for."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_RESERVE = 0.9  # of what is free: others on the machine breathe too


def available_bytes() -> int | None:
    """Return how much memory this process could still take, within its container or job; None where that is unknown."""
    limits = []
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(1024 * int(line.split()[1]))
    with suppress(OSError, ValueError):  # no such group, or "max"
        limits.append(int((_CGROUP / "memory.max").read_text()) - int((_CGROUP / "memory.current").read_text()))
    return max(0, min(limits)) if limits else None


def affordable_workers(n_workers: int, bytes_each: float, *, available: int | None = None) -> int:
    """Return how many of so many workers fit into memory, at least one.

    Examples
    --------
    >>> affordable_workers(8, 2e9, available=10_000_000_000)
    4
    """
    free = available_bytes() if available is None else available
    if free is None or bytes_each <= 0:
        return n_workers
    return max(1, min(n_workers, int(_RESERVE * free / bytes_each)))
