# SPDX-License-Identifier: BSD-3-Clause
"""How many threads a call uses.

The first of these that is given decides:

1. the argument ``n_threads`` of the call;
2. :func:`set_num_threads`;
3. the environment variable ``FASTCKA_NUM_THREADS``;
4. what OpenMP would use in the calling thread (``OMP_NUM_THREADS``, threadpoolctl limits), but not more than
   the CPUs that this process may use (affinity, control group quota, ``SLURM_CPUS_PER_TASK``).

Results have the same bits for any number of threads. Nothing is changed in the process: no environment
variable, no affinity (unless OMP_PROC_BIND asks OpenMP to bind threads), no limit of another library.
"""

from __future__ import annotations

import os

from ._arguments import positive_integer
from ._machine import affinity, cpu_quota

# Taken before the core is loaded: with OMP_PROC_BIND set, loading an OpenMP runtime narrows the affinity of
# the main thread to one place, and the number of processors could no longer be told. (If another OpenMP
# library came first, it is too late even here; OpenMP counted the places before it bound the thread, so then
# its own number is the right one.)
_PLACES_BOUND = any(os.environ.get(name) for name in ("OMP_PROC_BIND", "GOMP_CPU_AFFINITY"))
_AFFINITY = affinity()
_QUOTA = cpu_quota()
_SLURM = os.environ.get("SLURM_CPUS_PER_TASK")

from . import _core  # noqa: E402  (only after the affinity was read)

# A slip such as n_threads=n_samples must not start so many threads.
_MOST_THREADS = 4096

# The only mutable state of the package: one setting for the whole process, replaced in one step, so that it
# needs no lock, with or without a global interpreter lock.
_setting: int | None = None


def resolve(n_threads: int | None = None) -> int:
    """Return the number of threads for a call with this ``n_threads`` argument (policy: module docstring)."""
    if n_threads is not None:
        return positive_integer(n_threads, "n_threads", _MOST_THREADS)
    setting = _setting  # read once: another thread may change it
    if setting is not None:
        return setting
    wanted = os.environ.get("FASTCKA_NUM_THREADS")
    if wanted:
        return _from_environment("FASTCKA_NUM_THREADS", wanted)
    threads = _core.omp_max_threads()
    if not _PLACES_BOUND:
        threads = min(threads, _AFFINITY)
    if _QUOTA is not None:
        threads = min(threads, _QUOTA)
    if _SLURM and _SLURM.isdecimal() and int(_SLURM) > 0:  # other software's variable: nonsense is ignored
        threads = min(threads, int(_SLURM))
    return threads


def get_num_threads() -> int:
    """Return the number of threads that a call without ``n_threads`` would use in this thread, now.

    Returns
    -------
    int

    See Also
    --------
    set_num_threads : Choose another number.

    Examples
    --------
    >>> import fastcka
    >>> fastcka.get_num_threads() >= 1
    True
    """
    return resolve()


def set_num_threads(n: int | None) -> None:
    """Choose the number of threads of later calls in this process without ``n_threads``.

    Parameters
    ----------
    n : int or None
        At least 1. None returns to the default: ``FASTCKA_NUM_THREADS``, else what OpenMP would use, within
        the CPUs that this process may use.

    Raises
    ------
    TypeError, ValueError
        When `n` is not a positive integer.

    Examples
    --------
    >>> import fastcka
    >>> fastcka.set_num_threads(2)
    >>> fastcka.get_num_threads()
    2
    >>> fastcka.set_num_threads(None)
    """
    global _setting
    _setting = None if n is None else positive_integer(n, "n", _MOST_THREADS)


def _from_environment(name: str, text: str) -> int:
    try:
        return positive_integer(int(text), name, _MOST_THREADS)
    except ValueError:
        raise ValueError(
            f"the environment variable {name} must be a number of threads, 1 to {_MOST_THREADS}, got {text!r}"
        ) from None
