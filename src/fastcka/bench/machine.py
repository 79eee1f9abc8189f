# SPDX-License-Identifier: BSD-3-Clause
"""On what a benchmark ran: CPU, threads, versions, commit."""

from __future__ import annotations

import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import config

PACKAGES = ("torch", "torch-cka", "pytorch-cka", "ckatorch", "repsim", "thingsvision")


def describe(threads: int) -> dict[str, Any]:
    """Return what a result file says about the machine.

    Returns
    -------
    dict
        "cpu", "processors", "memory_gb", "threads"; "simd_level" and "compiler" of the core; "blas" (those
        that are loaded); "versions" of fastcka, Python, NumPy and the opponents that are installed; "commit"
        (None outside a git checkout of fastcka; "-dirty" when it has changes); "date".
    """
    from threadpoolctl import threadpool_info

    core = config.config()
    versions = {"fastcka": core["version"], "python": core["python"], "numpy": core["numpy"]}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": cpu_model(),
        "processors": core["processors"],
        "memory_gb": memory_gb(),
        "threads": threads,
        "simd_level": core["simd_level"],
        "compiler": core["compiler"],
        "blas": [
            " ".join(
                str(library[key]) for key in ("internal_api", "version", "architecture") if key in library
            )
            for library in threadpool_info()
            if library["user_api"] == "blas"
        ],
        "versions": versions,
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def cpu_model() -> str:
    """Return the name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def memory_gb() -> float | None:
    """Return the size of the main memory, where the system tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal"))
    return round(kilobytes * 1024 / 1e9, 1)


def commit() -> str | None:
    """Return the commit of the checkout that this file is part of."""
    here = Path(__file__)
    try:
        # An installed copy may lie inside a checkout of something else, which does not track it.
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        return _git(here.parent, "describe", "--always", "--dirty", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()
