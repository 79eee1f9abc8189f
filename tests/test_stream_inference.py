# SPDX-License-Identifier: BSD-3-Clause
"""StreamingCKA(inference=True): standard errors, z-scores and p-values of streams."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastcka
from fastcka import StreamingCKA

FIELDS = ("values", "chance", "unbiased", "stderr", "pvalues", "zscores")
each_method = pytest.mark.parametrize("method", ["exact", "minibatch"])


def some_layers(rng, n, dtype="float64"):
    shared = rng.normal(size=(n, 4))
    return {
        name: (shared @ rng.normal(size=(4, p)) * strength + rng.normal(size=(n, p)) + 3).astype(dtype)
        for name, p, strength in (("x", 9, 1.0), ("y", 5, 0.7), ("noise", 6, 0.0))
    }


def streamed(layers, sizes, *args, others=None, groups=None, **options):
    stream = StreamingCKA(*args, inference=True, **options)
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        rows = slice(end - size, end)
        stream.update(
            {name: X[rows] for name, X in layers.items()},
            None if others is None else {name: X[rows] for name, X in others.items()},
            groups=None if groups is None else groups[rows],
        )
    return stream


def leaving_out(value, groups):
    """The jackknife of Busing et al. 1999 by brute force: ``value(rows)``, and the group of each sample."""
    n, numbers = len(groups), np.unique(groups)
    whole = value(np.arange(n))
    h = np.array([n / np.sum(groups == g) for g in numbers])
    without = np.array([value(np.flatnonzero(groups != g)) for g in numbers])
    h = h.reshape(-1, *[1] * whole.ndim)
    estimate = len(h) * whole - ((1 - 1 / h) * without).sum(axis=0)
    pseudo = h * whole - (h - 1) * without
    return np.sqrt(((pseudo - estimate) ** 2 / (h - 1)).mean(axis=0))


# Exact ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize(
    ("n", "n_groups", "dtype"),
    [(70, 32, "float64"), (23, 32, "float64")] + [(9001, 2, dtype) for dtype in ("float64", "float32")],
)
def test_exact_errors_are_those_of_the_arrays_without_a_group(rng, n, n_groups, dtype, estimator, two_sided):
    """Groups of 9001 / 2 samples are more than the core gathers into one block."""
    layers = some_layers(rng, n, dtype)
    others = some_layers(rng, n, dtype) if two_sided else None
    stream = streamed(layers, [11, n - 11], estimator=estimator, others=others, n_groups=n_groups)
    found, whole = stream.result(), fastcka.cka_matrix(layers, others, estimator=estimator)
    unbiased = fastcka.cka_matrix(layers, others, estimator="unbiased").values
    tolerance = 1e-10 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(found.values, whole.values, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.chance, whole.chance, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.unbiased, unbiased, rtol=0, atol=tolerance)

    def value(rows):
        a, b = ({k: X[rows] for k, X in side.items()} if side else None for side in (layers, others))
        return fastcka.cka_matrix(a, b, estimator="unbiased").values

    expected = leaving_out(value, np.arange(n) % n_groups)
    np.testing.assert_allclose(found.stderr, expected, rtol=0, atol=n_groups * tolerance)
    assert found.n_groups == min(n, n_groups)
    if not two_sided:
        np.testing.assert_array_equal(np.diag(found.stderr), 0)


def test_exact_pvalues_and_zscores_are_those_of_the_whole_arrays(rng):
    layers = some_layers(rng, 300)
    found = streamed(layers, [100] * 3, n_groups=5).result()
    assert (found.pvalue_method, found.n_samples) == ("chi2", 300)
    test = fastcka.cka_test(layers["x"], layers["noise"], method="chi2")
    assert found.pvalues[0, 2] == pytest.approx(test.pvalue, rel=1e-9)
    assert found.zscores[0, 2] == pytest.approx(test.zscore, rel=1e-9)
    whole = fastcka.cka_matrix(layers, inference=True)
    np.testing.assert_allclose(found.zscores, whole.zscores, rtol=1e-9)
    assert np.isnan(np.diag(found.pvalues)).all()
    assert np.isnan(np.diag(found.zscores)).all()
    assert found.adjusted_pvalues()[0, 1] < 0.01
    low, high = found.confidence_interval()
    from scipy.stats import t

    np.testing.assert_allclose(high - low, 2 * t.ppf(0.975, 4) * found.stderr)


def test_bits_do_not_depend_on_batches_or_threads(rng):
    layers = some_layers(rng, 9000, "float32")
    one = streamed(layers, [9000], n_groups=2, n_threads=1).result()
    for sizes, threads in (([1, 31, 8968], 2), ([500] * 18, 3)):
        other = streamed(layers, sizes, n_groups=2, n_threads=threads).result()
        for name in FIELDS:
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_labels_keep_samples_together(rng):
    n, texts = 120, np.repeat(np.arange(20) * 7 - 30, 6)
    layers = some_layers(rng, n)
    order = rng.permutation(n)
    mixed = {name: X[order] for name, X in layers.items()}
    found = streamed(mixed, [50, 70], groups=texts[order], n_groups=8).result()
    assert (found.pvalues, found.zscores, found.pvalue_method) == (None, None, None)
    assert found.n_groups == 8

    def value(rows):
        return fastcka.cka_matrix({k: X[rows] for k, X in layers.items()}, estimator="unbiased").values

    np.testing.assert_allclose(found.stderr, leaving_out(value, texts % 8), rtol=0, atol=1e-10)
    whole = fastcka.cka_matrix(layers, inference=True, groups=texts % 8)
    np.testing.assert_allclose(found.stderr, whole.stderr, rtol=0, atol=1e-10)


def test_intervals_of_groups_cover_at_their_rate():
    """Half of the features are shared, so that CKA is 1/2. 400 streams of 200 samples in 16 groups, seed 3:
    95 % intervals cover in 91 to 98.5 %, which is within 4 standard deviations.
    """
    rng, inside = np.random.default_rng(3), 0
    for _ in range(400):
        shared, one, two = rng.normal(size=(3, 200, 2))
        stream = StreamingCKA(inference=True, n_groups=16)
        stream.update(np.hstack([shared, one]), np.hstack([shared, two]))
        low, high = stream.result().confidence_interval()
        inside += low.item() < 0.5 < high.item()
    assert 0.91 < inside / 400 < 0.985


# Mini-batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["linear", fastcka.RBF(0.7)])
@pytest.mark.parametrize("weights", ["equal", "by_size"])
def test_minibatch_errors_are_those_of_the_stream_without_a_group(rng, kernel, weights):
    sizes = [10, 7, 12, 9, 10, 11, 8]
    layers = some_layers(rng, sum(sizes))
    batches = np.repeat(np.arange(len(sizes)), sizes)
    for n_groups in (32, 3):
        found = streamed(layers, sizes, "minibatch", kernel, weights=weights, n_groups=n_groups).result()
        group_of_batch, filled = [], [0] * n_groups  # to the group with the fewest samples
        for size in sizes:
            group_of_batch.append(int(np.argmin(filled)))
            filled[group_of_batch[-1]] += size
        groups = np.array(group_of_batch)[batches]

        def value(rows):
            stream = StreamingCKA("minibatch", kernel, weights=weights)
            for batch in np.unique(batches[rows]):
                stream.update({name: X[batches == batch] for name, X in layers.items()})
            return stream.result().values

        np.testing.assert_allclose(found.values, value(np.arange(len(batches))), rtol=1e-12)
        np.testing.assert_array_equal(found.unbiased, found.values)
        expected = leaving_out(value, groups)
        off = ~np.eye(3, dtype=bool)
        np.testing.assert_allclose(found.stderr[off], expected[off], rtol=1e-9)
        assert found.n_groups == min(n_groups, 7)


def test_minibatch_zscores_have_the_variance_of_all_permutations_within_batches(rng):
    """All 24 x 120 orders of the samples of two batches of 4 and 5: z has mean 0 and variance 1."""
    X, Y = some_layers(rng, 9)["x"], rng.normal(size=(9, 3))
    for weights in ("equal", "by_size"):
        hsic = []
        for first, last in ((0, 4), (4, 9)):
            x, w = X[first:last], 1 if weights == "equal" else (last - first) * (last - first - 3)
            hsic.append(
                [
                    w * fastcka.hsic(x, Y[first:last][list(order)], estimator="unbiased")
                    for order in itertools.permutations(range(last - first))
                ]
            )
        null = np.add.outer(*map(np.array, hsic))
        assert null.mean() == pytest.approx(0, abs=1e-12 * np.abs(null).max())
        stream = StreamingCKA("minibatch", weights=weights, inference=True, n_groups=2)
        for rows in (slice(4), slice(4, 9)):
            stream.update(X[rows], Y[rows])
        observed = hsic[0][0] + hsic[1][0]  # the first order is that of the data
        assert stream.result().zscores.item() == pytest.approx(observed / null.std(), rel=1e-9)


@pytest.mark.parametrize("n_batches", [2, 20])
def test_minibatch_pvalues_are_valid_under_independence(n_batches):
    """1000 streams, seed 5: not more than 3 standard deviations above the level; and not always 1."""
    rng, pvalues = np.random.default_rng(5), []
    for _ in range(50):
        stream = StreamingCKA("minibatch", inference=True)
        for _ in range(n_batches):
            a, b = ([rng.normal(size=(20, 2 + i)) for i in range(n)] for n in (4, 5))
            stream.update(a, b)
        pvalues.append(stream.result().pvalues.ravel())
    p = np.concatenate(pvalues)
    for level in (0.05, 0.01):
        assert np.mean(p <= level) <= level + 3 * np.sqrt(level * (1 - level) / 1000)
    assert np.mean(p < 0.5) > 0.1


# Both -------------------------------------------------------------------------------------------------------


@each_method
def test_streams_are_merged_group_by_group(rng, method):
    layers = some_layers(rng, 240)
    parts = [{k: X[i : i + 80] for k, X in layers.items()} for i in range(0, 240, 80)]
    shards = [streamed(part, [20] * 4, method, n_groups=4) for part in parts]
    for shard in shards[1:]:
        shards[0].merge(shard)
    whole = streamed(layers, [20] * 12, method, n_groups=4)  # deals samples and batches out the same way
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(shards[0].result(), name), getattr(whole.result(), name), rtol=1e-7, atol=1e-10
        )
    assert shards[0].result().n_groups == 4
    fresh = StreamingCKA(method, inference=True, n_groups=4)
    fresh.merge(whole)
    np.testing.assert_array_equal(fresh.result().stderr, whole.result().stderr)


@each_method
def test_only_streams_of_the_same_groups_are_merged(rng, method):
    layers = some_layers(rng, 40)
    stream = streamed(layers, [10] * 4, method, n_groups=4)
    for other, what in (
        (StreamingCKA(method), "n_groups is 4 here, None in the other"),
        (StreamingCKA(method, inference=True), "n_groups is 4 here, 32 in the other"),
        (
            streamed(layers, [10] * 4, method, n_groups=4, groups=np.repeat(range(4), 10)),
            "use of groups is False here, True in the other",
        ),
    ):
        with pytest.raises(ValueError, match=what):
            stream.merge(other)


@each_method
@pytest.mark.parametrize("labelled", [False, True])
def test_a_saved_stream_goes_on_to_the_same_bits(rng, tmp_path, method, labelled):
    layers = some_layers(rng, 90)
    labels = np.repeat(np.arange(9), 10) if labelled else None
    first, second = ({k: X[rows] for k, X in layers.items()} for rows in (slice(50), slice(50, 90)))
    stream = streamed(first, [10] * 5, method, groups=labels, n_groups=6)
    stream.save(tmp_path / "stream.npz")
    loaded = StreamingCKA.load(tmp_path / "stream.npz")
    assert repr(loaded) == repr(stream)
    for one in (stream, loaded):
        for at in range(0, 40, 10):
            rows = slice(at, at + 10)
            group = 5 + at // 10 if labelled else None
            one.update({k: X[rows] for k, X in second.items()}, groups=group)
    mine, theirs = stream.result(), loaded.result()
    assert mine.equals(theirs)
    assert (mine.pvalues is None) is labelled
    mine.save(tmp_path / "matrix.json")
    assert fastcka.CKAMatrix.load(tmp_path / "matrix.json").equals(mine)


@each_method
def test_a_refused_batch_changes_nothing(rng, tmp_path, method):
    layers = some_layers(rng, 60)
    stream = streamed(layers, [20] * 3, method, n_groups=5)
    before = stream.result()
    bad = {k: X[:20].copy() for k, X in layers.items()}
    bad["y"][13, 2] = np.nan
    with pytest.raises(ValueError, match="'y' of batch_a contains NaN, first at sample 13, feature 2"):
        stream.update(bad)
    assert stream.n_samples == 60
    assert stream.result().equals(before)


@each_method
def test_a_layer_without_variation_is_nan_alone(rng, method):
    layers = some_layers(rng, 60)
    stream = streamed({**layers, "flat": np.ones((60, 2))}, [20] * 3, method, n_groups=3)
    with pytest.warns(fastcka.DegenerateWarning, match="flat"):
        found = stream.result()
    good = streamed(layers, [20] * 3, method, n_groups=3).result()
    for name in ("unbiased", "stderr", "pvalues", "zscores"):
        assert np.isnan(getattr(found, name)[3]).all()
        np.testing.assert_allclose(getattr(found, name)[:3, :3], getattr(good, name), rtol=1e-7, atol=1e-10)


def test_memory_is_said_before(rng):
    one = StreamingCKA.state_bytes([9, 5], dtype="float64")
    assert StreamingCKA.state_bytes([9, 5], dtype="float64", n_groups=32) == 38 * one
    layers = {"x": rng.normal(size=(40, 9)), "y": rng.normal(size=(40, 5))}
    stream = StreamingCKA(inference=True, n_groups=4, max_bytes=7 * one - 1)
    with pytest.raises(MemoryError, match=str(7 * one)):
        stream.update(layers)
    stream = StreamingCKA(inference=True, n_groups=4, max_bytes=7 * one)
    stream.update(layers)
    assert stream.result().n_groups == 4


def test_arguments(rng):
    X = rng.normal(size=(20, 3))
    with pytest.raises(ValueError, match="n_groups: only inference=True"):
        StreamingCKA(n_groups=4)
    with pytest.raises(ValueError, match="n_groups: one group cannot be left out"):
        StreamingCKA(inference=True, n_groups=1)
    with pytest.raises(TypeError, match="n_groups must be a positive integer, got '4'"):
        StreamingCKA(inference=True, n_groups="4")
    for unknown in ("moments", 1):  # what cka_matrix knows, a stream does not
        with pytest.raises(TypeError, match=f"inference must be True or False, got {unknown!r}"):
            StreamingCKA(inference=unknown)
    with pytest.raises(ValueError, match="groups: only inference=True"):
        StreamingCKA().update(X, groups=3)
    stream = StreamingCKA(inference=True, n_groups=2)
    with pytest.raises(TypeError, match="groups: expected integers, got dtype <U1"):
        stream.update(X, groups=["a"] * 20)
    with pytest.raises(ValueError, match=r"groups: expected one label, or one for each of the 20 samples"):
        stream.update(X, groups=np.arange(19))
    stream.update(X, groups=3)
    with pytest.raises(ValueError, match="groups: the first batch of this stream had, this batch has none"):
        stream.update(X)
    with pytest.raises(ValueError, match=r"has seen 20, 0 of them outside"):
        stream.result()
    minibatch = StreamingCKA("minibatch", inference=True)
    with pytest.raises(ValueError, match=r"groups: a mini-batch is left out as a whole.*\[0, 1\]"):
        minibatch.update(X, groups=np.arange(20) // 10)
