# SPDX-License-Identifier: BSD-3-Clause
"""Streams of batches: exact as the whole arrays, mini-batch as its formula, merged, saved, refused."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import pickle
import re
import subprocess
import sys
import threading
import tracemalloc
import warnings

import hypothesis
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from implementations import KERNELS, as_input, each_estimator, kernel_id, related

import fastcka
from fastcka import DegenerateWarning, StreamingCKA, _core, reference
from fastcka._streams import saved

TOLERANCE = {"float64": 1e-10, "float32": 1e-6}  # as promised for exact streams
each_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])


def networks(rng, n, dtype="float64", offset=0.0):
    """Two networks that share something, sorted so that batches differ, `offset` spreads from zero."""
    shared = rng.normal(size=(n, 4)) + np.linspace(0, 2, n)[:, None]

    def layer(p):
        return (shared @ rng.normal(size=(4, p)) + rng.normal(size=(n, p)) + offset).astype(dtype)

    return {"conv": layer(30), "fc": layer(7)}, {"block": layer(20), "head": layer(3)}


def split(network, sizes):
    """The network in batches of these sizes."""
    ends = np.cumsum(sizes)
    return [
        {k: X[end - size : end] for k, X in network.items()} for size, end in zip(sizes, ends, strict=True)
    ]


def ragged(n, size):
    return [size] * (n // size) + [n % size] * (n % size > 0)


def streamed(a, b, sizes, *args, **options):
    stream = StreamingCKA(*args, **options)
    for batch_a, batch_b in zip(split(a, sizes), split(b, sizes) if b else [None] * len(sizes), strict=True):
        stream.update(batch_a, batch_b)
    return stream


def assert_same_bits(one, other):
    assert one.result().values.tobytes() == other.result().values.tobytes()


# Exact ------------------------------------------------------------------------------------------------------


@each_estimator
@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@each_dtype
def test_exact_values_are_those_of_the_whole_arrays(rng, dtype, offset, two_sided, estimator):
    a, b = networks(rng, 5003, dtype, offset)  # more than the core gathers into one block
    b = b if two_sided else None
    stream = streamed(a, b, ragged(5003, 1000), estimator=estimator)
    found, whole = stream.result(), fastcka.cka_matrix(a, b, estimator=estimator)
    np.testing.assert_allclose(found.values, whole.values, rtol=0, atol=TOLERANCE[dtype])
    assert found.settings() == whole.settings()
    assert (stream.n_samples, stream.n_batches) == (5003, 6)


@each_estimator
@each_dtype
def test_exact_values_are_those_of_the_reference(rng, dtype, estimator):
    a, b = networks(rng, 300, dtype, 1e4)
    found = streamed(a, b, ragged(300, 64), estimator=estimator).result()
    wide = [{k: X.astype(float) for k, X in side.items()} for side in (a, b)]
    expected = reference.cka_matrix(*wide, estimator=estimator)
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=TOLERANCE[dtype])


@each_dtype
def test_exact_bits_do_not_depend_on_batches_or_threads(rng, dtype):
    a, b = networks(rng, 4500, dtype)
    first = streamed(a, b, [4500], n_threads=1)
    for size, n_threads in ((1, 2), (333, 3), (4096, 2)):
        assert_same_bits(streamed(a, b, ragged(4500, size), n_threads=n_threads), first)


@hypothesis.given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    cut=st.integers(0, 12),
    seed=st.integers(0, 99),
)
def test_any_split_and_any_merge_give_the_whole(sizes, cut, seed):
    a, b = networks(np.random.default_rng(seed), sum(sizes), offset=100)
    hypothesis.assume(sum(sizes) >= 4)
    whole = fastcka.cka_matrix(a, b).values
    stream = streamed(a, b, sizes)
    np.testing.assert_allclose(stream.result().values, whole, rtol=0, atol=TOLERANCE["float64"])
    assert_same_bits(stream, streamed(a, b, [sum(sizes)]))

    head = sum(sizes[:cut])
    merged = streamed(a, b, sizes[:cut])
    tails = [{k: X[head:] for k, X in side.items()} for side in (a, b)]
    merged.merge(streamed(*tails, sizes[cut:]))
    np.testing.assert_allclose(merged.result().values, whole, rtol=0, atol=TOLERANCE["float64"])
    assert (merged.n_samples, merged.n_batches) == (sum(sizes), len(sizes))


def test_a_result_can_be_read_at_any_time(rng):
    a, b = networks(rng, 5000)
    stream = StreamingCKA()
    for i, (batch_a, batch_b) in enumerate(zip(split(a, [500] * 10), split(b, [500] * 10), strict=True), 1):
        stream.update(batch_a, batch_b)
        so_far = [{k: X[: 500 * i] for k, X in side.items()} for side in (a, b)]
        whole = fastcka.cka_matrix(*so_far).values
        np.testing.assert_allclose(stream.result().values, whole, rtol=0, atol=TOLERANCE["float64"])
    assert_same_bits(stream, streamed(a, b, [5000]))


def test_memory_does_not_grow_with_the_samples(rng):
    X = rng.normal(size=(512, 40)).astype(np.float32)
    stream = StreamingCKA()
    for _ in range(20):  # beyond the first block
        stream.update(X)
    before = len(stream._accumulator._moments.state(1)["zz_0"])
    tracemalloc.start()
    for _ in range(100):
        stream.update(X)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < X.nbytes / 2  # of Python; the arrays of the core have the sizes that the layers give them
    state = stream._accumulator._moments.state(1)
    assert len(state["zz_0"]) == before == 40 * 40
    assert len(state["pending_0"]) < 4096 * 40


# Mini-batch -------------------------------------------------------------------------------------------------


def formula(a, b, sizes, kernel="linear", weights="equal"):
    """The ratio of sums of HSIC_1 over batches, written out."""

    def total(X, Y, ends):
        return sum(
            (1 if weights == "equal" else size * (size - 3))
            * reference.hsic(X[end - size : end], Y[end - size : end], kernel=kernel, estimator="unbiased")
            for size, end in zip(sizes, ends, strict=True)
        )

    ends = np.cumsum(sizes)
    return np.array(
        [
            [total(X, Y, ends) / np.sqrt(total(X, X, ends) * total(Y, Y, ends)) for Y in b.values()]
            for X in a.values()
        ]
    )


@pytest.mark.parametrize("weights", ["equal", "by_size"])
@pytest.mark.parametrize(
    "kernel", ["linear", "rbf", fastcka.RBF(sigma=4.0), "cosine", "distance"], ids=kernel_id
)
@each_dtype
def test_minibatch_is_its_formula(rng, dtype, kernel, weights):
    a, b = networks(rng, 150, dtype)
    sizes = [64, 64, 22]
    stream = streamed(a, b, sizes, "minibatch", kernel, weights=weights)
    wide = [{k: X.astype(float) for k, X in side.items()} for side in (a, b)]
    expected = formula(*wide, sizes, kernel, weights)
    np.testing.assert_allclose(stream.result().values, expected, rtol=0, atol=10 * TOLERANCE[dtype])
    other = formula(*wide, sizes, kernel, "by_size" if weights == "equal" else "equal")
    assert np.abs(expected - other).max() > 100 * TOLERANCE["float32"]  # or the weights are not tested


def test_weights_do_not_matter_for_equal_batches(rng):
    a, b = networks(rng, 96)
    results = [
        streamed(a, b, [32] * 3, "minibatch", weights=weights).result().values
        for weights in ("equal", "by_size")
    ]
    np.testing.assert_allclose(*results, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kernel", KERNELS, ids=kernel_id)
def test_one_batch_is_unbiased_cka(rng, kernel):
    X, Y = (as_input(Z, kernel) for Z in related(rng, 40, 6, 4))
    stream = StreamingCKA("minibatch", kernel)
    stream.update([X, Y])
    whole = fastcka.cka_matrix([X, Y], kernel=kernel, estimator="unbiased")
    np.testing.assert_allclose(stream.result().values, whole.values, rtol=0, atol=1e-14)
    assert stream.result().kernel == whole.kernel
    assert stream.result().models == whole.models == ("A", "A")


def test_gram_matrices_are_as_wide_as_their_batch(rng):
    X, Y = related(rng, 50, 6, 4)
    grams, features = StreamingCKA("minibatch", "precomputed"), StreamingCKA("minibatch")
    for rows in (slice(30), slice(30, 50)):
        grams.update([X[rows] @ X[rows].T], [Y[rows] @ Y[rows].T])
        features.update([X[rows]], [Y[rows]])
    np.testing.assert_allclose(grams.result().values, features.result().values, rtol=0, atol=1e-10)


@each_dtype
@each_estimator
def test_exact_shards_merge_into_the_whole(rng, dtype, estimator):
    """Three shards of sorted data, 1e4 spreads from zero, of more and of less than a block of samples."""
    a, b = networks(rng, 9500, dtype, 1e4)
    bounds = [0, 4600, 4700, 9500]
    shards = [
        streamed(*({k: X[i:j] for k, X in side.items()} for side in (a, b)), [j - i], estimator=estimator)
        for i, j in itertools.pairwise(bounds)
    ]
    shards[0].merge(shards[1])
    shards[0].merge(shards[2])
    whole = fastcka.cka_matrix(a, b, estimator=estimator)
    np.testing.assert_allclose(shards[0].result().values, whole.values, rtol=0, atol=TOLERANCE[dtype])
    assert shards[0].result().settings() == whole.settings()


def test_minibatch_shards_are_added(rng):
    a, b = networks(rng, 120)
    halves = [
        [{k: X[rows] for k, X in side.items()} for side in (a, b)] for rows in (slice(60), slice(60, 120))
    ]
    left, right = (streamed(*half, [20, 40], "minibatch", "rbf") for half in halves)
    left.merge(right)
    expected = streamed(a, b, [20, 40, 20, 40], "minibatch", "rbf").result().values
    np.testing.assert_allclose(left.result().values, expected, rtol=0, atol=1e-14)
    assert (left.n_samples, left.n_batches) == (120, 4)
    assert (right.n_samples, right.n_batches) == (60, 2)


def test_a_mini_batch_result_says_so(rng):
    a, b = networks(rng, 40)
    assert streamed(a, b, [20, 20], "minibatch").result().title == "unbiased CKA, linear, minibatch"
    weighted = streamed(a, b, [20, 20], "minibatch", weights="by_size").result()
    assert (weighted.method, weighted.estimator) == ("minibatch(weights='by_size')", "unbiased")


# Layers and batches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_arrays_sequences_and_mappings(rng, method):
    a, b = networks(rng, 60)
    X, Y = a["conv"], b["block"]
    expected = None
    for batch in ((X, Y), ([X], [Y]), ({"x": X}, {"y": Y}), (X.tolist() and [X.tolist()], iter([Y]))):
        stream = StreamingCKA(method)
        stream.update(*batch)
        expected = expected or stream.result()
        assert stream.result().values.tobytes() == expected.values.tobytes()
    assert (expected.rows, expected.columns, expected.models) == (("0",), ("0",), ("A", "B"))


@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_layers_are_found_by_name(rng, method):
    a, b = networks(rng, 60)
    straight, turned = StreamingCKA(method), StreamingCKA(method)
    for i, (batch_a, batch_b) in enumerate(zip(split(a, [30, 30]), split(b, [30, 30]), strict=True)):
        straight.update(batch_a, batch_b)
        turned.update(dict(reversed(batch_a.items())) if i else batch_a, batch_b)
    assert_same_bits(turned, straight)
    assert turned.result().rows == ("conv", "fc")


def test_the_same_object_twice_is_one_side(rng):
    a, _ = networks(rng, 60)
    stream = StreamingCKA()
    stream.update(a, a)
    assert stream.result().models == ("A", "A")
    np.testing.assert_allclose(np.diag(stream.result().values), 1, atol=1e-12)


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_halves_have_the_bits_of_their_float32_values(rng, method, half):
    a = {k: X.astype(half) for k, X in networks(rng, 100)[0].items()}
    wide = {k: X.astype(np.float32) for k, X in a.items()}
    assert_same_bits(streamed(a, None, [60, 40], method), streamed(wide, None, [60, 40], method))
    mixed = streamed(wide, None, [100], method)
    mixed.update(a)  # after float32, in a float32 stream
    assert mixed.n_samples == 200


def test_torch_tensors_are_read(rng):
    torch = pytest.importorskip("torch")
    a, b = networks(rng, 60)
    stream = StreamingCKA()
    stream.update({k: torch.from_numpy(X) for k, X in a.items()}, torch.from_numpy(b["block"]))
    expected = fastcka.cka_matrix(a, [b["block"]]).values
    np.testing.assert_allclose(stream.result().values, expected, rtol=0, atol=TOLERANCE["float64"])


def test_the_first_batch_decides_the_arithmetic(rng):
    a, _ = networks(rng, 60)
    narrow = {k: X.astype(np.float32) for k, X in a.items()}
    stream = streamed(narrow, None, [60])
    with pytest.raises(
        ValueError, match=r"layer 'conv' of batch_a is float64 .* float32 stream.*dtype=\"float64\""
    ):
        stream.update(a)
    with pytest.raises(ValueError, match="layer 'fc' of batch_a is int64"):
        stream.update({**narrow, "fc": np.ones((60, 7), dtype=np.int64)})
    assert_same_bits(stream, streamed(narrow, None, [60]))
    wide = streamed(a, None, [60])
    wide.update(narrow)  # no digit is lost
    asked = streamed(a, None, [30, 30], dtype="float32")  # narrowed, as was asked for
    assert_same_bits(asked, streamed(narrow, None, [60]))
    exact = streamed(narrow, None, [60], dtype="float64").result().values
    expected = reference.cka_matrix({k: X.astype(float) for k, X in narrow.items()})
    np.testing.assert_allclose(exact, expected, rtol=0, atol=TOLERANCE["float64"])


@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_a_batch_that_does_not_fit_is_refused_and_changes_nothing(rng, method):
    a, b = networks(rng, 60)
    stream = streamed(a, b, [60], method)
    before = stream.result().values.tobytes()
    nan = a["fc"].copy()
    nan[7, 3] = np.nan
    wrong = [
        ((a,), "batch_b: the first batch of this stream had one, this batch has none"),
        (({"conv": a["conv"]}, b), "batch_a lacks 'fc': every batch must hold .* 'conv', 'fc'$"),
        (({**a, "new": a["fc"]}, b), "batch_a has 'new', which the first batch did not"),
        ((a, {"block": b["block"], "tail": b["head"]}), "batch_b lacks 'head' and has 'tail', which"),
        ((list(a.values()), b), "batch_a lacks 'conv', 'fc' and has '0', '1'"),
        (
            ({**a, "fc": a["fc"][:, :5]}, b),
            "layer 'fc' of batch_a has 5 features in this batch, but 7 in the first",
        ),
        (({**a, "fc": a["fc"][:50]}, b), "'conv' of batch_a has 60 samples but layer 'fc' of batch_a has 50"),
        ((a, {k: X[:50] for k, X in b.items()}), "'conv' of batch_a has 60 .* 'block' of batch_b has 50"),
        (({**a, "fc": nan}, b), "layer 'fc' of batch_a contains NaN, first at sample 7, feature 3"),
        (({k: X[:0] for k, X in a.items()}, b), "layer 'conv' of batch_a has no samples"),
        (({**a, "fc": a["fc"][None]}, b), "layer 'fc' of batch_a must be two-dimensional"),
        (({}, b), "batch_a is empty"),
    ]
    for batch, message in wrong:
        with pytest.raises(ValueError, match=message):
            stream.update(*batch)
        assert (stream.n_samples, stream.n_batches) == (60, 1)
        assert stream.result().values.tobytes() == before
    with pytest.raises(TypeError, match="batch_a must be a mapping of names to arrays or a sequence"):
        stream.update(3, b)
    one_sided = streamed(a, None, [60], method)
    with pytest.raises(ValueError, match="had none, this batch has one"):
        one_sided.update(a, b)


@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_a_first_batch_that_is_refused_decides_nothing(rng, method):
    a, b = networks(rng, 60)
    stream = StreamingCKA(method)
    with pytest.raises(ValueError, match="contains infinity"):
        stream.update({"x": np.full((60, 2), np.inf, dtype=np.float32)})
    stream.update(a, b)
    assert_same_bits(stream, streamed(a, b, [60], method))


@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_a_batch_that_was_cut_counts_if_samples_of_it_are_in(rng, method):
    a, b = networks(rng, 60)
    stream = streamed(a, b, [60], method)
    accumulator = stream._accumulator
    update, kept = accumulator.update, 7

    def cut(batch):
        if kept:
            update(dataclasses.replace(batch, sides=tuple([X[:kept] for X in side] for side in batch.sides)))
        raise KeyboardInterrupt

    accumulator.update = cut
    with pytest.raises(KeyboardInterrupt):
        stream.update(a, b)
    assert (stream.n_samples, stream.n_batches) == (67, 2)
    kept = 0
    with pytest.raises(KeyboardInterrupt):
        stream.update(a, b)
    assert (stream.n_samples, stream.n_batches) == (67, 2)


def test_batches_of_less_than_four_samples(rng):
    a, b = networks(rng, 66)
    stream = streamed(a, b, [63, 3])  # exact: of no concern
    assert_same_bits(stream, streamed(a, b, [66]))
    stream = streamed(a, b, [63], "minibatch")
    for n, words in ((3, "3 samples"), (1, "1 sample")):
        with pytest.raises(ValueError, match=rf"this batch has {words}, .* at least 4.*drop_last.*\"exact\""):
            stream.update({k: X[:n] for k, X in a.items()}, {k: X[:n] for k, X in b.items()})
    assert stream.n_samples == 63


def test_too_few_samples_for_a_result(rng):
    a, _ = networks(rng, 3)
    with pytest.raises(ValueError, match="at least 4 samples, this stream has seen 0"):
        StreamingCKA("minibatch").result()
    with pytest.raises(ValueError, match="biased estimator needs at least 2 samples, this stream has seen 0"):
        StreamingCKA(estimator="biased").result()
    with pytest.raises(
        ValueError, match="unbiased estimator needs at least 4 samples, this stream has seen 3"
    ):
        streamed(a, None, [2, 1], estimator="unbiased").result()
    assert streamed(a, None, [2, 1]).result().n_samples == 3


# Degenerate layers ------------------------------------------------------------------------------------------


@each_estimator
@each_dtype
def test_a_layer_without_variation_is_nan_with_the_words_of_cka_matrix(rng, dtype, estimator):
    a, b = networks(rng, 80, dtype)
    a["dead"] = np.full((80, 5), 0.1, dtype=dtype)
    stream = streamed(a, b, [50, 30], estimator=estimator)
    with pytest.warns(
        DegenerateWarning, match=r"^not defined, nan instead: layer 'dead' of batch_a: "
    ) as caught:
        found = stream.result()
    with pytest.warns(DegenerateWarning) as expected:
        whole = fastcka.cka_matrix(a, b, estimator=estimator)
    assert [str(w.message).replace("batch_a", "layers_a") for w in caught] == [
        str(w.message) for w in expected
    ]
    assert [text.replace("batch_a", "layers_a") for text in found.warnings] == list(whole.warnings)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(np.isnan(found.values), np.isnan(whole.values))
    assert np.isnan(found.values[2]).all()


@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_layers_without_cka_are_data_before_they_are_words(rng, method):
    a, b = networks(rng, 80)
    a["dead: of batch_b"] = np.full((80, 5), 0.1)
    b["dead"] = np.zeros((80, 2))
    stream = streamed(a, b, [50, 30], method)
    assert stream._accumulator.values().notes == ((0, 2, "constant"), (1, 2, "constant"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the caller of this one words them
        matrix, reasons = stream._compared()
    why = "no variation: all samples are equal"
    assert reasons == {(0, "dead: of batch_b"): why, (1, "dead"): why}
    assert matrix.warnings == ()


@each_dtype
def test_values_beyond_the_range_of_the_sums_name_the_layer(rng, dtype):
    a, b = networks(rng, 60, dtype)
    stream = streamed(a, b, [60])
    large = {**b, "head": np.full((60, 3), 1.7e308)}
    if dtype == "float32":
        stream, large["head"] = streamed(a, b, [60], dtype="float32"), np.full((60, 3), 1e39)
    with pytest.raises(ValueError, match=r"^layer 'head' of batch_b: values .* divide them by a constant"):
        stream.update(a, large)
    assert (stream.n_samples, stream.n_batches) == (60, 1)


def test_minibatch_layers_without_variation(rng):
    a, b = networks(rng, 80)
    a["dead"] = np.full((80, 5), 0.1)
    a["late"] = np.concatenate([np.full((40, 3), 0.1), a["fc"][40:, :3]])  # constant in the first batch only
    a["axes"] = np.eye(80)[:, :40] + np.roll(np.eye(80), 40, axis=1)[:, :40]  # orthogonal in every batch
    stream = streamed(a, b, [40, 40], "minibatch")
    with pytest.warns(DegenerateWarning) as caught:
        found = stream.result()
    assert found.warnings == (
        "layer 'dead' of batch_a: no variation: all samples are equal",
        "layer 'axes' of batch_a: its unbiased HSIC with itself is not above zero, within rounding",
    )
    assert len(caught) == 1
    sound = {k: a[k] for k in ("conv", "fc", "late")}
    with np.errstate(invalid="ignore"):
        expected = formula(sound, b, [40, 40])
    np.testing.assert_allclose(found.values[[0, 1, 3]], expected, rtol=0, atol=1e-9)
    assert np.isnan(found.values[[2, 4]]).all()


def test_one_batch_without_a_bandwidth_leaves_none(rng):
    a, _ = networks(rng, 80)
    a["fc"][2:40] = a["fc"][2]
    stream = streamed(a, None, [40, 40], "minibatch", "rbf")
    with pytest.warns(DegenerateWarning, match="layer 'fc' of batch_a: its median distance is zero"):
        values = stream.result().values
    assert np.isnan(values).tolist() == [[False, True], [True, True]]


def test_hsic_beyond_float64_is_refused(rng):
    X = rng.normal(size=(20, 3))
    stream = StreamingCKA("minibatch")
    for factor in (1e100, 1e-100):
        with pytest.raises(ValueError, match=r"'1' of batch_a: its HSIC .* leaves the range of float64"):
            stream.update([X, X * factor])
    exact = StreamingCKA()
    exact.update([X, X * 1e100])
    np.testing.assert_allclose(exact.result().values, 1, rtol=0, atol=1e-10)


# Merging ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_merging_with_an_empty_stream(rng, method):
    a, b = networks(rng, 60)
    full, empty = streamed(a, b, [60], method), StreamingCKA(method)
    empty.merge(full)
    assert_same_bits(empty, full)
    full.merge(StreamingCKA(method))
    assert full.n_samples == 60
    empty.update(a, b)  # a copy: the other does not follow
    assert (empty.n_samples, full.n_samples) == (120, 60)
    assert_same_bits(full, streamed(a, b, [60], method))


def test_only_equal_streams_are_merged(rng):
    a, b = networks(rng, 60)
    base = streamed(a, b, [60], "minibatch", "rbf")
    narrow = [{k: X.astype(np.float32) for k, X in side.items()} for side in (a, b)]
    others = [
        (streamed(a, b, [60]), "the method is 'minibatch' here, 'exact' in the other"),
        (streamed(a, b, [60], "minibatch"), "the kernel is RBF.. here, Linear"),
        (streamed(a, b, [60], "minibatch", "rbf", weights="by_size"), "the weights is 'equal' here"),
        (streamed(*narrow, [60], "minibatch", "rbf"), "the dtype is 'float64' here, 'float32'"),
        (StreamingCKA("minibatch", "rbf", dtype="float32"), "the dtype is 'float64' here, 'float32'"),
        (streamed(a, None, [60], "minibatch", "rbf"), "the number of networks is 2 here, 1"),
        (
            streamed(dict(reversed(a.items())), b, [60], "minibatch", "rbf"),
            "layers of batch_a is .'conv', 'fc'. here",
        ),
        (
            streamed({**a, "fc": a["fc"][:, :5]}, b, [60], "minibatch", "rbf"),
            "width of layer 'fc' of batch_a is 7",
        ),
    ]
    before = base.result().values.tobytes()
    for other, message in others:
        with pytest.raises(ValueError, match=f"only streams of the same settings .* {message}"):
            base.merge(other)
    with pytest.raises(ValueError, match="the estimator is 'biased' here, 'unbiased'"):
        StreamingCKA().merge(StreamingCKA(estimator="debiased"))
    with pytest.raises(ValueError, match="merged with itself"):
        base.merge(base)
    with pytest.raises(TypeError, match="other must be a StreamingCKA, got CKAMatrix"):
        base.merge(base.result())
    assert base.result().values.tobytes() == before


# Files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "kernel"),
    [("exact", "linear"), ("minibatch", "linear"), ("minibatch", fastcka.RBF(0.3, median="offdiag"))],
    ids=str,
)
@pytest.mark.parametrize("first", [100, 4500])  # within the first block of samples, and beyond
def test_a_saved_stream_goes_on_to_the_same_bits(rng, tmp_path, method, kernel, first):
    n = 6000 if method == "exact" else first + 200
    a, b = networks(rng, n, "float32", 100)
    sizes = [first, *ragged(n - first, 700)]
    stream = StreamingCKA(method, kernel)
    for i, batch in enumerate(zip(split(a, sizes), split(b, sizes), strict=True)):
        stream.update(*batch)
        if i == 0:
            stream.save(tmp_path / "stream.npz")
    loaded = StreamingCKA.load(str(tmp_path / "stream.npz"), n_threads=1)
    assert (loaded.n_samples, loaded.n_batches) == (first, 1)
    for batch in list(zip(split(a, sizes), split(b, sizes), strict=True))[1:]:
        loaded.update(*batch)
    assert_same_bits(loaded, stream)
    assert loaded.result().settings() == stream.result().settings()
    assert repr(loaded) == repr(stream)
    assert [path.name for path in tmp_path.iterdir()] == ["stream.npz"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda stream: pickle.loads(pickle.dumps(stream))])
@pytest.mark.parametrize(
    "options", [{}, {"method": "minibatch", "kernel": "rbf"}, {"inference": True}], ids=str
)
def test_a_copied_stream_goes_on_by_itself(rng, copied, options):
    a, b = networks(rng, 300, "float32", 100)
    stream = StreamingCKA(**options, n_threads=1)
    empty = copied(stream)
    for rows in (slice(0, 120), slice(120, 300)):
        batch = [{name: X[rows] for name, X in side.items()} for side in (a, b)]
        before = copied(stream)
        stream.update(*batch)
        assert before.n_samples == rows.start
        before.update(*batch)
        assert_same_bits(before, stream)
        assert repr(before) == repr(stream)
    assert repr(empty) == repr(StreamingCKA(**options))


def test_limits_of_a_loaded_stream_are_checked_before_it_is_read(tmp_path):
    stream = StreamingCKA()
    stream.update(np.eye(5))
    stream.save(tmp_path / "stream.npz")
    for options, words in (({"n_threads": 0}, "n_threads"), ({"max_bytes": "much"}, "max_bytes")):
        with pytest.raises(ValueError, match=f"^{words}"):
            StreamingCKA.load(tmp_path / "stream.npz", **options)


def test_every_setting_is_saved(rng, tmp_path):
    path = tmp_path / "stream.npz"
    stream = StreamingCKA("minibatch", fastcka.Polynomial(3, gamma=0.1), weights="by_size", dtype="float32")
    stream.save(path)  # before the first batch
    loaded = StreamingCKA.load(path)
    assert repr(loaded) == repr(stream)
    loaded.merge(stream)  # refuses any difference
    a, _ = networks(rng, 60)
    loaded.update(a)
    with pytest.raises(ValueError, match="dtype is 'float32' here, 'float64' in the other"):
        loaded.merge(
            StreamingCKA("minibatch", fastcka.Polynomial(3, gamma=0.1), weights="by_size", dtype="float64")
        )


def test_no_changed_byte_goes_unnoticed(rng, tmp_path):
    path = tmp_path / "stream.npz"
    stream = streamed({"a": rng.normal(size=(9, 3))}, None, [9])
    stream.save(path)
    content = path.read_bytes()
    refusals = []
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        try:
            loaded = StreamingCKA.load(path)
        except ValueError as refusal:
            refusals.append(str(refusal))
        else:  # padding or time stamps of the zip container
            assert_same_bits(loaded, stream)
    assert all(text.startswith(f"{path}: ") for text in refusals)
    assert len(refusals) > 0.8 * len(content) / 7


def test_files_that_were_cut_are_refused(rng, tmp_path):
    path = tmp_path / "stream.npz"
    streamed({"a": rng.normal(size=(9, 3))}, None, [9]).save(path)
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"stream\.npz: damaged, or not a StreamingCKA saved as \.npz"):
            StreamingCKA.load(path)


def test_an_edited_state_is_refused(rng, tmp_path):
    path = tmp_path / "stream.npz"
    streamed({"a": rng.normal(size=(9, 3))}, None, [9]).save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["pending_0"][0] += 1
    np.savez(path, **arrays)  # with checksums of the container that are right
    with pytest.raises(ValueError, match="damaged, or edited by hand: its checksum"):
        StreamingCKA.load(path)


def test_foreign_and_newer_files_are_refused(rng, tmp_path, monkeypatch):
    path = tmp_path / "foreign.npz"
    stream = streamed({"a": rng.normal(size=(9, 3))}, None, [9])
    np.savez(path, x=np.ones(3))
    with pytest.raises(ValueError, match=r"foreign\.npz: not a StreamingCKA .* holds the arrays \['x'\]"):
        StreamingCKA.load(path)
    stream.result().save(path)
    with pytest.raises(ValueError, match=r"not a StreamingCKA .* its format is 'fastcka\.CKAMatrix'"):
        StreamingCKA.load(path)
    np.savez(path, header=np.array({"format": "pickled"}))
    with pytest.raises(ValueError, match=r"damaged, or not .*allow_pickle=False"):
        StreamingCKA.load(path)
    np.savez(path, header=np.array(json.dumps({"format": "fastcka.StreamingCKA"})))
    with pytest.raises(ValueError, match=r"damaged, or not .*KeyError"):
        StreamingCKA.load(path)
    with monkeypatch.context() as later:
        later.setattr(saved, "FORMAT_VERSION", 4)
        stream.save(path)
    with pytest.raises(ValueError, match=r"written by a newer fastcka .*format version 4"):
        StreamingCKA.load(path)
    with monkeypatch.context() as earlier:
        earlier.setattr(saved, "FORMAT_VERSION", 1)
        stream.save(path)
    with pytest.raises(ValueError, match=r"foreign\.npz: written by an older fastcka .*format version 1"):
        StreamingCKA.load(path)
    stream.save(path)
    with pytest.raises(
        ValueError, match=r"not a CKAMatrix .* it holds the arrays|its format is 'fastcka\.Stream"
    ):
        fastcka.CKAMatrix.load(path)


def test_other_paths_are_refused(tmp_path):
    for action in (StreamingCKA().save, StreamingCKA.load):
        with pytest.raises(ValueError, match=r"ends in \.npz, got '.*stream\.json'"):
            action(tmp_path / "stream.json")
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        StreamingCKA.load(tmp_path / "absent.npz")
    with pytest.raises(FileNotFoundError, match="No such folder"):
        StreamingCKA().save(tmp_path / "nowhere" / "stream.npz")


def test_a_failed_save_leaves_the_old_file(rng, tmp_path, monkeypatch):
    path = tmp_path / "stream.npz"
    a, _ = networks(rng, 60)
    stream = streamed(a, None, [60])
    stream.save(path)
    content = path.read_bytes()
    stream.update(a)

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space left"):
        stream.save(path)
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["stream.npz"]


# Memory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("double_precision", [False, True])
def test_state_bytes(double_precision):
    dtype = "float64" if double_precision else "float32"
    assert StreamingCKA.state_bytes([30, 7], dtype=dtype) == _core.Moments.state_bytes(
        [30, 7], None, double_precision
    )
    assert StreamingCKA.state_bytes(np.array([30]), (5,), dtype=dtype) == _core.Moments.state_bytes(
        [30], [5], double_precision
    )
    pairs = 24 * 25 // 2
    assert StreamingCKA.state_bytes([768] * 24, dtype=dtype) > pairs * 768**2 * 8


def test_exact_state_bytes_refuses_what_are_no_widths():
    with pytest.raises(ValueError, match="widths_a is empty"):
        StreamingCKA.state_bytes([])
    with pytest.raises(ValueError, match="widths_b is empty"):
        StreamingCKA.state_bytes([3], [])
    with pytest.raises(ValueError, match=r"widths_b\[1\] must be a positive integer, got 0"):
        StreamingCKA.state_bytes([3], [3, 0])
    with pytest.raises(TypeError, match=r"widths_a\[0\] must be a positive integer, got 2\.5"):
        StreamingCKA.state_bytes([2.5])
    with pytest.raises(ValueError, match="dtype is the type of the arithmetic"):
        StreamingCKA.state_bytes([3], dtype="float16")


@pytest.mark.parametrize("width", [2**30, 2**24])  # beyond counting, beyond the addresses of a process
def test_a_state_that_no_machine_holds(width):
    stream = StreamingCKA()
    with pytest.raises(MemoryError, match=r"exact state of .*; method=\"minibatch\""):
        stream.update(np.broadcast_to(np.float32(1), (1, width)))
    assert stream.n_samples == 0
    with pytest.raises(MemoryError, match=r"no machine holds the exact state of 536870913 features"):
        StreamingCKA.state_bytes([2**28, 2**28], [1])


def test_a_state_that_this_process_cannot_have():
    script = """if True:
        import resource
        import numpy as np, fastcka
        resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
        stream = fastcka.StreamingCKA(n_threads=1)
        try:
            stream.update(np.ones((2, 30_000), np.float32))
        except MemoryError as error:
            print(error, stream.n_samples)
    """
    printed = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert re.match(r"the exact state .* GB\), but this process may use only .* more; method=.* 0\n", printed)


def test_a_state_beyond_max_bytes_is_refused_before_the_first_batch(rng, tmp_path):
    a, b = networks(rng, 60)
    size = StreamingCKA.state_bytes([30, 7], [20, 3], dtype="float64")
    stream = StreamingCKA(max_bytes=size - 1)
    with pytest.raises(
        MemoryError, match=rf"takes {size} bytes .* max_bytes={size - 1}.*method=\"minibatch\""
    ):
        stream.update(a, b)
    assert stream.n_samples == 0
    enough = streamed(a, b, [60], max_bytes=size)
    with pytest.raises(MemoryError, match=f"takes {size} bytes"):
        stream.merge(enough)
    enough.save(tmp_path / "stream.npz")
    with pytest.raises(MemoryError, match=f"takes {size} bytes"):
        StreamingCKA.load(tmp_path / "stream.npz", max_bytes=size - 1)
    assert_same_bits(StreamingCKA.load(tmp_path / "stream.npz", max_bytes=size), enough)
    with pytest.raises(MemoryError, match="max_bytes"):
        StreamingCKA("minibatch", max_bytes=1000).update(a, b)


# Settings and threads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("minibach",), {}, "unknown method 'minibach'.*did you mean 'minibatch'"),
        (
            ("exact", "rbf"),
            {},
            r"method=\"exact\" needs the linear kernel.*for rbf use method=\"minibatch\"",
        ),
        (("exact", "cosine"), {}, "needs the linear kernel"),
        (("exact", "linear", "debias"), {}, "unknown estimator 'debias'.*'unbiased'"),
        (("minibatch", "linear", "biased"), {}, r"defined for estimator=\"unbiased\" only"),
        (("exact",), {"weights": "by_size"}, r"weights='by_size' belongs to method=\"minibatch\""),
        (("minibatch",), {"weights": "n"}, "unknown weights 'n'"),
        (("exact",), {"dtype": "float16"}, "dtype is the type of the arithmetic"),
        (("exact",), {"n_threads": 0}, "n_threads must be a positive integer"),
        (("exact",), {"max_bytes": 0}, "max_bytes must be a positive integer"),
    ],
)
def test_settings_that_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        StreamingCKA(*arguments, **options)


def test_estimator_none_is_biased_when_exact_and_unbiased_in_minibatches(rng):
    a, b = networks(rng, 60)
    exact, minibatch = streamed(a, b, [60]), streamed(a, b, [60], "minibatch")
    assert (exact.result().estimator, minibatch.result().estimator) == ("biased", "unbiased")
    for stream, method in ((exact, "exact"), (minibatch, "minibatch")):
        debiased = streamed(a, b, [60], method, estimator="debiased")
        assert debiased.result().estimator == "unbiased"
        assert ("unbiased" in repr(stream)) == (method == "minibatch")
    assert_same_bits(minibatch, streamed(a, b, [60], "minibatch", estimator="debiased"))
    np.testing.assert_allclose(
        streamed(a, b, [60], estimator="debiased").result().values,
        fastcka.cka_matrix(a, b, estimator="unbiased").values,
        rtol=0,
        atol=TOLERANCE["float64"],
    )


def test_repr():
    assert repr(StreamingCKA()) == "StreamingCKA(exact, linear, biased, n_samples=0, n_batches=0)"
    assert repr(StreamingCKA("minibatch", "rbf", weights="by_size")) == (
        "StreamingCKA(minibatch(weights='by_size'), rbf, unbiased, n_samples=0, n_batches=0)"
    )


@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_threads_may_share_a_stream(rng, method):
    a, _ = networks(rng, 800)
    batches = split(a, [100] * 8)
    stream, results = StreamingCKA(method), []
    barrier = threading.Barrier(4)

    def work(mine):
        barrier.wait()
        for batch in mine:
            stream.update(batch)
            results.append(stream.result())

    workers = [threading.Thread(target=work, args=(batches[i::4],)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (len(results), stream.n_samples, stream.n_batches) == (8, 800, 8)
    expected = streamed(a, None, [100] * 8, method).result().values  # in another order: other roundings
    np.testing.assert_allclose(stream.result().values, expected, rtol=0, atol=TOLERANCE["float64"])


def test_streams_merged_into_one_another_do_not_wait_for_ever(rng):
    a, _ = networks(rng, 60)
    one, other = streamed(a, None, [60]), streamed(a, None, [60])
    workers = [
        threading.Thread(target=lambda x, y: [x.merge(y) for _ in range(5)], args=pair, daemon=True)
        for pair in ((one, other), (other, one))
    ]
    with warnings.catch_warnings():
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    assert not any(worker.is_alive() for worker in workers)


def test_of_several_bad_layers_the_first_is_named():
    """Whichever thread comes first."""
    bad = [np.full((100_000, 1), np.nan) for _ in range(2)]
    for _ in range(60):
        with pytest.raises(ValueError, match="batch_a"):
            StreamingCKA(n_threads=3).update(*bad)
