# SPDX-License-Identifier: BSD-3-Clause
"""What this process may use, and that nothing is begun that does not fit."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastcka
from fastcka import _budget, _machine
from fastcka._streams import exact

# ---------------------------------------------------------------------- control groups


def tree(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/cpu"
QUOTAS = {
    "no control groups": ({}, None),
    "v2 without a limit": ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "max 100000\n"}, None),
    "v2 in a container": ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "350000 100000\n"}, 3),
    "v2 less than one": ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "50000 100000\n"}, 1),
    "v2 nested, the parent is tighter": (
        {
            "proc/self/cgroup": "0::/job/step\n",
            f"{V2}/job/cpu.max": "200000 100000\n",
            f"{V2}/job/step/cpu.max": "400000 100000\n",
        },
        2,
    ),
    "v2 group that is not mounted here": (
        {"proc/self/cgroup": "0::/../other\n", f"{V2}/cpu.max": "400000 100000\n"},
        4,
    ),
    "v1": (
        {
            "proc/self/cgroup": "12:memory:/job\n5:cpu,cpuacct:/job\n1:name=systemd:/\n",
            f"{V1}/job/cpu.cfs_quota_us": "250000\n",
            f"{V1}/job/cpu.cfs_period_us": "100000\n",
            f"{V1}/cpu.cfs_quota_us": "-1\n",
            f"{V1}/cpu.cfs_period_us": "100000\n",
        },
        2,
    ),
    "v1 without a limit": (
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/\n",
            f"{V1}/cpu.cfs_quota_us": "-1\n",
            f"{V1}/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_quota_of_control_groups(tmp_path, case):
    files, expected = QUOTAS[case]
    assert _machine.cpu_quota(tree(tmp_path, files)) == expected


GIB = 2**30
FREE = {"proc/meminfo": f"MemTotal: {64 * 2**20} kB\nMemAvailable: {8 * 2**20} kB\n"}
M1 = "sys/fs/cgroup/memory"
ROOM = {
    "no control groups": ({}, 8 * GIB),
    "v2 without a limit": (
        {"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": "max\n", f"{V2}/memory.current": "1\n"},
        8 * GIB,
    ),
    "v2 own group": (
        {
            "proc/self/cgroup": "0::/job/step\n",
            f"{V2}/job/step/memory.max": f"{3 * GIB}\n",
            f"{V2}/job/step/memory.current": f"{2 * GIB}\n",
            f"{V2}/job/step/memory.stat": f"anon 7\ninactive_file {GIB // 2}\n",
            f"{V2}/job/memory.max": "max\n",
            f"{V2}/job/memory.current": f"{2 * GIB}\n",
            f"{V2}/job/memory.stat": "inactive_file 0\n",
        },
        3 * GIB // 2,
    ),
    "v2 nested, the parent is tighter": (
        {
            "proc/self/cgroup": "0::/job/step\n",
            f"{V2}/job/step/memory.max": f"{5 * GIB}\n",
            f"{V2}/job/step/memory.current": "0\n",
            f"{V2}/job/step/memory.stat": "inactive_file 0\n",
            f"{V2}/job/memory.max": f"{3 * GIB}\n",
            f"{V2}/job/memory.current": f"{GIB}\n",
            f"{V2}/job/memory.stat": "inactive_file 0\n",
        },
        2 * GIB,
    ),
    "v1": (
        {
            "proc/self/cgroup": "12:memory:/job\n5:cpu,cpuacct:/job\n",
            f"{M1}/job/memory.limit_in_bytes": f"{GIB}\n",
            f"{M1}/job/memory.usage_in_bytes": f"{GIB // 2}\n",
            f"{M1}/job/memory.stat": "inactive_file 5\ntotal_inactive_file 1024\n",
            f"{M1}/memory.limit_in_bytes": f"{2**63 - 4096}\n",
            f"{M1}/memory.usage_in_bytes": f"{GIB}\n",
            f"{M1}/memory.stat": "total_inactive_file 0\n",
        },
        GIB // 2 + 1024,
    ),
    "over the limit": (
        {
            "proc/self/cgroup": "0::/\n",
            f"{V2}/memory.max": "10\n",
            f"{V2}/memory.current": "20\n",
            f"{V2}/memory.stat": "inactive_file 0\n",
        },
        0,
    ),
}


@pytest.mark.parametrize("case", ROOM)
def test_memory_of_control_groups(tmp_path, case):
    files, expected = ROOM[case]
    assert _machine.available_bytes(tree(tmp_path, FREE | files)) == expected


def test_memory_of_this_machine():
    assert 2**20 < _machine.available_bytes() < 2**50


def test_memory_within_ulimit(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    page = _machine.os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (GIB, GIB))
    root = tree(tmp_path, FREE | {"proc/self/statm": "1000 10 10 1 0 10 0\n"})
    assert _machine.available_bytes(root) == GIB - 1000 * page


# ---------------------------------------------------------------------- calls that do not fit


@pytest.fixture
def memory(monkeypatch):
    """A machine whose free memory can be set, and is looked up for the smallest call."""

    def have(n_bytes):
        for module in (_budget, exact):
            monkeypatch.setattr(module, "SMALL", 0)
            monkeypatch.setattr(module, "available_bytes", lambda: n_bytes)

    return have


def test_calls_that_do_not_fit_are_refused_before_they_begin(rng, memory):
    X = rng.normal(size=(300, 40))
    calls = (
        lambda: fastcka.cka(X, X),
        lambda: fastcka.hsic(X, X, kernel="rbf"),
        lambda: fastcka.cka_matrix([X, X]),
        lambda: fastcka.gram(X),
        lambda: fastcka.center(X[:40]),
        lambda: fastcka.StreamingCKA("minibatch").update(X),
        lambda: fastcka.StreamingCKA().update(X),
    )
    for i, call in enumerate(calls):
        memory(2**40)
        call()
        memory(1000)
        with pytest.raises(MemoryError, match="this process may use only 1 kB more") as caught:
            call()
        words = str(caught.value)
        assert "StreamingCKA" in words or i == len(calls) - 1
        assert "create_store" in words


def test_threads_are_left_out_where_not_all_fit_and_no_bit_changes(rng, memory):
    layers = [rng.normal(size=(3000, 40)) for _ in range(3)]
    free = fastcka.cka_matrix(layers, kernel="rbf", n_threads=4)
    one, four = (fastcka.plan(layers, kernel="rbf", n_threads=n).bytes for n in (1, 4))
    assert one < four
    memory((one + four) // 2)
    np.testing.assert_array_equal(fastcka.cka_matrix(layers, kernel="rbf", n_threads=4), free)
    with pytest.raises(MemoryError, match="at least") as refused:
        fastcka.plan(layers, kernel="rbf", max_bytes=1000)
    least = re.search(r"at least (\d+) bytes", str(refused.value))[1]
    memory(int(least) - 1)
    with pytest.raises(MemoryError, match=f"{least} bytes"):
        fastcka.cka_matrix(layers, kernel="rbf", n_threads=4)


def test_strips_are_packed_where_not_all_samples_fit_and_no_bit_changes(rng, memory):
    layers = [rng.normal(size=(3000, 400)) for _ in range(3)]
    kernel = fastcka.RBF(sigma=20.0)  # without the memory of a search for the median
    free = fastcka.cka_matrix(layers, kernel=kernel)
    memory(fastcka.plan(layers, kernel=kernel, n_threads=1).bytes // 2)
    np.testing.assert_array_equal(fastcka.cka_matrix(layers, kernel=kernel), free)


def test_small_calls_do_not_look_memory_up(rng, monkeypatch):
    def fail():
        raise AssertionError

    monkeypatch.setattr(_budget, "available_bytes", fail)
    monkeypatch.setattr(exact, "available_bytes", fail)
    X = rng.normal(size=(300, 40))
    fastcka.cka_matrix([X])
    fastcka.gram(X)
    fastcka.StreamingCKA().update(X)


# ---------------------------------------------------------------------- max_bytes


def test_max_bytes_in_words(rng):
    X = rng.normal(size=(300, 40))
    for size in ("1GB", "4GiB", "0.5 gb", "800000000", " 2 TiB "):
        assert fastcka.cka(X, X, max_bytes=size) == fastcka.cka(X, X)
    for size in ("1kB", "1000", "0.9765625KiB"):
        with pytest.raises(MemoryError, match=r"max_bytes is 1000; .*StreamingCKA"):
            fastcka.cka_matrix([X], max_bytes=size)
        with pytest.raises(MemoryError, match="max_bytes=1000"):
            fastcka.StreamingCKA(max_bytes=size).update(X)
        with pytest.raises(MemoryError):
            fastcka.plan([X], max_bytes=size)


@pytest.mark.parametrize("size", ["", "many", "GB", "1XB", "-1GB", "0", "nan", "inf", "1e400GB", "1 2GB"])
def test_max_bytes_that_is_no_size(size):
    with pytest.raises(ValueError, match=r"max_bytes: .* is not a size: write bytes, or a number with kB"):
        fastcka.cka([[1.0], [2.0]], [[1.0], [2.0]], max_bytes=size)
