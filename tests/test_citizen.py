# SPDX-License-Identifier: BSD-3-Clause
"""A long call does not hold the process: Ctrl-C, other threads, memory; nor does an import."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import fastcka


def child(code: str) -> dict:
    """Run `code` in a fresh interpreter and return the dict that it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


MEMORY = """
    import json
    import numpy as np, fastcka

    def kilobytes(name):
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(name))

    def layers(count, n, p):
        rng = np.random.default_rng(0)
        return [rng.standard_normal((n, p), dtype=np.float32) for _ in range(count)]

    fastcka.cka(*layers(2, 64, 32), n_threads=2)  # loads code, starts threads
    fastcka.release_buffers()
"""

MOMENTS = min(100, int(os.environ.get("FASTCKA_EXAMPLES", "10")))

# ---------------------------------------------------------------------------------------- Ctrl-C

# Each would take ten seconds to minutes with two threads.
LONG_CALLS = {
    "cka, Gram route": lambda X: fastcka.cka(X, X[:, ::-1], kernel=fastcka.RBF(sigma=1.0)),
    "cka, feature route": lambda X: fastcka.cka(wide(X), wide(X)[:, ::-1]),
    "cka, search for the median": lambda X: fastcka.cka(X, X, kernel="rbf"),
    "cka_matrix": lambda X: fastcka.cka_matrix([X] * 6, kernel="distance"),
    "cka_matrix, few samples": lambda X: fastcka.cka_matrix([X.reshape(20, -1)] * 2000),
    "hsic": lambda X: fastcka.hsic(X, X, kernel="laplacian"),
}


def wide(X):
    """16 000 samples of 6000 features in the memory of X."""
    return sliding_window_view(X.reshape(-1), 6000)[:1_600_000:100]


@pytest.fixture(scope="module")
def long_input():
    return np.random.default_rng(0).standard_normal((200_000, 100), dtype=np.float32)


def seconds_after_ctrl_c(call, delay):
    """Return how long a call goes on after Ctrl-C, which comes `delay` seconds after its start."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    sent, ended = [], []

    def interrupt():
        time.sleep(delay)
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    def interrupted():
        try:
            call()
        finally:
            ended.append(time.monotonic())
        timer.join()  # the call was too short: Ctrl-C comes here

    timer = threading.Thread(target=interrupt)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        timer.join()
        signal.signal(signal.SIGINT, handler)
    assert ended > sent, "the call was over before Ctrl-C"
    return ended[0] - sent[0]


def best_of_three(call, delay, enough):
    """Try again where another process may have delayed the answer."""
    for _ in range(3):
        late = seconds_after_ctrl_c(call, delay)
        if late < enough:
            break
    return late


@pytest.mark.parametrize("name", LONG_CALLS)
def test_interrupt_ends_a_long_call(long_input, name, monkeypatch):
    monkeypatch.setenv("FASTCKA_NUM_THREADS", "2")  # so that no machine is done before
    # The promise is 0.2 s; machines that test are shared and slow.
    assert best_of_three(lambda: LONG_CALLS[name](long_input), delay=0.5, enough=2) < 2
    X = np.eye(6, 3)
    assert fastcka.cka(X, X) == pytest.approx(1, abs=1e-12)  # the team of threads is as good as before


@pytest.mark.parametrize("function", [fastcka.gram, fastcka.center])
def test_interrupt_ends_the_making_of_a_matrix(function):
    """Python raises KeyboardInterrupt after a call that never looks, too, but later."""
    X = np.broadcast_to(np.arange(1, 10_001, dtype=np.float32)[:, None], (10_000, 10_000))
    if function is fastcka.gram:
        X = X[:, :400]
    start = time.monotonic()
    function(X, n_threads=1)
    whole = time.monotonic() - start
    late = best_of_three(lambda: function(X, n_threads=1), delay=whole / 10, enough=whole / 2)
    assert late < whole / 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_interrupts_at_random_moments_leave_nothing_behind():
    """The same bits afterwards, no more threads, no memory in use. FASTCKA_EXAMPLES=100 tries more."""
    found = child(
        f"""{MEMORY}
    import os, signal, threading, time

    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = np.random.default_rng(0)
    X, Y = layers(2, 9000, 800)

    def streamed(stream):
        done = stream.n_samples  # where Ctrl-C has cut the batch
        if done < len(X):
            stream.update(X[done:], Y[done:])
        return stream.result().values.tobytes()

    def small_calls():
        stream = fastcka.StreamingCKA(n_threads=2)
        stream.update(X[:300, :50], Y[:300, :40])
        matrix = fastcka.cka_matrix([X[:300], Y[:300, :99]], kernel="rbf", n_threads=2)
        test = fastcka.cka_test(X[:200, :50], Y[:200, :50], n_threads=2)
        return [stream.result().values.tobytes(), matrix.values.tobytes(), test.statistic, test.pvalue]

    CALLS = [
        lambda stream: fastcka.cka_matrix([X[:4000, :300], Y[:4000, :200]], kernel="rbf", n_threads=2),
        lambda stream: stream.update(X, Y),
        lambda stream: fastcka.cka_test(X[:1200, :400], Y[:1200, :300], kernel="rbf", n_threads=2),
    ]

    def is_interrupted(call, stream, delay):
        over = False
        timer = threading.Timer(delay, signal.raise_signal, [signal.SIGINT])
        try:
            timer.start()
            call(stream)
            over = True
            timer.join()  # Ctrl-C comes here at the latest
        except KeyboardInterrupt:
            timer.join()
        return not over

    def seconds(call):
        start = time.monotonic()
        call(fastcka.StreamingCKA(n_threads=2))
        return time.monotonic() - start

    alone, whole = small_calls(), streamed(fastcka.StreamingCKA(n_threads=2))
    lengths = [seconds(call) for call in CALLS]

    def in_use():
        fastcka.release_buffers()
        return 1024 * kilobytes("VmRSS")

    memory, threads = in_use(), len(os.listdir("/proc/self/task"))
    interrupted, same, most_threads = [], [], threads
    for _ in range({MOMENTS}):
        for call, length in zip(CALLS, lengths):
            stream = fastcka.StreamingCKA(n_threads=2)
            interrupted.append(is_interrupted(call, stream, rng.uniform(0, length)))
            same.append(small_calls() == alone)
            most_threads = max(most_threads, len(os.listdir("/proc/self/task")))
            if 0 < stream.n_samples:
                same.append(streamed(stream) == whole)
    del stream
    print(json.dumps({{
        "interrupted": any(interrupted),
        "same": all(same),
        "threads": most_threads - threads,
        "memory": in_use() - memory,
    }}))
