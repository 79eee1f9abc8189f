# SPDX-License-Identifier: BSD-3-Clause
"""Exact streams of samples that outweigh all others, as language models have them, in extended precision."""

from __future__ import annotations

import extended
import numpy as np
import pytest

from fastcka import StreamingCKA

BLOCK = 4096
ESTIMATORS = ("biased", "unbiased")


def condition(X, estimator):
    """Return the sum of the magnitudes that HSIC(X, X) is the difference of, over HSIC(X, X)."""
    if estimator == "biased":
        return 1.0
    n = len(X)
    X = np.asarray(X).astype(extended.LD)
    X = X - X.mean(axis=0)
    norms = (X**2).sum(axis=1)
    off_diagonal = ((X.T @ X) ** 2).sum() - (norms**2).sum()
    totals, rows = norms.sum() ** 2 / ((n - 1) * (n - 2)), 2 * (norms**2).sum() / (n - 2)
    return float((abs(off_diagonal) + totals + rows) / (off_diagonal + totals - rows))


def check(X, Y, sizes=None):
    """Hold the stream of X and Y against extended precision, for both estimators; return the values."""
    n, dtype = len(X), X.dtype
    ends = np.cumsum(sizes or [n])
    found = []
    for estimator in ESTIMATORS[: 2 if n >= 4 else 1]:
        stream = StreamingCKA(estimator=estimator)
        for first, last in zip([0, *ends], ends, strict=False):
            stream.update(X[first:last], Y[first:last])
        value = stream.result().values.item()
        expected = extended.cka_of_features(X, Y, estimator)
        kappa = max(condition(X, estimator), condition(Y, estimator))
        bound = (1e-12 if dtype == np.float64 else 1e-6) + kappa * 2.0**-50
        assert abs(value - expected) <= bound, (estimator, value, expected, kappa)
        found.append(value)
    return found


def related(rng, n, p=6, q=4):
    X = rng.normal(size=(n, p))
    return X, X[:, :q] + rng.normal(size=(n, q))


each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


@pytest.mark.parametrize("n", [4, 12, 50, 65, 257, 1024, BLOCK, BLOCK + 7, BLOCK + 500, 2 * BLOCK + 900])
@pytest.mark.parametrize("massive", [3e3, 3e4, 1e5])
@each_dtype
def test_one_massive_value(rng, dtype, massive, n):
    for row in (0, n - 1):
        X, Y = related(rng, n)
        X[row, 3] = massive
        check(X.astype(dtype), Y.astype(dtype))


@pytest.mark.parametrize("n", [50, 257, BLOCK + 7, 2 * BLOCK + 900])
@each_dtype
def test_a_sample_800_times_as_long(rng, dtype, n):
    for both in (False, True):
        X, Y = related(rng, n)
        X[n - 3] *= 800
        if both:
            Y[1] *= 800
        check(X.astype(dtype), Y.astype(dtype))


@pytest.mark.parametrize("count", [2, 10, 60, 90, 200])  # 64 are kept apart
@pytest.mark.parametrize("alike", [False, True])
@each_dtype
def test_many_massive_samples(rng, dtype, alike, count):
    n = 2 * BLOCK + 900
    X, Y = related(rng, n)
    rows = rng.choice(n, size=count, replace=False)
    X[rows] += 3e3 * rng.normal(size=6 if alike else (count, 6))
    check(X.astype(dtype), Y.astype(dtype))


@each_dtype
def test_massive_samples_of_many_sizes(rng, dtype):
    n = BLOCK + 900
    X, Y = related(rng, n)
    for k, row in enumerate(rng.choice(n, size=40, replace=False)):
        X[row] *= 10.0 ** (1 + k / 10)
    check(X.astype(dtype), Y.astype(dtype))


@each_dtype
def test_bits_do_not_depend_on_batches(rng, dtype):
    n = 2 * BLOCK + 900
    X, Y = related(rng, n)
    X[rng.choice(n, size=100, replace=False), 3] = 1e4
    X, Y = X.astype(dtype), Y.astype(dtype)
    expected = check(X, Y)
    for size in (33, 700, 5000):
        assert check(X, Y, [size] * (n // size) + [n % size]) == expected


@pytest.mark.parametrize("sizes", [(5000, 5000), (100, 9900), (BLOCK + 1, BLOCK + 1), (3, 9000, 40)], ids=str)
@each_dtype
def test_shards_merge(rng, dtype, sizes):
    n = sum(sizes)
    X, Y = related(rng, n)
    X[rng.choice(n, size=100, replace=False), 3] = 1e4
    X, Y = X.astype(dtype), Y.astype(dtype)
    for estimator in ESTIMATORS:
        merged, first = StreamingCKA(estimator=estimator), 0
        for size in sizes:
            shard = StreamingCKA(estimator=estimator)
            shard.update(X[first : first + size], Y[first : first + size])
            merged.merge(shard)
            first += size
        expected = extended.cka_of_features(X, Y, estimator)
        tolerance = 1e-12 if dtype == np.float64 else 1e-6
        assert merged.n_samples == n
        assert abs(merged.result().values.item() - expected) <= tolerance


@each_dtype
def test_a_saved_stream_goes_on_to_the_same_bits(rng, tmp_path, dtype):
    n = 2 * BLOCK + 900
    X, Y = related(rng, n)
    X[rng.choice(n, size=100, replace=False), 3] = 1e4
    X, Y = X.astype(dtype), Y.astype(dtype)
    stream = StreamingCKA()
    stream.update(X[:5000], Y[:5000])
    stream.save(tmp_path / "stream.npz")
    loaded = StreamingCKA.load(tmp_path / "stream.npz")
    for each in (stream, loaded):
        each.update(X[5000:], Y[5000:])
    assert loaded.result().equals(stream.result())


@each_dtype
def test_a_unit_that_is_active_in_one_sample_has_no_unbiased_cka(rng, dtype):
    for n in (10, 300, BLOCK + 5):
        X, Y = np.zeros((n, 1), dtype), rng.normal(size=(n, 3)).astype(dtype)
        X[n // 3] = 1
        stream = StreamingCKA(estimator="unbiased")
        stream.update(X, Y)
        # Folded into float32 sums, a stream cannot tell zero from too little.
        with pytest.warns(UserWarning, match=r"not above zero|these sums are too coarse"):
            assert np.isnan(stream.result().values).all()


# Blocks that differ -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize("later", [1e-100, 1.0, 1e100])
def test_the_scale_of_the_first_block_does_not_matter(rng, first, later):
    X, Y = related(rng, 3 * BLOCK)
    X *= np.where(np.arange(len(X)) < BLOCK, first, later)[:, None]
    check(X, Y)


@each_dtype
def test_a_first_block_without_variation(rng, dtype):
    X, Y = related(rng, 2 * BLOCK + 50)
    for value, scale in ((0.0, 1e-20), (7.0, 1.0), (7.0, 1e20)):
        Z = value + scale * X
        Z[:BLOCK] = value
        check(Z.astype(dtype), Y.astype(dtype))


@each_dtype
def test_means_that_drift(rng, dtype):
    n = 6 * BLOCK
    X, Y = related(rng, n)
    drift = np.arange(n)[:, None] / BLOCK
    for slope in (1.0, 100.0, 1e4):
        Z = (X + slope * drift).astype(dtype)
        check(Z, (Y + slope * drift**2).astype(dtype))
        check(Z, Y.astype(dtype))


@each_dtype
def test_a_first_block_far_from_the_others(rng, dtype):
    X, Y = related(rng, 8 * BLOCK)
    X[:BLOCK] += 1e4
    check(X.astype(dtype), Y.astype(dtype))
