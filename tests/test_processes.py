# SPDX-License-Identifier: BSD-3-Clause
"""Processes that are started after fastcka has used its threads, or while it does: the same bits in each."""

from __future__ import annotations

import os
import sys

import pytest
from test_citizen import child

FORKS = min(100, int(os.environ.get("FASTCKA_EXAMPLES", "10")))

VALUES = """
    import json
    import numpy as np, fastcka

    X = np.random.default_rng(0).normal(size=(600, 300))  # large enough that joblib maps it from a file
    Y = X[:, :200] ** 3

    def value(n_threads):
        return fastcka.cka(X, Y, kernel="rbf", n_threads=n_threads)

    before = value(2)
"""
AFTER = """
    print(json.dumps({"before": before, "children": children, "after": value(2)}))
"""
forks = pytest.mark.skipif(
    sys.platform != "linux", reason="fork is the default of multiprocessing on Linux only"
)


def check(found):
    assert set(found["children"]) == {found["before"]} == {found["after"]}


@forks
def test_pool_of_forked_processes():
    check(
        child(
            f"""{VALUES}
    import multiprocessing, warnings

    warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads
    with multiprocessing.get_context("fork").Pool(2) as pool:
        children = pool.map_async(value, [1, 2, 3, 4]).get(timeout=120)
{AFTER}"""
        )
    )


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_joblib(backend):
    pytest.importorskip("joblib")
    check(
        child(
            f"""{VALUES}
    import joblib, warnings

    warnings.simplefilter("ignore", DeprecationWarning)
    calls = [joblib.delayed(fastcka.cka)(X, Y, kernel="rbf", n_threads=n) for n in (1, 2, 3, 4)]
    children = joblib.Parallel(2, backend="{backend}", timeout=120)(calls)
{AFTER}"""
        )
    )


@forks
def test_fork_while_another_thread_computes():
    """The child has none of the threads that were computing, and must not wait for them."""
    found = child(
        f"""{VALUES}
    import os, signal, threading, time, warnings

    warnings.simplefilter("ignore", DeprecationWarning)
    rng = np.random.default_rng(0)
    inside, forked, done = (threading.Event() for _ in range(3))
    children, values = [], []

    def progress(*_):
        inside.set()
        forked.wait()

    def compute():  # first one call that is under way at the first fork, then many small ones
        matrix = fastcka.cka_matrix([X], [Y], kernel="rbf", n_threads=2, progress=progress)
        values.append(float(matrix.values[0, 0]))
        while not done.is_set():
            values.append(value(2))

    def fork():
        process = os.fork()
        if process == 0:
            signal.alarm(30)  # ends a child that waits for ever
            os._exit(0 if value(2) == before else 1)
        return os.waitpid(process, 0)[1]

    thread = threading.Thread(target=compute)
    thread.start()
    inside.wait()
    children.append(fork())
    in_a_call = not values
    forked.set()
    while len(children) < {FORKS} and children[-1] == 0:
        time.sleep(rng.uniform(0, 0.01))
        children.append(fork())
    done.set()
    thread.join()
    print(json.dumps({{"in_a_call": in_a_call, "children": children, "same": set(values) == {{before}}}}))
"""
    )
    assert found["in_a_call"]
    assert not any(found["children"])
    assert found["same"]
