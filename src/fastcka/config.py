# SPDX-License-Identifier: BSD-3-Clause
"""Versions, instruction set level and threads in use; and the memory the core keeps."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np

from . import _core, _machine, threads


def config() -> dict[str, Any]:
    """Return what :func:`show_config` prints.

    Returns
    -------
    dict
        "version", "simd_level", "simd_levels", "compiler", "eigen", "openmp", "build_type" of the core;
        "n_threads" of a call without that argument; "processors", "cpu_quota" and "environment", from which
        that number comes; "python", "numpy", "platform".
    """
    variables = ("FASTCKA_NUM_THREADS", "FASTCKA_SIMD_LEVEL", "OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")
    return {
        **_core.config(),
        "n_threads": threads.get_num_threads(),
        "processors": _machine.affinity(),
        "cpu_quota": _machine.cpu_quota(),
        "environment": {name: os.environ[name] for name in variables if name in os.environ},
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
    }


def show_config() -> None:
    """Print versions, instruction set level, threads and compiler. Useful in bug reports.

    Examples
    --------
    >>> import fastcka
    >>> fastcka.show_config()  # doctest: +ELLIPSIS
    version      ...
    simd_level   ...
    """
    for name, value in config().items():
        print(f"{name:<12} {_text(value)}")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items()) or "nothing set"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)


def release_buffers() -> None:
    """Free the packing buffers that the core keeps between calls.

    They are kept, up to a limit, because fresh memory costs time. Running calls keep theirs.

    Examples
    --------
    >>> import fastcka
    >>> fastcka.release_buffers()
    """
    _core.release_buffers()