"""
    )
    assert found["interrupted"]
    assert found["same"]
    assert found["threads"] <= 1  # that of a timer may be about to end
    assert found["memory"] < 64e6  # malloc may keep 15 MB of threads that have ended; a call takes up to 100


# ---------------------------------------------------------------------------------------- other threads


def test_other_threads_go_on(long_input):
    """The interpreter lock is free during a call: this thread counts while another computes."""
    stop = threading.Event()

    class Enough(Exception):
        pass

    def progress(done, total):
        if stop.is_set():
            raise Enough

    def compute():
        with pytest.raises(Enough):
            fastcka.cka_matrix([long_input] * 6, kernel="distance", progress=progress)
        ended.set()

    ended = threading.Event()
    worker = threading.Thread(target=compute)
    worker.start()
    turns = 0
    while turns < 20:
        time.sleep(0.01)
        turns += 1
        assert not ended.is_set()
    stop.set()
    worker.join(timeout=60)
    assert ended.is_set()


# ---------------------------------------------------------------------------------------- memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("case", "options"),
    [
        ((16, 4096, 200), {}),
        ((16, 4096, 200), {"kernel": "rbf"}),
        ((3, 600, 9000), {}),
        ((60, 280, 3000), {}),
        ((60, 280, 3000), {"kernel": "rbf"}),
        ((2, 12_000, 64), {"kernel": "rbf"}),
        ((12, 6000, 500), {"inference": True}),  # by features; then a sweep of its own, by Gram matrices
        ((12, 1500, 500), {"inference": True, "kernel": "rbf"}),
        ((40, 3000, 10), {"inference": True, "groups": [i // 1000 for i in range(3000)]}),
        ((4, 2500, 30), {"inference": "moments", "kernel": "rbf"}),
    ],
)
def test_peak_memory_stays_below_the_plan(case, options):
    found = child(
        f"""{MEMORY}
    many = layers(*{case})
    planned = fastcka.plan(many, n_threads=2, **{options}).bytes
    before = kilobytes("VmRSS")
    fastcka.cka_matrix(many, n_threads=2, **{options})
    print(json.dumps({{"planned": planned, "added": 1024 * (kilobytes("VmHWM") - before)}}))
"""
    )
    # Two megabytes for what is not the core's: Python objects, the warm-up's own peak, pages of code.
    assert 0 < found["added"] <= found["planned"] + 2**21


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_max_bytes_counts_the_buffers_that_earlier_calls_left():
    found = child(
        f"""{MEMORY}
    X, Y = layers(2, 4096, 1500)
    fastcka.cka(X, Y)
    before = kilobytes("VmRSS")
    fastcka.cka(X[:500, :100], Y[:500, :100], max_bytes=20_000_000)
    print(json.dumps({{"freed": 1024 * (before - kilobytes("VmRSS"))}}))
"""
    )
    assert found["freed"] > 20e6  # of the 49 MB of panels


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_calls():
    found = child(
        f"""{MEMORY}
    X, Y = layers(2, 200, 200)
    fastcka.cka(X, Y, n_threads=2)
    before = kilobytes("VmRSS")
    for _ in range(2000):
        fastcka.cka(X, Y, n_threads=2)
    print(json.dumps({{"grown": 1024 * (kilobytes("VmRSS") - before)}}))
"""
    )
    assert found["grown"] < 4e6  # 60 KB a call had stayed behind, 118 MB in all


# ---------------------------------------------------------------------------------------- import


def test_import_brings_nothing_slow_and_nothing_beside_numpy():
    found = child(
        """
        import json, sys
        import numpy
        before = set(sys.modules)
        import fastcka
        new = {name.split(".")[0] for name in set(sys.modules) - before}
        slow = {"asyncio", "email", "hashlib", "importlib.metadata", "inspect", "multiprocessing", "zipfile"}
        foreign = new - set(sys.stdlib_module_names) - {"numpy", "fastcka"}
        print(json.dumps({"foreign": sorted(foreign), "slow": sorted(slow & set(sys.modules) - before)}))
        """
    )
    assert found == {"foreign": [], "slow": []}
