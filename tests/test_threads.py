# SPDX-License-Identifier: BSD-3-Clause
"""How many threads work, that the number never changes the bits, and that the process is left as it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastcka
from fastcka import _core, threads

# ---------------------------------------------------------------------- policy


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine of 8 processors where OpenMP is left to itself and nothing was chosen."""
    monkeypatch.setattr(_core, "omp_max_threads", lambda: 8)
    monkeypatch.setattr(threads, "_AFFINITY", 8)
    monkeypatch.setattr(threads, "_PLACES_BOUND", False)
    monkeypatch.setattr(threads, "_QUOTA", None)
    monkeypatch.setattr(threads, "_SLURM", None)
    monkeypatch.setattr(threads, "_setting", None)
    monkeypatch.delenv("FASTCKA_NUM_THREADS", raising=False)
    return monkeypatch


def test_default_is_what_openmp_would_use(machine):
    assert fastcka.get_num_threads() == 8
    machine.setattr(_core, "omp_max_threads", lambda: 3)  # asked at every call
    assert fastcka.get_num_threads() == 3


@pytest.mark.parametrize(("bound", "value"), [("_AFFINITY", 2), ("_QUOTA", 2), ("_SLURM", "2")])
def test_default_is_bounded(machine, bound, value):
    machine.setattr(threads, bound, value)
    assert fastcka.get_num_threads() == 2
    machine.setattr(_core, "omp_max_threads", lambda: 1)
    assert fastcka.get_num_threads() == 1


def test_bound_places_are_known_to_openmp_only(machine):
    machine.setattr(threads, "_AFFINITY", 1)  # what an OpenMP library that was loaded earlier leaves to see
    machine.setattr(threads, "_PLACES_BOUND", True)
    assert fastcka.get_num_threads() == 8


def test_order_of_precedence(machine):
    machine.setattr(threads, "_QUOTA", 2)  # a wish is not bounded
    machine.setenv("FASTCKA_NUM_THREADS", "5")
    assert threads.resolve() == 5
    fastcka.set_num_threads(6)
    assert threads.resolve() == fastcka.get_num_threads() == 6
    assert threads.resolve(7) == 7
    assert threads.resolve(np.int64(7)) == 7
    fastcka.set_num_threads(None)
    assert fastcka.get_num_threads() == 5
    machine.setenv("FASTCKA_NUM_THREADS", "")
    assert fastcka.get_num_threads() == 2


@pytest.mark.parametrize("text", ["0", "-2", "two", "2.5", "1,2", "5000", " "])
def test_environment_that_makes_no_sense(machine, text):
    expected = (
        f"the environment variable FASTCKA_NUM_THREADS must be a number of threads, 1 to 4096, got {text!r}"
    )
    machine.setenv("FASTCKA_NUM_THREADS", text)
    with pytest.raises(ValueError, match=re.escape(expected)):
        fastcka.cka([[1.0], [2.0]], [[1.0], [2.0]])
    machine.delenv("FASTCKA_NUM_THREADS")
    machine.setattr(threads, "_SLURM", text)  # other software's variable
    assert fastcka.get_num_threads() == 8


@pytest.mark.parametrize(
    ("n", "error", "text"),
    [
        (0, ValueError, "n must be a positive integer, got 0"),
        (True, TypeError, "n must be a positive integer, got True"),
        (2.0, TypeError, "n must be a positive integer, got 2.0"),
        (5000, ValueError, "n must be at most 4096, got 5000"),
    ],
)
def test_setting_that_makes_no_sense(n, error, text):
    fastcka.set_num_threads(3)
    with pytest.raises(error, match=text):
        fastcka.set_num_threads(n)
    assert fastcka.get_num_threads() == 3


def test_setting_reaches_the_core(machine):
    layers = [np.zeros((4000, 300), np.float32)]
    assert fastcka.plan(layers, n_threads=2).n_threads == 2
    fastcka.set_num_threads(1)
    assert fastcka.plan(layers).n_threads == 1
    machine.setattr(threads, "_setting", None)
    machine.setenv("FASTCKA_NUM_THREADS", "2")
    assert fastcka.plan(layers).n_threads == 2


