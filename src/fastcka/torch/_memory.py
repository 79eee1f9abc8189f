# SPDX-License-Identifier: BSD-3-Clause
"""How much memory there is, and sizes in words."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_bytes() -> int:
    """Return the memory that can be taken now: of the machine, or of the container where that is less."""
    limits = [_machine()]
    for most, used in _CGROUP:
        try:
            limits.append(int(Path(most).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such limit ("max"), or no such file
            continue
    return max(0, min(limits))


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
