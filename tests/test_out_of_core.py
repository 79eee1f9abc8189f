# SPDX-License-Identifier: BSD-3-Clause
"""With less memory than the packed copies take, strips of them are packed: the same bits."""

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


def check_bits(a, b, route="gram", **options):
    whole = fastcka.cka_matrix(a, b, **options)
    plan, least = fastcka.plan(a, b, **options), least_bytes(a, b, **options)
    assert plan.route == route
    assert least < plan.bytes
    for limit in {max(plan.bytes // part, least) for part in (3, 16)} | {least, int(0.9 * plan.bytes)}:
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


TALL = {
    "a pair, segments": ([300], [170], 15_000),
    "segments shorter than a carry interval": ([90, 80], [170], 3000),
    "one network, segments": ([350, 20, 400], None, 9000),
    "tiles of all samples": ([600, 700, 400], None, 5000),
    "two networks": ([800, 150, 1], [1000, 130], 6000),
    "few samples": ([150] * 6, None, 1500),
}


@pytest.mark.parametrize("shapes", TALL.values(), ids=TALL)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_feature_route_has_the_bits_of_the_call_in_memory(rng, shapes, dtype):
    *widths, n = shapes
    a, b = (
        None if own is None else [rng.normal(2, 1, size=(n, p)).astype(np.float32) for p in own]
        for own in widths
    )
    check_bits(a, b, dtype=dtype, estimator="unbiased", route="feature")


@pytest.mark.parametrize("kernel", ["cosine", "correlation"])
def test_rows_that_are_scaled_by_the_feature_route(rng, kernel):
    a, b = ([rng.normal(2, 1, size=(8000, p)).astype(np.float32)] for p in (420, 300))
    check_bits(a, b, kernel=kernel, route="feature")


def test_massive_samples_by_the_feature_route(rng):
    a = [rng.normal(size=(8000, p)).astype(np.float32) for p in (420, 300)]
    a[1][4321, 7] = 1e5
    whole = fastcka.cka_matrix(a)
    assert whole.provenance["dtype"] == "float64"
    limit = least_bytes(a, None, dtype="float64")
    assert limit < fastcka.plan(a).bytes
    assert fastcka.cka_matrix(a, max_bytes=limit).equals(whole)


def with_a_massive_sample(rng, n, widths):
    layers = {str(p): rng.normal(size=(n, p)).astype(np.float32) for p in widths}
    next(iter(layers.values()))[n // 2, 3] = 1e5
    return layers


ROUTES = {"gram": ("rbf", 1400, (2000, 1900)), "feature": ("linear", 8000, (420, 300))}


@pytest.mark.parametrize("route", ROUTES)
def test_float64_that_values_turn_out_to_need_goes_by_strips(rng, route):
    """From the least memory of float64 on: the same bits. Below: an error that says how much is needed."""
    kernel, n, widths = ROUTES[route]
    layers = with_a_massive_sample(rng, n, widths)
    whole = fastcka.cka_matrix(layers, kernel=kernel)
    assert whole.provenance["dtype"] == "float64"
    single, least = (least_bytes(layers, None, kernel=kernel, dtype=dtype) for dtype in (None, "float64"))
    for limit in (least, fastcka.plan(layers, kernel=kernel).bytes):
        assert fastcka.cka_matrix(layers, kernel=kernel, max_bytes=limit).equals(whole)
    assert single < least - 1  # a plan of float32 fits, and the call begins
    with pytest.raises(
        MemoryError, match=f"^some values need float64.* at least {least} bytes besides its inputs"
    ):
        fastcka.cka_matrix(layers, kernel=kernel, max_bytes=least - 1)


class Watched:
    """An array that counts the rows that are read."""

    def __init__(self, array):
        self.array, self.rows = array, 0
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key):
        part = self.array[key]
        self.rows += len(part)
        return part


@pytest.mark.parametrize("route", ROUTES)
def test_too_little_memory_for_float64_is_known_at_the_first_layer_that_needs_it(rng, route):
    kernel, n, widths = ROUTES[route]
    layers = {name: Watched(X) for name, X in with_a_massive_sample(rng, n, widths).items()}
    least = least_bytes(layers, None, kernel=kernel, dtype="float64")
    with pytest.raises(MemoryError, match="some values need float64"):
        fastcka.cka_matrix(layers, kernel=kernel, max_bytes=least - 1)
    first, second = (layer.rows for layer in layers.values())
    assert first > 0
    assert second == 0


def test_float64_stays_within_the_memory_that_there_is(rng, monkeypatch):
    """Without max_bytes, too: all of float32 fits, float64 by strips, or not at all."""
    from fastcka import _budget

    layers = with_a_massive_sample(rng, *ROUTES["feature"][1:])
    whole = fastcka.cka_matrix(layers)
    needs = [fastcka.plan(layers, dtype=dtype).bytes for dtype in (None, "float64")]
    least = least_bytes(layers, None, dtype="float64")
    monkeypatch.setattr(_budget, "SMALL", 0)
    for free in ((needs[0] + needs[1]) // 2, needs[0]):
        monkeypatch.setattr(_budget, "available_bytes", lambda free=free: free)
        assert least <= free < needs[1]
        assert fastcka.cka_matrix(layers).equals(whole)
    monkeypatch.setattr(_budget, "available_bytes", lambda: least - 1)
    with pytest.raises(MemoryError, match=f"at least {least} bytes"):
        fastcka.cka_matrix(layers)


def test_blocks_of_the_feature_route_in_little_memory(rng):
    for widths, n in (([300, 170], 15_000), ([600, 700, 400], 5000)):
        layers = [rng.normal(size=(n, p)).astype(np.float32) for p in widths]
        whole, limit = fastcka.cka_matrix(layers), least_bytes(layers, None)
        sweep = fastcka.Sweep(layers, max_bytes=limit)
        parts = [sweep.run(sweep.share(task, 5)) for task in range(5)]
        assert sweep.result(parts[3] | parts[1] | parts[0] | parts[4] | parts[2]).equals(whole)


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

kernel, n, p, limit = sys.argv[1], *map(int, sys.argv[2:])
layers = [np.random.default_rng(l).standard_normal((n, p), dtype=np.float32) for l in range(4)]
small = [X[:300, :50] for X in layers]
fastcka.cka_matrix(small, kernel=kernel, n_threads=2)  # code and threads are there before
Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
fastcka.cka_matrix(layers, kernel=kernel, n_threads=2, max_bytes=limit)
print(1024 * (kilobytes("VmHWM") - before))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="resident memory is read from /proc")
@pytest.mark.parametrize(
    ("kernel", "n", "p", "route"),
    [
        ("linear", 3000, 3000, "gram"),
        ("rbf", 3000, 3000, "gram"),
        ("linear", 60_000, 300, "feature"),
        ("linear", 7000, 1500, "feature"),
    ],
)
def test_a_limit_is_kept(kernel, n, p, route):
    shapes = [np.broadcast_to(np.float32(0), (n, p))] * 4
    whole = fastcka.plan(shapes, kernel=kernel, n_threads=2)
    assert whole.route == route
    part = fastcka.plan(shapes, kernel=kernel, n_threads=2, max_bytes=whole.bytes // 2)
    assert part.bytes <= whole.bytes // 2
    assert part.reads > whole.reads
    command = [sys.executable, "-c", PEAK, kernel, str(n), str(p), str(whole.bytes // 2)]
    peak = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert peak < part.bytes + 8e6  # what Python and its arrays of results take
    assert peak > part.bytes / 4  # the plan is no fiction