# ---------------------------------------------------------------------- a new process


def threads_in_new_process(before="", call="fastcka.get_num_threads()", **environment):
    """Return what an interpreter that starts in this environment says."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OMP_", "GOMP_", "SLURM_", "FASTCKA_"))
    }
    code = f"{before}\nimport fastcka\nprint({call})"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_openmp_environment_is_followed():
    assert threads_in_new_process(OMP_NUM_THREADS="1") == 1


def test_own_environment_comes_first():
    assert threads_in_new_process(OMP_NUM_THREADS="1", FASTCKA_NUM_THREADS="3") == 3


def test_slurm_is_followed():
    assert threads_in_new_process(SLURM_CPUS_PER_TASK="1") == 1


def test_binding_of_threads_costs_no_threads():
    free = threads_in_new_process()
    assert threads_in_new_process(OMP_PROC_BIND="true") == free
    assert threads_in_new_process(OMP_PROC_BIND="spread", OMP_PLACES="cores", OMP_NUM_THREADS="1") == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor affinity on this system")
def test_affinity_is_followed():
    one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    assert threads_in_new_process(one) == 1
    assert threads_in_new_process(one, OMP_NUM_THREADS="4") == 1


def test_limits_of_threadpoolctl_are_followed():
    pytest.importorskip("threadpoolctl")
    before = """
import threadpoolctl, fastcka
class limited:
    def get_num_threads(self):
        with threadpoolctl.threadpool_limits(1, user_api="openmp"):
            return fastcka.get_num_threads()
