"""Limits that a container or a scheduler sets to this process: Linux's control groups, v1 and v2.

Neither the CPUs that a process may run on nor the memory that the machine has tell of them.
"""

from __future__ import annotations

from pathlib import Path

# Where the kernel tells of groups, and of which of them this process belongs to.
_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def memory_limits() -> list[tuple[int, int]]:
    """(limit, used) in bytes of each group that holds this process, and of those above.

    Files in the page cache, which are given up when needed, do not count as used.
    """
    found = []
    for group in _own_groups("memory"):
        # Version 2, then version 1.
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            text = read(group / limit)
            if text.isdecimal():
                stat = dict(line.split() for line in read(group / "memory.stat").splitlines())
                cache = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
                found.append((int(text), max(0, int(read(group / used) or 0) - cache)))
    return found


def cpu_limit() -> float | None:
    """CPUs whose time this process may use at most; None: no limit is set."""
    found = []
    for group in _own_groups("cpu"):
        # Version 2 has both in one file and "max" for none, version 1 a file each and -1.
        told = read(group / "cpu.max").split() or [
            read(group / f"cpu.cfs_{part}_us") for part in ("quota", "period")
        ]
        if len(told) == 2 and all(part.isdecimal() for part in told) and int(told[1]) > 0:
            found.append(int(told[0]) / int(told[1]))
    return min(found, default=None)


def read(path: Path) -> str:
    """What a file of the kernel holds; "" where it is not there."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _own_groups(controller: str) -> list[Path]:
    """The folders of this process's groups for it and of those around them."""
    groups, mounts = [], [_ROOT, _ROOT / controller]
    for line in read(_OWN).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            mounts.append(_ROOT / controllers)
            below = _ROOT / controllers / path.lstrip("/")
            groups += [p for p in (below, *below.parents) if p.is_relative_to(_ROOT)]
    # In a container its own group may be mounted where the root would be.
    return list(dict.fromkeys([*groups, *mounts]))
