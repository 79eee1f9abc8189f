# SPDX-License-Identifier: BSD-3-Clause
"""What this process may use of the machine: CPUs and memory, within its own control groups.

Control groups (v2 and v1) are what containers, SLURM and systemd set limits with. A limit on any group on the
way up from the process's own one counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def affinity() -> int:
    """Return the number of CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(root: Path = ROOT) -> int | None:
    """Return the whole CPUs that control groups grant, or None without a limit.

    Fractions are rounded down: a thread that the scheduler holds back keeps all others waiting at the end of
    the call.
    """
    quotas = [quota for group in _groups(root, "cpu") if (quota := _group_quota(group)) is not None]
    return max(1, int(min(quotas))) if quotas else None


def available_bytes(root: Path = ROOT) -> int:
    """Return the memory that this process may still use: what is free, within its control groups and ulimit.

    File contents that the system keeps in memory and gives back on demand count as free.
    """
    groups = (room for group in _groups(root, "memory") if (room := _group_room(group)) is not None)
    return max(0, min([_free(root), *groups, *_address_space(root)]))


def size_in_words(n_bytes: float) -> str:
    """Return a size as people read it.

    >>> size_in_words(1536), size_in_words(3_200_000_000)
    ('1.54 kB', '3.2 GB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


# ---------------------------------------------------------------------- control groups


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups of this process, from its own one up."""
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux, or no /proc
        return
    for membership in memberships:
        _, controllers, group = membership.split(":", 2)
        if controllers == "":  # version 2
            mount = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controller
        else:
            continue
        folder = mount / group.lstrip("/")
        yield folder
        while folder != mount:
            folder = folder.parent
            yield folder


def _group_quota(folder: Path) -> float | None:
    """Return the CPUs granted to one control group, or None where it sets no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return float(quota) / float(period) if quota != "max" and float(quota) > 0 else None
    except OSError:  # the group is not visible here, or has no processor controller
        return None


# Of either version: the limit, what is used, and what of that is given back on demand.
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _group_room(folder: Path) -> int | None:
    """Return the memory that one control group may still take, or None where it sets no limit."""
    for most, used, reclaimable in _MEMORY:
        try:
            left = int((folder / most).read_text()) - int((folder / used).read_text())
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return left + int(statistics.get(reclaimable, 0))
        except (OSError, ValueError):  # no such file, or no limit ("max")
            continue
    return None


# ---------------------------------------------------------------------- machine and process


def _free(root: Path) -> int:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _address_space(root: Path) -> Iterator[int]:
    """Yield what ``ulimit -v``, as some batch systems set it, leaves."""
    try:
        import resource
    except ImportError:  # Windows
        return
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        try:
            pages = int((root / "proc/self/statm").read_text().split()[0])
        except OSError:
            return
        yield most - pages * os.sysconf("SC_PAGE_SIZE")
