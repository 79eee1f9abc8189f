# SPDX-License-Identifier: BSD-3-Clause
"""Moments of a stream (the core of exact streaming) against the whole arrays."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fastcka import _core

N = 4096 + 900  # more than one block of samples
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-6}  # as promised for streams


def layers_of(rng, dtype, widths, offset):
    shared = rng.normal(size=(N, 6))
    drift = np.linspace(0, 5, N)[:, None]  # sorted batches: the mean of the first block is not the mean
    return [
        (shared @ rng.normal(size=(6, p)) + rng.normal(size=(N, p)) + drift + offset).astype(dtype)
        for p in widths
    ]


def stream(a, b, sizes, n_threads=2):
    dtype = a[0].dtype
    widths_b = None if b is None else [x.shape[1] for x in b]
    moments = _core.Moments([x.shape[1] for x in a], widths_b, dtype == np.float64)
    first = 0
    for size in sizes:
        rows = slice(first, first + size)
        moments.update([x[rows] for x in a], None if b is None else [x[rows] for x in b], n_threads)
        first += size
    return moments


def batches(size):
    return [size] * (N // size) + [N % size] * (N % size > 0)


def whole(a, b, unbiased):
    settings = _core.Settings(
        _core.Kernel("linear"),
        estimator="unbiased" if unbiased else "biased",
        double_precision=a[0].dtype == np.float64,
        n_threads=2,
    )
    return _core.pairwise(a, b, settings)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_equals_the_whole_arrays_with_the_same_bits_for_any_batches(rng, dtype, two_sided, unbiased):
    a = layers_of(rng, dtype, (30, 200, 3), 1e4)
    b = layers_of(rng, dtype, (50, 7), 0) if two_sided else None
    expected = whole(a, b, unbiased)
    results = [
        stream(a, b, batches(size), threads).result(unbiased, threads)
        for size, threads in ((1000, 1), (333, 2), (N, 3))
    ]
    np.testing.assert_allclose(results[0].cka, expected.cka, rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(results[0].hsic, expected.hsic, rtol=TOLERANCE[dtype])
    for result in results[1:]:
        assert result.cka.tobytes() == results[0].cka.tobytes()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_shards_merge_and_a_saved_state_goes_on(rng, dtype):
    a = layers_of(rng, dtype, (40, 9), 100)
    left = stream([x[:4500] for x in a], None, [4500])
    right = stream([x[4500:] for x in a], None, [N - 4500])
    restored = _core.Moments([40, 9], None, dtype == np.float64, left.state(2))
    left.merge(right, 2)
    restored.merge(right, 2)
    assert left.n_samples == N
    expected = whole(a, None, True).cka
    np.testing.assert_allclose(left.result(True, 2).cka, expected, rtol=0, atol=TOLERANCE[dtype])
    assert restored.result(True, 2).cka.tobytes() == left.result(True, 2).cka.tobytes()


def test_two_full_shards_with_different_origins_merge(rng):
    a = [np.concatenate([x, x + 50]) for x in layers_of(rng, np.float64, (12, 5), 0)]
    left, right = (stream([x[rows] for x in a], None, [N]) for rows in (slice(N), slice(N, 2 * N)))
    left.merge(right, 2)
    expected = whole(a, None, True).cka
    np.testing.assert_allclose(left.result(True, 2).cka, expected, rtol=0, atol=1e-10)


def test_a_bad_batch_changes_nothing(rng):
    a = layers_of(rng, np.float32, (8, 5), 0)
    moments = stream(a, None, [600])
    before = moments.result(True, 1).cka
    bad = [x[600:700].copy() for x in a]
    bad[1][7, 3] = np.nan
    with pytest.raises(_core.NonFinite) as error:
        moments.update(bad, None, 2)
    assert error.value.args == (0, 1, 7, 3)
    with pytest.raises(ValueError, match="layers of the stream"):
        moments.update(bad[:1], None, 2)
    assert moments.n_samples == 600
    assert moments.result(True, 1).cka.tobytes() == before.tobytes()


def test_a_state_that_no_stream_has_is_refused(rng):
    state = stream(layers_of(rng, np.float64, (3,), 0), None, [5]).state(2)
    for counts in ((0, 0, 1 << 20), (-1, 0, 5), (0, 0, -1), (0, 3, 5), (4096, 65, 0), (4096, -1, 0)):
        with pytest.raises(ValueError, match="that many samples"):
            _core.Moments([3], None, True, {**state, "samples": counts})
    full = stream(layers_of(rng, np.float64, (3,), 0), None, [4096]).state(2)
    with pytest.raises(ValueError, match="another number of samples"):
        _core.Moments([3], None, True, {**full, "samples": (4000, 0, 0)})
    with pytest.raises(ValueError, match="state array zs_0 has the wrong size"):
        _core.Moments([3], None, True, {**full, "zs_0": full["zs_0"][:-1]})


def test_values_whose_sums_would_overflow_are_refused_at_once_by_layer(rng):
    a, b = layers_of(rng, np.float64, (8, 5), 0), layers_of(rng, np.float64, (4, 2), 0)
    moments = stream(a, b, [100])
    bad = [x[:10].copy() for x in b]
    bad[1][3, 1] = 1.7e308
    with pytest.raises(_core.UnusableLayer) as error:
        moments.update([x[:10] for x in a], bad, 2)
    assert error.value.args[:2] == (1, 1)
    assert "their sum overflows" in error.value.args[2]
    assert moments.n_samples == 100
    narrow = _core.Moments([5], None, False)
    with pytest.raises(_core.UnusableLayer, match="range of float32"):
        narrow.update([np.full((3, 5), 1e39)], None, 1)
    assert narrow.n_samples == 0


def test_many_threads_may_use_one_stream(rng):
    """Long updates meet short ones: without a lock, their samples would overwrite each other."""
    X = rng.normal(size=(4 * 1000 + 3 * 60 * 3, 400))
    moments, lock, rows = _core.Moments([400], None, True), threading.Lock(), [0]

    def feed(count, times):
        for _ in range(times):
            with lock:
                start, rows[0] = rows[0], rows[0] + count
            moments.update([X[start : start + count]], None, 1)
            assert moments.n_samples >= count

    workers = [threading.Thread(target=feed, args=args) for args in ((1000, 4), (3, 60), (3, 60), (3, 60))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert moments.n_samples == len(X)
    centred = X - X.mean(axis=0)
    expected = np.linalg.norm(centred.T @ centred) ** 2 / (len(X) - 1) ** 2  # the order does not matter
    np.testing.assert_allclose(moments.result(False, 2).hsic, expected, rtol=1e-12)


def test_a_stream_is_not_merged_with_itself(rng):
    moments = stream(layers_of(rng, np.float64, (3,), 0), None, [5])
    with pytest.raises(ValueError, match="with itself"):
        moments.merge(moments, 2)
    with pytest.raises(ValueError, match="too few samples"):
        _core.Moments([3], None, True).result(False, 1)


def test_a_spread_that_grows_beyond_float32_products_is_still_right(rng):
    a = [x.astype(np.float32) for x in layers_of(rng, np.float64, (12, 5), 0)]
    for x in a:
        x[4096:] *= np.float32(1e25)  # after the first block has chosen its scale
    expected = whole(a, None, False).cka
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(stream(a, None, [N]).result(False, 2).cka, expected, rtol=0, atol=1e-6)


def test_saved_bytes_follow_from_the_samples_alone(rng):
    a = layers_of(rng, np.float64, (40, 9), 0)
    states = [stream(a, None, [N]).state(2) for _ in range(2)]
    for name, value in states[0].items():
        assert np.asarray(value).tobytes() == np.asarray(states[1][name]).tobytes(), name
    assert not np.tril(states[0]["zz_0"].reshape(40, 40), -1).any()


@pytest.mark.parametrize("sizes", [(4097, 4097), (1, 1, 1, 1, 1), (4096, 1), (1, 4096)], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_sample_of_a_shard_is_lost_not_even_a_single_one(rng, dtype, sizes):
    n = sum(sizes)
    a = [rng.normal(size=(n, p)).astype(dtype) for p in (6, 3)]
    a[1] += a[0][:, :3]
    for x in a:
        x[np.cumsum(sizes) - 1] *= 3  # the last of each shard counts more than others
    merged = _core.Moments([6, 3], None, dtype == np.float64)
    first = 0
    for size in sizes:
        merged.merge(stream([x[first : first + size] for x in a], None, [size]), 2)
        first += size
    assert merged.n_samples == n
    expected = whole(a, None, False).hsic
    np.testing.assert_allclose(merged.result(False, 2).hsic, expected, rtol=TOLERANCE[dtype])
