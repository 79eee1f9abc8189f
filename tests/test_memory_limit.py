# SPDX-License-Identifier: BSD-3-Clause
"""A process that may not have the memory it asks for: MemoryError in mid-call, and no harm done."""

from __future__ import annotations

import sys

import pytest
from test_citizen import MEMORY, child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LIMITED = """
    import ctypes, resource

    libc = ctypes.CDLL(None)
    libc.mallopt(-8, 1)  # M_ARENA_MAX: all threads share what malloc keeps

    def limit(room):
        "Let this process have so many bytes more than it has."
        most = 1024 * kilobytes("VmSize") + room
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))

    def in_use():
        fastcka.release_buffers()
        libc.malloc_trim(0)
        return 1024 * kilobytes("VmRSS")

    def lift_limit():
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def use_up():
        "Take all that malloc keeps: what is needed now has to come from the system."
        limit(0)
        taken = []
        for size in (2**power for power in range(20, 10, -1)):
            try:
                while True:
                    taken.append(bytes(size))
            except MemoryError:
                pass
        lift_limit()
        return taken
"""
CALLS = {
    "Gram route": "fastcka.cka(X[:200], Y[:200], **OPTIONS)",
    "feature route": "fastcka.cka(X, Y, **OPTIONS)",
    "median": "fastcka.cka(X[:600], Y[:600], kernel='rbf', **OPTIONS)",
    "matrix": "fastcka.cka_matrix([X[:600], Y[:600]] * 2, kernel='laplacian', **OPTIONS).values",
    "matrix of many layers": "fastcka.cka_matrix([X[:200], Y[:200]] * 20, **OPTIONS).values",
    "inference": "fastcka.cka_test(X[:300], Y[:300], kernel='rbf', **OPTIONS).pvalue",
    "stream": "streamed()",
    "Gram matrix": "fastcka.gram(X[:900], kernel='rbf', n_threads=2)",
}


@pytest.mark.parametrize("call", CALLS)
def test_memory_ends_in_the_middle_of_a_call(call):
    """Wherever it ends: the least room that suffices is searched for, where the last piece is missing."""
    found = child(
        f"""{MEMORY}{LIMITED}
    X, Y = layers(2, 1500, 500)
    Y += 2 * X
    OPTIONS = {{"n_threads": 2, "max_bytes": 2**50}}  # so much that no plan is refused

    def streamed():
        stream = fastcka.StreamingCKA(**OPTIONS)
        stream.update(X[:700], Y[:700])
        stream.update(X[700:], Y[700:])
        return stream.result().values

    def call():
        return np.asarray({CALLS[call]}).tobytes()

    expected, messages = call(), set()

    def is_enough(room):
        fastcka.release_buffers()
        taken = use_up()
        limit(room)
        try:
            assert call() == expected
            return True
        except MemoryError as error:
            messages.add(str(error))
            return False
        finally:
            lift_limit()
            del taken
            assert call() == expected

    before = in_use()
    too_little, enough = 0, 2**26
    assert not is_enough(too_little) and is_enough(enough)
    while enough - too_little > 2**14:
        middle = (too_little + enough) // 2
        too_little, enough = (too_little, middle) if is_enough(middle) else (middle, enough)
    failed = [not is_enough(enough * part // 10) for part in range(10)]
    advised = any("max_bytes= limits it" in message for message in messages)
    print(json.dumps({{"failed": sum(failed), "advised": advised, "kept": in_use() - before}}))
"""
    )
    assert found["failed"] > 5
    assert found["advised"]
    assert found["kept"] < 4e6


@pytest.mark.parametrize("megabytes", [4, 20, 40])
def test_memory_ends_before_all_threads_have_started(megabytes):
    """Each thread needs some megabytes for its stack. OpenMP would end the process."""
    found = child(
        f"""{MEMORY.replace("n_threads=2", "n_threads=1")}{LIMITED}
    X, Y = layers(2, 600, 300)
    alone = fastcka.cka(X, Y, kernel="rbf", n_threads=1)
    limit({megabytes << 20})
    try:
        value = fastcka.cka(X, Y, kernel="rbf", n_threads=8)
    except (MemoryError, RuntimeError):
        value = alone
    lift_limit()
    print(json.dumps([value, alone, fastcka.cka(X, Y, kernel="rbf", n_threads=8)]))
"""
    )
    assert len(set(found)) == 1
