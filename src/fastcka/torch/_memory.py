# SPDX-License-Identifier: BSD-3-Clause
"""How much memory there is, and sizes in words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Of control groups: the files of the limit and of what is used, and what of that is given back on demand.
_CGROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def available_bytes() -> int:
    """Return the memory that can be taken now: of the machine, or of the container where that is less."""
    return max(0, min([_machine(), *_containers()]))


def _containers() -> Iterator[int]:
    for folder, most, used, reclaimable in _CGROUPS:
        group = Path(folder)
        try:
            left = int((group / most).read_text()) - int((group / used).read_text())
            statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            yield left + int(statistics.get(reclaimable, 0))
        except (OSError, ValueError):  # no such limit ("max"), or no such file
            continue


def _machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def in_words(n_bytes: float) -> str:
    """Return a size as people read it.

    >>> in_words(1536), in_words(3_200_000_000)
    ('1.54 kB', '3.2 GB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"
