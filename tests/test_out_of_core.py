# SPDX-License-Identifier: BSD-3-Clause
"""With less memory than all packed samples take, the Gram route packs strips of them: the same bits."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import fastcka

N = 1400
KERNELS = (
    "linear",
    "rbf",
    fastcka.RBF(sigma=20.0),
    "laplacian",
    "polynomial",
    "cosine",
    "correlation",
    "distance",
)
WIDTHS = {
    "a pair": ([2000], [1900]),
    "two networks": ([1700, 1600], [1500, 1700, 1800]),
    "one network": ([1500] * 6, None),
    "shared blocks": ([600] * 40, None),
}


def layers(rng, widths):
    return None if widths is None else [rng.normal(size=(N, p)).astype(np.float32) for p in widths]


def least_bytes(a, b, **options):
    with pytest.raises(MemoryError, match="at least") as refused:
        fastcka.plan(a, b, max_bytes=1000, **options)
    return int(re.search(r"at least (\d+) bytes", str(refused.value))[1])


def check_bits(a, b, **options):
    whole = fastcka.cka_matrix(a, b, **options)
    plan, least = fastcka.plan(a, b, **options), least_bytes(a, b, **options)
    assert plan.route == "gram"
    assert least < plan.bytes
    for limit in {max(plan.bytes // part, least) for part in (3, 16)} | {least}:
        assert fastcka.plan(a, b, max_bytes=limit, **options).bytes <= limit
        np.testing.assert_array_equal(fastcka.cka_matrix(a, b, max_bytes=limit, **options), whole)
    with pytest.raises(MemoryError, match=f"at least {least} bytes"):
        fastcka.cka_matrix(a, b, max_bytes=least - 1, **options)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_every_kernel_has_the_bits_of_the_call_in_memory(rng, kernel):
    a, b = (layers(rng, widths) for widths in WIDTHS["a pair"])
    check_bits(a, b, kernel=kernel)


@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_shape_has_the_bits_of_the_call_in_memory(rng, widths, dtype):
    a, b = (layers(rng, each) for each in widths)
    check_bits(a, b, dtype=dtype, estimator="unbiased", kernel=fastcka.RBF(sigma=30.0))


def test_memory_maps_and_other_layouts(rng, tmp_path):
    X, Y = layers(rng, [2000, 1900])
    np.save(tmp_path / "X.npy", X)
    a, b = [np.load(tmp_path / "X.npy", mmap_mode="r")], [np.asfortranarray(Y)]
    least = least_bytes(a, b)
    np.testing.assert_array_equal(fastcka.cka_matrix(a, b, max_bytes=least), fastcka.cka_matrix([X], [Y]))


def test_checkpoint(rng, tmp_path):
    a, b = (layers(rng, widths) for widths in WIDTHS["a pair"])
    limit = least_bytes(a, b, kernel="distance")
    saved = fastcka.cka_matrix(a, b, kernel="distance", max_bytes=limit, checkpoint=tmp_path / "sums.npz")
    np.testing.assert_array_equal(saved, fastcka.cka_matrix(a, b, kernel="distance"))


def test_progress_and_its_errors(rng):
    a, b = (layers(rng, widths) for widths in WIDTHS["a pair"])
    seen = []
    limit = least_bytes(a, b)
    fastcka.cka_matrix(a, b, max_bytes=limit, progress=lambda done, total: seen.append((done, total)))
    assert all(done <= total for done, total in seen)
    assert len({total for _, total in seen}) == 1

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastcka.cka_matrix(a, b, max_bytes=limit, progress=stop)


PEAK = """
import sys
import numpy as np
import fastcka
from pathlib import Path

def kilobytes(entry):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(entry))

kernel, limit = sys.argv[1], int(sys.argv[2])
layers = [np.random.default_rng(l).standard_normal((3000, 3000), dtype=np.float32) for l in range(4)]
small = [X[:300, :50] for X in layers]
fastcka.cka_matrix(small, kernel=kernel, n_threads=2)  # code and threads are there before
Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
fastcka.cka_matrix(layers, kernel=kernel, n_threads=2, max_bytes=limit)
print(1024 * (kilobytes("VmHWM") - before))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="resident memory is read from /proc")
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_limit_is_kept(kernel):
    shapes = [np.broadcast_to(np.float32(0), (3000, 3000))] * 4
    whole = fastcka.plan(shapes, kernel=kernel, n_threads=2)
    part = fastcka.plan(shapes, kernel=kernel, n_threads=2, max_bytes=whole.bytes // 2)
    assert part.bytes <= whole.bytes // 2
    assert part.reads > whole.reads
    command = [sys.executable, "-c", PEAK, kernel, str(whole.bytes // 2)]
    peak = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert peak < part.bytes + 8e6  # what Python and its arrays of results take
    assert peak > part.bytes / 4  # the plan is no fiction