"""
    assert threads_in_new_process(before, "limited().get_num_threads()") == 1


# ---------------------------------------------------------------------- the same bits

LARGE = (700, 210)  # several tiles a side, none of them full at the edge


def layers_of(rng, dtype):
    n, p = LARGE
    shared = rng.normal(size=(n, 5))
    return {
        f"{width} wide": (shared @ rng.normal(size=(5, width)) + rng.normal(size=(n, width)) + 30).astype(
            dtype
        )
        for width in (p, 37, 2, p + 3)
    }


KERNELS = (
    "linear",
    "rbf",
    "laplacian",
    "cosine",
    "correlation",
    "distance",
    fastcka.RBF(0.5, median="offdiag"),
)


def everything(layers, n_threads, kernels=KERNELS):
    """All results of all functions, as bytes."""
    X, Y, *_ = layers.values()
    options = {"n_threads": n_threads}
    found = []
    for kernel in kernels:
        for estimator in ("biased", "unbiased"):
            found += [
                fastcka.cka(X, Y, kernel=kernel, estimator=estimator, **options),
                fastcka.hsic(Y, X, kernel=kernel, estimator=estimator, **options),
            ]
        found.append(fastcka.cka_matrix(layers, kernel=kernel, **options).values)
    K = fastcka.gram(X, kernel="rbf", **options)
    found += [K, fastcka.gram(X, **options), fastcka.center(K, **options)]
    wide = {
        name: X.T[:200] for name, X in layers.items() if X.shape[1] > 200
    }  # the Gram route of the linear kernel
    found.append(fastcka.cka_matrix(wide, **options).values)
    return b"".join(np.asarray(value).tobytes() for value in found)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_same_bits_for_any_number_of_threads(rng, dtype):
    layers = layers_of(rng, dtype)
    assert fastcka.plan(layers, n_threads=8).n_threads > 1  # else nothing is shown here
    expected = everything(layers, 1)
    for n_threads in (1, 2, 3, 8):
        assert everything(layers, n_threads) == expected, n_threads


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_same_bits_for_any_number_of_threads_in_little_memory(rng, kernel):
    layers = [rng.standard_normal((600, 200), dtype=np.float32) for _ in range(6)]
    least = fastcka.plan(layers, kernel=kernel, n_threads=1).bytes
    while True:  # as little as there is a plan for
        try:
            fastcka.plan(layers, kernel=kernel, n_threads=1, max_bytes=least - 100_000)
        except MemoryError:
            break
        least -= 100_000
    for spare in (0, 400_000, 1_000_000, 3_000_000, 10_000_000):
        options = {"kernel": kernel, "max_bytes": least + spare}
        found = {fastcka.cka_matrix(layers, n_threads=n, **options).values.tobytes() for n in (1, 2, 4, 8)}
        assert len(found) == 1, spare
        assert fastcka.plan(layers, n_threads=8, **options).bytes <= least + spare


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_same_bits_for_32_concurrent_callers(rng, dtype):
    kernels, n_callers = ("linear", "rbf"), 32
    jobs = [{name: X[:250] for name, X in layers_of(rng, dtype).items()} for _ in range(2)]
    assert fastcka.plan(jobs[0], n_threads=2).n_threads == 2
    expected = [everything(layers, 2, kernels) for layers in jobs]
    together = threading.Barrier(n_callers)

    def job(number):
        together.wait()
        return everything(jobs[number % 2], 2, kernels) == expected[number % 2]

    with ThreadPoolExecutor(n_callers) as pool:
        assert all(pool.map(job, range(n_callers)))


def test_setting_may_change_while_others_compute(rng):
    layers = layers_of(rng, np.float32)
    expected = everything(layers, 1, ("linear", "rbf"))
    done = threading.Event()

    def change():
        n = 0
        while not done.is_set():
            n += 1
            fastcka.set_num_threads(n % 4 + 1)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        found = everything(layers, None, ("linear", "rbf"))
    finally:
        done.set()
        changer.join()
    assert found == expected


# ---------------------------------------------------------------------- a good citizen


def test_the_process_is_left_as_it_was(rng, machine):
    machine.undo()
    affinity = getattr(os, "sched_getaffinity", lambda pid: None)
    before = dict(os.environ), affinity(0), _core.omp_max_threads(), fastcka.get_num_threads()
    everything(layers_of(rng, np.float32), 3, ("linear", "rbf"))
    assert (dict(os.environ), affinity(0), _core.omp_max_threads(), fastcka.get_num_threads()) == before


BOUND = """
import os, threading
import numpy as np, fastcka

X = np.random.default_rng(0).normal(size=(600, 200))

def call():
    before = os.sched_getaffinity(0)
    value = fastcka.cka(X, X[:, :100] ** 3, kernel="rbf", n_threads=2)
    print(value.hex(), os.sched_getaffinity(0) == before)

call()
thread = threading.Thread(target=call)
thread.start()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no processor affinity on this system")
def test_calls_leave_the_affinity_of_bound_threads_and_compute_the_same():
    printed = [
        subprocess.check_output([sys.executable, "-c", BOUND], text=True, env=os.environ | environment)
        for environment in ({}, {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores"})
    ]
    assert printed[0] == printed[1]
    assert printed[0].split()[1::2] == ["True", "True"]


def test_buffers_are_released_between_calls_and_made_again(rng):
    layers = layers_of(rng, np.float64)
    expected = everything(layers, 2, ("linear", "rbf"))
    fastcka.release_buffers()
    fastcka.release_buffers()
    assert everything(layers, 2, ("linear", "rbf")) == expected


def test_memory_of_arrays_goes_back_to_the_buffers():
    fastcka.release_buffers()
    first = _core.empty_bytes(5 << 20)
    address = first.ctypes.data
    view = first[10:]
    del first
    second = _core.empty_bytes(5 << 20)
    assert second.ctypes.data != address  # the view still refers to the first
    del view
    third = _core.empty_bytes(5 << 20)
    assert third.ctypes.data == address
    assert third.flags.writeable
    assert _core.empty_bytes(0).size == 0
    with pytest.raises(MemoryError):
        _core.empty_bytes(1 << 60)
